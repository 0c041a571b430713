"""The whole node in virtual time."""
