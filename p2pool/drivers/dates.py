"""Times of blocks as dates for people, in UTC.

Invariants: reads no clock; a time that no calendar has is written as seconds, and raises nothing.
"""

from datetime import UTC, datetime


def utc(at_s: int) -> str:
    """A time for people."""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at_s} s after 1970"
