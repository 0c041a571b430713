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


def main() -> int:
    """0 when everything held; the artefacts of a run in which something did not are kept."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    parser.add_argument("--keep", action="store_true", help="keep the artefacts in any case")
    given = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix=f"p2chaos-{given.seed}-", dir="/tmp"))
    print(f"seed {given.seed}, {given.seconds:g} s, in {where}", flush=True)
    with chaos_pool(where / "pool") as pool:
        report = trio.run(run_chaos, pool, given.seed, given.seconds, where)
    print(report.text(where))
    if not report.problems and not given.keep:
        shutil.rmtree(where)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
