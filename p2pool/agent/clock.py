"""An agent's two clocks, as integers."""

import time

from p2pool.model.timing import Now


def read_clock() -> Now:
    """Now, by a monotonic clock and by the wall clock, both in milliseconds."""
    return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
