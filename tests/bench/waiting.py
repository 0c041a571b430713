"""Waiting for what a thread writes down, and a load that keeps the machine busy."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01


def wait_until(found: Callable[[], T | None], within_s: float, poll_s: float = POLL_S) -> T:
    """What `found` gives, asked again and again. Raises TimeoutError."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        value = found()
        if value is not None:
            return value
        time.sleep(poll_s)
    raise TimeoutError(f"it did not happen within {within_s:g} s")


@contextlib.contextmanager
def loaded() -> Iterator[None]:
    """Twice as many processes as there are cores, each as busy as it can be, at usual priority."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
