"""Fifty seeds of sixty virtual seconds, and the planted bugs that the checks must find."""

import os
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import attrs
import pytest

from p2pool.core.certifying import Certifying
from p2pool.core.leading.orders import compose
from p2pool.core.pool.state import PoolState
from p2pool.core.raft.state import RaftState
from p2pool.core.worker import reconcile
from p2pool.model.work import Order
from tests.sim.__main__ import report, run
from tests.sim.trouble import Outcome, tell
from tests.sim.violation import Violation

SEEDS = 50


def test_fifty_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """One leader per term, committed prefixes agree, no GPU twice, nothing acknowledged is lost."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run, range(SEEDS), chunksize=2))
    failures = [result for result in results if isinstance(result, str)]
    assert not failures, "\n".join(failures)
    outcomes = [result for result in results if isinstance(result, Outcome)]
    with capsys.disabled():
        print("\n" + report(outcomes, failures, 0))
    assert sum(o.accepted for o in outcomes) > 5 * SEEDS
    assert sum(o.crashes for o in outcomes) > SEEDS


def test_a_seed_is_a_run() -> None:
    """The same seed gives the same story, to the last event."""
    assert tell(3) == tell(3)


def _found(seeds: range) -> bool:
    """Whether any of these seeds finds the bug that is planted."""
    for seed in seeds:
        try:
            tell(seed)
        except (Violation, AssertionError):
            return True
    return False


def test_a_leader_that_commits_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: an entry counts as committed as soon as the leader has it."""

    def eager(s: RaftState) -> None:
        s.commit_to(s.log.last_index)

    monkeypatch.setattr("p2pool.core.raft.replication.advance_commit", eager)
    assert _found(range(12))


def test_a_gpu_that_is_handed_on_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: neither the log nor the nodes know who holds a GPU."""
    monkeypatch.setattr(reconcile, "blocked", lambda item, items: False)
    monkeypatch.setattr(PoolState, "holders", lambda self, node_id: ())
    assert _found(range(12))


def test_a_change_before_certification_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the voters change although nobody has certified the last change of them. Signing
    takes no time where nothing is wrong, so here the voters are slow to sign as well."""
    monkeypatch.setattr(Certifying, "_sign_link", lambda self, link, now: None)
    monkeypatch.setattr("p2pool.core.ledger.open_link", lambda chain: None)
    assert _found(range(2))


def test_orders_that_leave_out_stops_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: nodes are never told to stop what was replaced, so it runs on in the end."""

    def without_stops(*given: Any) -> Order:
        return attrs.evolve(compose(*given), stops=())

    monkeypatch.setattr("p2pool.core.leading.orders.compose", without_stops)
    assert _found(range(40))
