"""`make starts`: development pools, one after the other, every second one beside busy loops.

A hundred take an hour. So each result is written down at once, and a run that was interrupted goes
on where it stopped, as long as the commit is the same.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import attrs

from tests.starts.report import commit, report
from tests.starts.start import Start, busy_loops, start_once

BUSY_LOOPS = 2
NODES = 3


def main() -> int:
    """0 when every pool came up and left nothing; the logs of one that did not are kept."""
    parser = argparse.ArgumentParser(prog="make starts", description=__doc__)
    parser.add_argument("--starts", type=int, default=100, metavar="N")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here as well")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="where results are kept until all are there (default: a temporary file of the commit)",
    )
    given = parser.parse_args()
    if given.starts < 1:
        parser.error("--starts takes a number from 1")
    results = given.results
    if results is None:
        results = Path(tempfile.gettempdir()) / f"p2pool-starts-{commit()}.jsonl"
    starts = earlier(results)[: given.starts]
    if starts:
        print(f"{len(starts)} starts are in {results} already; going on from there")
    for number in range(len(starts), given.starts):
        starts.append(one(number, results))
    text = report(starts, BUSY_LOOPS, NODES)
    print(text)
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    results.unlink()
    return 0 if all(start.reason is None for start in starts) else 1


def earlier(results: Path) -> list[Start]:
    """The starts of a run that was interrupted, in their order; none where there was no such."""
    if not results.exists():
        return []
    return [Start(**json.loads(line)) for line in results.read_text().splitlines()]


def one(number: int, results: Path) -> Start:
    """Start one pool, say how it went, and write it down."""
    busy = number % 2 == 1
    with busy_loops(BUSY_LOOPS if busy else 0):
        start = start_once(number, busy, results.with_suffix(".logs"))
    told = "came up" if start.reason is None else f"FAILED: {start.reason}; logs: {start.kept}"
    print(f"{number:4d} {'busy ' if busy else 'quiet'} {start.seconds:6.1f} s  {told}", flush=True)
    with results.open("a") as file:
        file.write(json.dumps(attrs.asdict(start)) + "\n")
    return start


if __name__ == "__main__":
    sys.exit(main())
