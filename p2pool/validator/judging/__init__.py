"""Judges of submitted work: plug-ins, what they are asked, and what they said, on the disk."""
