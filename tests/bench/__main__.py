"""`make bench`: what should be fast, measured beside a peer in the same run; a table at the end.

Suites: `cli` (what commands cost), `own` (one pool on a private engine), `containers` (tasks beside
plain docker), `etcd` (the log), `serf` (membership). They run one after the other, each in a
directory of its own under /tmp, and leave nothing running.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio
from rich.console import Console

from tests.bench import against_docker, against_etcd, against_serf, command_line, single_agent
from tests.bench.rows import Row, show

NO_ENGINE = "unix:///nonexistent"


@attrs.frozen
class Suite:
    """How to measure, the commands that it needs, and whether containers run in it."""

    measure: Callable[[Path, Callable[[str], None]], Awaitable[list[Row]]]
    needs: tuple[str, ...]
    engine: bool = False


SUITES = {
    command_line.SUITE: Suite(command_line.measure, ("docker", "dockerd"), engine=True),
    single_agent.SUITE: Suite(single_agent.measure, ("docker", "dockerd"), engine=True),
    against_docker.SUITE: Suite(against_docker.measure, ("docker", "dockerd"), engine=True),
    against_etcd.SUITE: Suite(against_etcd.measure, ("etcd",)),
    against_serf.SUITE: Suite(against_serf.measure, ("serf",)),
}


def run(suite: Suite, say: Callable[[str], None]) -> list[Row]:
    """One suite, in a directory that is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="p2b", dir="/tmp"))
    before = os.environ.get("DOCKER_HOST")
    if not suite.engine:
        os.environ["DOCKER_HOST"] = NO_ENGINE
    try:
        return trio.run(suite.measure, directory, say)
    finally:
        os.environ.pop("DOCKER_HOST", None)
        if before is not None:
            os.environ["DOCKER_HOST"] = before
        shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """0 when everything could be measured, whatever the figures are."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument(
        "--only", action="append", choices=sorted(SUITES), help="this suite; can be given again"
    )
    given = parser.parse_args()
    wanted = {name: suite for name, suite in SUITES.items() if not given.only or name in given.only}
    missing = [n for suite in wanted.values() for n in suite.needs if shutil.which(n) is None]
    if missing:
        print(
            f"missing: {', '.join(missing)}. Install them: bash .ci/packages bench", file=sys.stderr
        )
        return 2
    console = Console(stderr=True, highlight=False)
    rows: list[Row] = []
    for name, suite in wanted.items():
        console.print(f"[bold]{name}[/bold]")
        rows += run(suite, console.print)
    show(rows, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
