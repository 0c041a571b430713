"""A minute of load and faults on real processes; `make chaos` is ten of them, on any seed."""

from pathlib import Path

import pytest

from tests.chaos.faults.nemesis import KINDS, schedule
from tests.chaos.pool import ChaosPool
from tests.chaos.run import run_chaos

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

SECONDS = 60.0
SEED = 7


async def test_a_minute_of_chaos(pool: ChaosPool) -> None:
    """What was acknowledged is there, once; every history has an order; all agree in the end."""
    where = pool.directory.parent / f"seed-{SEED}"
    where.mkdir()
    report = await run_chaos(pool, SEED, SECONDS, where)
    assert not report.problems, report.text(where)
    assert report.figures["ok"] > 50, "the load was too thin to show anything"
    assert report.figures["faults"] > 2


def test_a_schedule_is_a_matter_of_its_seed(tmp_path: Path) -> None:
    """The same seed gives the same faults; every kind comes before any comes twice."""
    assert schedule(5, 900) == schedule(5, 900) != schedule(6, 900)
    faults = schedule(5, 900)
    assert {f.kind for f in faults} == set(KINDS)
    assert all(f.at_s + f.lasts_s <= 900 + 10 for f in faults)
