"""The reports of long runs, in Markdown: every figure in them comes from the run itself.

A run of many seeds takes hours, so people divide it: each part adds a line to the page of seeds,
under the commit that it ran on. The page of planted bugs tells of one run.
"""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from p2pool import __version__
from tests.sim.faults.scenario import Outcome
from tests.starts.report import commit

SEEDS_HEAD = """\
# Runs of the simulator

Each line is a run of `make sim SIM='--from M --seeds N --report PAGE'`: whole nodes in virtual
time, with the faults of its draw, liars among them. A seed is good if whatever must hold
did hold after every step, and the pool came to rest in the end.

| date | commit | seeds | good | virtual hours | acknowledged | lost | containers | events | took |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def add_seeds(
    page: Path,
    seeds: range,
    outcomes: Sequence[Outcome],
    failures: Sequence[str],
    seconds: float,
) -> None:
    """Add a run's line to the page, and below the line of each seed that failed."""
    page.parent.mkdir(parents=True, exist_ok=True)
    before = page.read_text() if page.exists() else SEEDS_HEAD
    told = len(outcomes) + len(failures)
    cells = (
        f"{datetime.now(UTC):%Y-%m-%d}",
        commit(),
        f"{seeds.start} to {seeds.start + told - 1}",
        f"{len(outcomes)} of {told}" + "".join(f"; seed {_number(why)}" for why in failures),
        f"{sum(o.converged_ms for o in outcomes) / 3_600_000:.1f}",
        str(sum(o.accepted for o in outcomes)),
        "0",  # A lost one fails its seed.
        str(sum(o.started for o in outcomes)),
        str(sum(o.events for o in outcomes)),
        f"{seconds / 60:.0f} min",
    )
    page.write_text(f"{before}| {' | '.join(cells)} |\n")


def _number(failure: str) -> str:
    """The number of a seed that failed."""
    return failure.split(":")[0].removeprefix("seed ")


def write_mutations(
    page: Path, found: Mapping[str, int], seeds: range, about: Mapping[str, str], seconds: float
) -> None:
    """Write the page of planted bugs: in how many seeds each is found, and what it is."""
    lines = [
        "# Bugs planted in the simulator",
        "",
        f"Made by `make sim SIM='--mutations --from {seeds.start} --seeds {len(seeds)} --report "
        f"PAGE'` on {datetime.now(UTC):%Y-%m-%d} with p2pool {__version__} at "
        f"commit {commit()}, Python {platform.python_version()}, {psutil.cpu_count()} cores, in "
        f"{seconds / 60:.0f} minutes.",
        "",
        "Each bug takes out one rule or check. A seed finds it if something that must hold does "
        "not, if the product's own assertion stops it, or if the pool does not come to rest. Each "
        "seed draws its faults as ever: nothing is aimed at the bug.",
        "",
        f"**{sum(map(bool, found.values()))} of {len(found)} were found.**",
        "",
        f"| bug | what it is | found in, of {len(seeds)} seeds |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {about[name]} | {count} |" for name, count in found.items()),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines) + "\n")
