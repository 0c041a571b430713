"""Bytes that are not to change: a change of any is a new version of the message."""
