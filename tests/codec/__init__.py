"""The one form of every message and record in bytes, and what is refused."""
