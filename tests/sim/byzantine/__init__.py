"""Scenarios of members that lie."""
