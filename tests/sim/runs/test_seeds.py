"""Ten seeds of sixty virtual seconds of everything at once, and that a seed is a run."""

import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.sim.__main__ import report, run
from tests.sim.faults.scenario import Outcome, tell

SEEDS = range(5, 15)
"""`make check` tells those before them."""


def test_ten_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """One leader per term, committed prefixes agree, no GPU twice, nothing acknowledged is lost."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, SEEDS, chunksize=2))
    failures = [result for result in results if isinstance(result, str)]
    assert not failures, "\n".join(failures)
    outcomes = [result for result in results if isinstance(result, Outcome)]
    with capsys.disabled():
        print("\n" + report(outcomes, failures, 0))
    assert sum(o.accepted for o in outcomes) > 5 * len(SEEDS)
    assert sum(o.crashes for o in outcomes) > len(SEEDS)


def test_a_seed_is_a_run() -> None:
    """The same seed gives the same story, to the last event."""
    assert tell(3) == tell(3)
