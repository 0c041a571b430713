"""`make sim SEEDS=n`: seeds side by side, stopping at the first that fail, and a report at the end.

`--mutations` tells in how many seeds each planted bug is found, `--elections` how long a pool is
without a leader, `--health` how often a node that is well is judged otherwise; `--json` gives all
of it to a program. A seed and a commit are a run: `--from SEED --seeds 1` tells it again.
"""

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import attrs
from rich.console import Console
from rich.progress import track

from tests.sim.faults.mutations import PLANTED, finds
from tests.sim.faults.scenario import Outcome, tell
from tests.sim.reports import add_seeds, write_mutations
from tests.sim.studies import elections, false_positives

SEEDS_DEFAULT = {"mutations": 10, "elections": 3, "health": 2}
NODES, SHARES = 20, (0.0, 0.05, 0.1)
T = TypeVar("T")
R = TypeVar("R")
FAILURES_MAX = 3
"""So many failures end a run: the first ones say enough."""


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
    hours = sum(o.converged_ms for o in outcomes) / 3_600_000
    return (
        f"{len(outcomes)} of {len(outcomes) + len(failures)} seeds good, {hours:.1f} virtual "
        f"hours: {accepted} of {sum(o.submitted for o in outcomes)} submissions acknowledged and "
        f"none lost, {sum(o.reads for o in outcomes)} consistent reads, "
        f"{sum(o.started for o in outcomes)} containers, {sum(o.terms for o in outcomes)} terms, "
        f"{sum(o.crashes for o in outcomes)} crashes, {sum(o.events for o in outcomes)} events "
        f"in {seconds:.0f} s"
    )


def _spread(act: Callable[[T], R], work: Sequence[T], workers: int, what: str) -> Iterator[R]:
    """Results in order, with a line that says how far it is (on a terminal)."""
    console = Console(stderr=True)
    results: Iterable[R]
    if workers == 1:
        results = map(act, work)
        yield from track(results, what, len(work), console=console, disable=not console.is_terminal)
        return
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(act, work)
        try:
            yield from track(
                results, what, len(work), console=console, disable=not console.is_terminal
            )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Whoever asks may have had enough.


def _seeds(given: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for result in _spread(run, seeds, given.workers, "seeds"):
        if isinstance(result, str):
            failures.append(result)
            print(result, file=sys.stderr, flush=True)
            if len(failures) >= FAILURES_MAX:
                break
        else:
            outcomes.append(result)
            if given.verbose:
                print(result, flush=True)
    for failure in failures:
        number = failure.split(":")[0].split()[1]
        print(f"again: python -m tests.sim --from {number} --seeds 1", file=sys.stderr)
    seconds = time.monotonic() - began
    if given.report is not None:
        add_seeds(given.report, seeds, outcomes, failures, seconds)
    return {
        "text": report(outcomes, failures, seconds),
        "seeds": len(outcomes) + len(failures),
        "virtual_hours": sum(o.converged_ms for o in outcomes) / 3_600_000,
        "violations": failures,
        "outcomes": [attrs.asdict(o) for o in outcomes],
    }


def _one_mutation(work: tuple[str, int]) -> tuple[str, str]:
    name, seed = work
    return name, finds(name, seed)


def _mutations(given: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    work = [(name, seed) for name in PLANTED for seed in seeds]
    found = dict.fromkeys(PLANTED, 0)
    for name, why in _spread(_one_mutation, work, given.workers, "planted bugs"):
        found[name] += bool(why)
    lines = [f"{name}: found in {count} of {given.seeds} seeds" for name, count in found.items()]
    missed = [name for name, count in found.items() if not count]
    if given.report is not None:
        about = {name: " ".join((bug.__doc__ or "").split()) for name, bug in PLANTED.items()}
        write_mutations(given.report, found, seeds, about, time.monotonic() - began)
    return {"text": "\n".join(lines), "found": found, "seeds": given.seeds, "violations": missed}


def _one_election(work: tuple[str, int, int]) -> tuple[str, int, list[int]]:
    name, voters, seed = work
    taken = elections.measure(voters, elections.TIMINGS_MEASURED[name], 20, seed)
    return name, voters, taken


def _elections(given: argparse.Namespace) -> dict[str, Any]:
    names, voters = elections.TIMINGS_MEASURED, elections.VOTERS
    work = [(n, v, s) for n in names for v in voters for s in range(given.seeds)]
    taken: dict[tuple[str, int], list[int]] = {}
    for name, count, times in _spread(_one_election, work, given.workers, "elections"):
        taken.setdefault((name, count), []).extend(times)
    rows, lines = [], []
    for (name, count), times in taken.items():
        times.sort()
        p50, p99 = statistics.median(times), times[min(len(times) - 1, len(times) * 99 // 100)]
        thesis = elections.THESIS.get(name, "") if count == 5 else ""
        rows.append(
            {
                "timeouts": name,
                "voters": count,
                "elections": len(times),
                "p50_ms": p50,
                "p99_ms": p99,
                "max_ms": times[-1],
                "thesis": thesis,
            }
        )
        lines.append(
            f"timeouts {name}, {count} voters, {len(times)} elections: p50 {p50:.0f} ms, "
            f"p99 {p99} ms, max {times[-1]} ms" + (f" (thesis: {thesis})" if thesis else "")
        )
    return {"text": "\n".join(lines), "elections": rows, "violations": []}


def _one_pool(work: tuple[float, float, int]) -> false_positives.Measure:
    share, hours, seed = work
    return false_positives.measure(seed, NODES, share, hours)


def _health(given: argparse.Namespace) -> dict[str, Any]:
    hours = given.minutes / 60
    work = [(share, hours, seed) for share in SHARES for seed in range(given.seeds)]
    found = list(_spread(_one_pool, work, given.workers, "pools"))
    lines, rows = [], []
    for number, share in enumerate(SHARES):
        of = found[number * given.seeds : (number + 1) * given.seeds]
        days, false = NODES * hours * len(of) / 24, sum(len(m.declared) for m in of)
        rows.append(
            {"slow_share": share, "node_days": days, "false": false, "per_node_day": false / days}
        )
        lines.append(
            f"{share:.0%} slow nodes: {false} false verdicts in {days:.2f} node-days, "
            f"{false / days:.2f} for each"
        )
    return {"text": "\n".join(lines), "health": rows, "violations": []}


def main() -> int:
    """The exit code: 0 when nothing was violated and every planted bug was found."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, help="default: 50, or few where each takes long")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=int, default=15, help="virtual minutes of --health")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, metavar="FILE", help="seeds, --mutations: a page")
    acts = {"mutations": _mutations, "elections": _elections, "health": _health}
    chosen = parser.add_mutually_exclusive_group()
    for name in acts:
        chosen.add_argument(f"--{name}", dest="act", action="store_const", const=name)
    given = parser.parse_args()
    if given.report is not None and given.act in ("elections", "health"):
        parser.error("--report is for seeds and for --mutations")
    if given.seeds is None:
        given.seeds = SEEDS_DEFAULT.get(given.act, 50)
    result = acts.get(given.act, _seeds)(given)
    print(json.dumps(result, indent=2, default=str) if given.json else result["text"])
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
