"""A lost copy is what its node says of it, unless nobody wants it any more: then it only ends."""

import pytest

from p2pool.core.fsm import tasks
from p2pool.core.fsm.apply import apply
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model.access.requests import Action
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.states import AllocationState
from tests.core.fsm.records import NODE, NOW_S, POOL, ask, feed, placed, request

S = AllocationState


def said(state: PoolState, name: TaskId, into: AllocationState) -> Allocation:
    """The copy after its node has said so of it."""
    outcome = Outcome(AllocationId(name, 0), 1, into)
    entry = Entry(state.applied_index + 1, 1, EntryKind.REPORT, NOW_S * 1000, b"")
    apply(state, entry, ReportApplied(NODE, (outcome,)))
    copy = state.allocation(AllocationId(name, 0))
    assert copy is not None
    return copy


def lost(level: FeatureLevel = DISTRUST_LEVEL) -> tuple[PoolState, TaskId]:
    state = PoolState(POOL, 1, level=level)
    name = ask(state, request(Action.SUBMIT, 1))
    feed(state, placed(name, NODE))
    assert said(state, name, S.LOST).state is S.LOST
    return state, name


@pytest.mark.parametrize("into", [S.PULLING, S.STARTING, S.RUNNING, S.STOPPING, S.SUCCEEDED])
def test_it_is_what_its_node_says(into: AllocationState) -> None:
    """A pull goes on as well: nothing is fetched twice."""
    state, name = lost()
    assert said(state, name, into).state is into


@pytest.mark.parametrize("into", [S.PULLING, S.STARTING, S.RUNNING, S.STOPPING])
def test_what_is_over_does_not_come_back(into: AllocationState) -> None:
    """Its task was stopped and has ended: the copy would run on in a task that nobody can end."""
    state, name = lost()
    ask(state, request(Action.STOP, 2, name.hex()))
    assert state.tasks[name].finished
    copy = said(state, name, into)
    assert (copy.state, tasks.should_run(state, copy)) == (S.LOST, False)
    assert said(state, name, S.STOPPED).state is S.STOPPED


def test_a_pool_at_the_first_level_applies_what_it_did() -> None:
    """Its other agents do not know better yet."""
    state, name = lost(BASE_LEVEL)
    assert said(state, name, S.PULLING).state is S.LOST
    assert said(state, name, S.RUNNING).state is S.RUNNING
