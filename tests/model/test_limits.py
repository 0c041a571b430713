"""Bounds are whole numbers with a unit, and the relations between them hold."""

from p2pool.model import limits
from p2pool.model.timing import TIMINGS, Profile

UNITS = ("_BYTES", "_MS", "_S", "_MAX", "_KEPT", "_ENTRIES", "_LINES")


def test_every_bound_is_a_positive_integer() -> None:
    """No floats, no zero: a bound of nothing would close what it bounds."""
    for name, value in vars(limits).items():
        if name.isupper() and name != "COMMITTEE_SIZES":
            assert type(value) is int, name
            assert value > 0, name


def test_times_and_sizes_name_their_unit() -> None:
    """A bound that is a time says so at its end: 1000 GB were once compared with 1000 bytes."""
    for name in vars(limits):
        if any(word in name for word in ("TIMEOUT", "INTERVAL", "DEADLINE", "BACKOFF", "LIFETIME")):
            assert name.endswith(("_MS", "_S")), name
        if "BYTES" in name:
            assert name.endswith("_BYTES"), name


def test_committees_are_odd() -> None:
    """A committee of even size tolerates no more than the one below it."""
    assert all(size % 2 for size in limits.COMMITTEE_SIZES)
    assert set(TIMINGS) == set(Profile)
