"""`python -m tests.e2e.harness.wrong_clock FILE ARGUMENTS...`: p2pool whose wall clock is off.

FILE holds by how many milliseconds, and is read each second: whoever writes 0 there mends the clock
of a process that runs.
"""

import sys
import time
from pathlib import Path

from p2pool.__main__ import main

NS = 1_000_000
LOOK_NS = 1_000 * NS


def put_off(page: Path) -> None:
    """From now on Python's wall clock is off by what the file says."""
    true_ns, boot_ns = time.time_ns, time.monotonic_ns
    off_ns, looked_ns = int(page.read_text()) * NS, boot_ns()

    def wall_ns() -> int:
        nonlocal off_ns, looked_ns
        if boot_ns() - looked_ns >= LOOK_NS:
            off_ns, looked_ns = int(page.read_text()) * NS, boot_ns()
        return true_ns() + off_ns

    time.time_ns = wall_ns
    time.time = lambda: wall_ns() / 1e9


if __name__ == "__main__":
    put_off(Path(sys.argv[1]))
    del sys.argv[1]
    main()
