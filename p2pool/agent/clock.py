"""An agent's two clocks, as integers.

The monotonic one is the boot clock: unlike CLOCK_MONOTONIC it goes on while a machine is suspended,
so an agent that wakes up knows how long it was away.
"""

import time

from p2pool.model.timing import Now


def read_clock() -> Now:
    """Now, by the boot clock and by the wall clock, both in milliseconds."""
    boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return Now(boot_ns // 1_000_000, time.time_ns() // 1_000_000)
