"""Scenarios of voters that leave proof against themselves."""
