"""`make starts`: development pools, one after the other, every second one beside busy loops."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.starts.report import report
from tests.starts.start import Start, busy_loops, start_once

BUSY_LOOPS = 2
NODES = 3


def main() -> int:
    """0 when every pool came up and left nothing; the logs of one that did not are kept."""
    parser = argparse.ArgumentParser(prog="make starts", description=__doc__)
    parser.add_argument("--starts", type=int, default=100, metavar="N")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here as well")
    given = parser.parse_args()
    if given.starts < 1:
        parser.error("--starts takes a number from 1")
    kept = Path(tempfile.mkdtemp(prefix="p2starts-"))
    starts: list[Start] = []
    for number in range(given.starts):
        busy = number % 2 == 1
        with busy_loops(BUSY_LOOPS if busy else 0):
            start = start_once(number, busy, kept)
        starts.append(start)
        told = "came up" if start.reason is None else f"FAILED: {start.reason}; logs: {start.kept}"
        print(f"{number:4d} {'busy ' if busy else 'quiet'} {start.seconds:6.1f} s  {told}",
              flush=True)  # fmt: skip
    text = report(starts, BUSY_LOOPS, NODES)
    print(text)
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    if all(start.reason is None for start in starts):
        kept.rmdir()
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
