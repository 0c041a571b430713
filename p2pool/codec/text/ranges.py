"""Says of a number outside its range which end it breaks, and what the range is."""

from collections.abc import Callable

_DIGITS_MAX = 20


def outside(value: int, least: int, most: int, show: Callable[[int], str] = str) -> str | None:
    """Where a number is that is out of range: `below 1, the least (1 to 16)`; None if it is within.
    `show`: how people write it."""
    if least <= value <= most:
        return None
    side, end, which = ("below", least, "least") if value < least else ("above", most, "most")
    return f"{side} {show(end)}, the {which} ({show(least)} to {show(most)})"


def short_number(value: int) -> str:
    """A number, cut to fit a line."""
    return str(value) if abs(value) < 10**_DIGITS_MAX else "absurdly large"
