"""`make sim SEEDS=n`: seeds side by side, a line for each that fails, a report at the end."""

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor

from tests.sim.trouble import Outcome, tell


def run(seed: int) -> Outcome | str:
    """One seed: what it came to, or what went wrong and where."""
    try:
        return tell(seed)
    except Exception as error:  # noqa: BLE001
        # Whatever a seed dies of is its result: the report names it, and the exit code tells.
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"seed {seed}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"


def report(outcomes: list[Outcome], failures: list[str], seconds: float) -> str:
    """The report line."""
    accepted = sum(o.accepted for o in outcomes)
    return (
        f"{len(outcomes)} of {len(outcomes) + len(failures)} seeds good: "
        f"{accepted} of {sum(o.submitted for o in outcomes)} submissions acknowledged and none "
        f"lost, {sum(o.started for o in outcomes)} containers, "
        f"{sum(o.terms for o in outcomes)} terms, {sum(o.crashes for o in outcomes)} crashes, "
        f"{sum(o.events for o in outcomes)} events in {seconds:.0f} s"
    )


def main() -> int:
    """The exit code: 0 when all seeds are good."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    outcomes: list[Outcome] = []
    failures: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(run, seeds, chunksize=2):
            if isinstance(result, str):
                failures.append(result)
                print(result, flush=True)
            else:
                outcomes.append(result)
                if given.verbose:
                    print(result, flush=True)
    print(report(outcomes, failures, time.monotonic() - began))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
