"""`make attacks`: each attack for a minute, and the goals; `--attack NAME` runs one or some.

python -m tests.attacks --attack window --seconds 60
"""

import argparse
import signal
import sys
from pathlib import Path

import trio

from tests.attacks.attacker.names import NAMES, TOGETHER
from tests.attacks.goals import Run
from tests.attacks.pool import Grounds, grounds
from tests.attacks.report import page, table
from tests.attacks.run import BRIEF, attacked, whole

BRIEF_S = 10.0
"""Up to here an attack is measured as in a test."""


async def _runs(place: Grounds, names: list[str], seconds: float) -> list[Run]:
    done = []
    for name in names:
        print(f"{name}, {seconds:g} s", flush=True)
        times = BRIEF if seconds <= BRIEF_S else whole(seconds)
        run = await attacked(place, times, *TOGETHER.get(name, (name,)), called=name)
        print(table([run]), dict(run.counts), sep="", flush=True)
        done.append(run)
        if not place.victim.child.alive:
            print("the victim has ended", flush=True)
            break
    return done


def main() -> int:
    """0 when every goal was reached."""
    parser = argparse.ArgumentParser(prog="make attacks", description=__doc__)
    parser.add_argument("--attack", action="append", choices=(*NAMES, *TOGETHER), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table to this page")
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    given = parser.parse_args()
    if not given.seconds > 0:
        parser.error("--seconds has to be more than 0")
    # Asked to end as by Ctrl-C, so that the pool ends too.
    signal.signal(signal.SIGTERM, lambda number, stack: signal.raise_signal(signal.SIGINT))
    with grounds(given.keep) as place:
        runs = trio.run(_runs, place, given.attack or list(NAMES), given.seconds)
    print(table(runs))
    if given.report is not None:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(page(runs, given.seconds))
    return 1 if any(run.problems() for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
