"""What applying a refusal does to a state: by the second level, for a copy that is really there."""

import attrs
import pytest

from p2pool.codec.entries import Record, encode_body
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, NodeId, TaskId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.log.raft import Entry
from p2pool.model.states import AllocationState, StartRefusal
from tests.core.fsm.records import GPU, NODE, NOW_S, OTHER, POOL, ask, placed, request

S = AllocationState


class Pool:
    """A state at the second level, with a task whose copy is on a node."""

    def __init__(self) -> None:
        self.state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
        self.task: TaskId = ask(self.state, request(Action.SUBMIT, 1, gpus=1))
        self.at_ms = NOW_S * 1000
        self.place(NODE)

    def feed(self, record: Record) -> None:
        self.at_ms += 1
        kind, body = encode_body(record, self.state.level)
        index = self.state.applied_index + 1
        apply_entry(self.state, Entry(index, 1, kind, self.at_ms, body))

    @property
    def copy(self) -> Allocation:
        found = self.state.allocation(AllocationId(self.task, 0))
        assert found is not None
        return found

    def place(self, node: NodeId) -> None:
        attempt = self.copy.attempt + 1
        self.feed(placed(self.task, node, GPU, attempt=attempt))
        assert self.copy.node_id == node

    def says(
        self, state: AllocationState, refused: StartRefusal = StartRefusal.NONE, by: NodeId = NODE
    ) -> None:
        outcome = Outcome(self.copy.allocation, self.copy.attempt, state, "because")
        self.feed(ReportApplied(by, (attrs.evolve(outcome, refused=refused),)))

    def refuses(self, by: NodeId = NODE) -> None:
        self.says(S.STOPPED, StartRefusal.LASTING, by)


def test_a_refused_copy_waits_without_a_place() -> None:
    """It holds nothing on the node that refused it, and its next attempt may go anywhere."""
    pool = Pool()
    pool.refuses()
    assert (pool.copy.state, pool.copy.node_id, pool.copy.gpus) == (S.PENDING, None, ())
    assert pool.state.holders(NODE) == ()
    assert "because" in pool.copy.reason
    pool.place(OTHER)
    assert pool.copy.attempt == 2


def test_only_the_node_that_has_it_refuses_a_copy() -> None:
    """Another's word, or one on an earlier attempt, changes nothing."""
    pool = Pool()
    pool.refuses(OTHER)
    assert (pool.copy.state, pool.state.set_aside.of_task(pool.task)) == (S.ASSIGNED, ())
    late = Outcome(pool.copy.allocation, 0, S.STOPPED, refused=StartRefusal.LASTING)
    pool.feed(ReportApplied(NODE, (late,)))
    assert pool.copy.state is S.ASSIGNED


def test_a_node_that_runs_it_and_refuses_it_by_turns_is_tried_ever_more_rarely() -> None:
    """What it says of a copy that ran clears nothing: it may lie."""
    pool = Pool()
    waits = []
    for _ in range(3):
        pool.says(S.RUNNING)
        pool.refuses()
        (row,) = pool.state.set_aside.of_task(pool.task)
        waits.append(row.until_ms - row.at_ms)
        pool.at_ms = row.until_ms
        pool.place(NODE)
    assert waits == [limits.SET_ASIDE_MIN_MS << n for n in range(3)]


def test_a_copy_that_stops_is_stopped() -> None:
    """Its submitter wants its end: that it was refused as well makes it no copy that waits."""
    pool = Pool()
    pool.says(S.STOPPING)
    pool.refuses()
    assert pool.copy.state is S.STOPPED


@pytest.mark.parametrize("refused_before", [False, True])
def test_a_leaders_word_that_all_refuse_it_needs_a_refusal(refused_before: bool) -> None:
    """Else a leader of a single entry could fail whatever waits."""
    pool = Pool()
    if refused_before:
        pool.refuses()
    else:
        pool.says(S.STOPPED)
        pool.state.put(Allocation(pool.copy.allocation, attempt=pool.copy.attempt))
    pool.says(S.FAILED)
    assert pool.copy.state is (S.FAILED if refused_before else S.PENDING)


def test_at_the_first_level_nobody_is_set_aside() -> None:
    """Replicas of an earlier version apply the same."""
    pool = Pool()
    pool.state.level = BASE_LEVEL
    pool.says(S.STOPPED)
    assert (pool.copy.state, len(pool.state.set_aside.rows)) == (S.STOPPED, 0)


def test_what_is_known_goes_with_its_task() -> None:
    """So that the state does not grow by tasks that are forgotten."""
    pool = Pool()
    pool.refuses()
    pool.state.drop_task(pool.task)
    assert len(pool.state.set_aside.rows) == 0
