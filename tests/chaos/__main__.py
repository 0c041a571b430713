"""`make chaos`: a pool of five agents under load and under faults, for as long as is asked for."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import trio

from tests.chaos.pool import chaos_pool
from tests.chaos.run import run_chaos
from tests.starts.report import commit

PAGE_HEAD = """\
# Runs of `make chaos`

Five agents, each a process, under load from clients and under faults of a seeded schedule; then
everything is healed, and what the clients were told is checked: it has to be linearizable, nothing
acknowledged may be lost, and every task has to be as it should be.
"""


def main() -> int:
    """0 when everything held; the artefacts of a run in which something did not are kept."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    parser.add_argument("--keep", action="store_true", help="keep the artefacts in any case")
    parser.add_argument("--report", type=Path, metavar="FILE", help="add the run to this page")
    given = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix=f"p2chaos-{given.seed}-", dir="/tmp"))
    print(f"seed {given.seed}, {given.seconds:g} s, in {where}", flush=True)
    with chaos_pool(where / "pool") as pool:
        report = trio.run(run_chaos, pool, given.seed, given.seconds, where)
    print(report.text(where))
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        before = given.report.read_text() if given.report.exists() else PAGE_HEAD
        given.report.write_text(before + report.section(commit()))
    if not report.problems and not given.keep:
        shutil.rmtree(where)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
