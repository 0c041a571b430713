"""The table of a run of attacks, in Markdown; every figure comes from the run itself."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

import psutil

from p2pool import __version__
from tests.attacks.goals import Run
from tests.attacks.measure import MIB, Measured
from tests.starts.report import commit

HEAD = """\
# Attacks by strangers and guests

Made by `make attacks` on {day} with p2pool {version} at commit {commit}, Python {python}, {cores}
cores, {seconds:g} s each. A pool of three agents and a bootstrap node, each a process, is used as
its users use it, first at rest, then under one attack after the other (`tests/attacks/attacker`).
Memory is the victim's, in MiB: at rest, at most while attacked, and as long after. The API's times
are those of a health check and a read together. Newcomers have ten seconds to learn of members.
Beside the victim's share of a processor stands how much longer its work took as others had it.

"""
COLUMNS = (
    "attack", "victim", "memory", "after", "API p50", "API p99", "CPU", "newcomers", "writes",
    "silent", "missed",
)  # fmt: skip


def page(runs: Sequence[Run], seconds: float) -> str:
    """The whole page."""
    head = HEAD.format(
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        version=__version__,
        commit=commit(),
        python=platform.python_version(),
        cores=psutil.cpu_count(),
        seconds=seconds,
    )
    return head + table(runs)


def table(runs: Sequence[Run]) -> str:
    """A row for each attack."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, runs)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(run: Run) -> tuple[str, ...]:
    rest, during, after = run.rest, run.during, run.after
    left = after.memory[-1] // MIB if after.memory else "gone"
    return (
        run.name,
        run.target,
        f"{rest.typical // MIB} to {during.peak // MIB}",
        str(left),
        f"{_ms(rest, 0.5)} to {_ms(during, 0.5)}",
        f"{_ms(rest, 0.99)} to {_ms(during, 0.99)}",
        f"{_share(rest)} to {_share(during)} %, {rest.stretch:.1f} to {during.stretch:.1f}",
        f"{during.served} of {during.knocked}, {during.eclipsed} eclipsed",
        f"{len(during.writes_s)} of {len(during.writes_s) + len(during.writes_failed)}",
        f"{during.silent_s:.0f} s",
        "; ".join(run.problems()) or "nothing",
    )


def _ms(found: Measured, share: float) -> str:
    return f"{found.p(share) * 1000:.0f} ms"


def _share(found: Measured) -> str:
    return f"{100 * found.share:.0f}"
