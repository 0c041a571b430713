"""A copy that a contract account submitted starts once the chain has told this node so itself."""

import attrs
import pytest

from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.access.verdicts import Validity, Verdict
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address
from p2pool.model.messages.work import Desired
from p2pool.model.states import AllocationState, StartRefusal
from tests.core.worker.workbench import Bench, desired

S = AllocationState
UNKNOWN = Verdict(Validity.UNKNOWN, "no endpoint answers")


def ordered(bench: Bench) -> Desired:
    one = desired()
    one = attrs.evolve(one, signed=attrs.evolve(one.signed, contract=Address(b"C" * 20)))
    bench.worker.level = DISTRUST_LEVEL
    assert bench.order(one)
    return one


def starts(done: list[ev.WorkerEffect]) -> int:
    return sum(isinstance(effect, ev.StartContainer) for effect in done)


def test_it_waits_for_the_chain_and_starts_then() -> None:
    """Also over a restart of the agent, which asks again."""
    bench = Bench()
    one = ordered(bench)
    assert starts(bench.turn()) == 0
    item = bench.worker.items[one.allocation, one.attempt]
    assert "the chain is asked" in item.reason
    bench.start()
    bench.worker.level = DISTRUST_LEVEL
    assert starts(bench.turn(1_000)) == 0
    bench.verdict = Verdict(Validity.VALID)
    assert starts(bench.turn(1_000)) == 1
    bench.verdict = Verdict(Validity.INVALID, "changed since")
    bench.start()
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.worker.items[one.allocation, one.attempt].state is S.RUNNING


def test_a_no_sends_it_elsewhere() -> None:
    """This node refuses it for good, and it may be its endpoints that lie."""
    bench = Bench()
    bench.verdict = Verdict(Validity.INVALID, "it did not sign")
    one = ordered(bench)
    assert starts(bench.turn()) == 0
    item = bench.worker.items[one.allocation, one.attempt]
    assert (item.state, item.refused) == (S.STOPPED, StartRefusal.LASTING)
    assert item.reason == "not allowed: it did not sign"


def test_where_nobody_can_tell_it_is_tried_again_and_then_elsewhere() -> None:
    """With the reason, for as long as other starts that the world keeps from working."""
    bench = Bench()
    bench.verdict = UNKNOWN
    one = ordered(bench)
    bench.turn()
    item = bench.worker.items[one.allocation, one.attempt]
    assert not item.ended
    assert "no endpoint answers" in item.outcome().reason
    for _ in range(2 + limits.START_TROUBLE_MAX_MS // 30_000):
        assert starts(bench.turn(30_000)) == 0
    assert (item.state, item.refused) == (S.STOPPED, StartRefusal.PASSING)


@pytest.mark.parametrize("verdict", [None, UNKNOWN])
def test_it_can_be_stopped_meanwhile(verdict: Verdict | None) -> None:
    """An order to stop it waits for no chain."""
    bench = Bench()
    bench.verdict = verdict
    one = ordered(bench)
    bench.turn()
    bench.order(stops=(one,))
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.worker.items.get((one.allocation, one.attempt)) is None or (
        bench.worker.items[one.allocation, one.attempt].state is S.STOPPED
    )


def test_nobody_is_its_submitter_before() -> None:
    """Who submitted a task may read its lines: a claim is none."""
    bench = Bench()
    one = ordered(bench)
    bench.turn()
    item = bench.worker.items[one.allocation, one.attempt]
    item.signers = Signers(Address(b"C" * 20))
    assert bench.worker.submitted(one.allocation) is None
    bench.verdict = Verdict(Validity.VALID)
    bench.turn()
    assert bench.worker.submitted(one.allocation) == (one.signed, item.signers)
