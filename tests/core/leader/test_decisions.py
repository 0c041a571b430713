"""What a leader writes down of its own accord, in log time: lost, stopped, heard again, dead."""

import attrs
import pytest

from p2pool.core.fsm.state import NodeRecord
from p2pool.core.leader import decisions
from p2pool.model import limits
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.states import AllocationState, Intent, Reachability
from p2pool.model.tasks.spec import OnDisconnect
from p2pool.model.timing import Now
from tests.core.leader.running_copies import Case

S = AllocationState
R = Reachability


def test_a_copy_is_lost_after_its_reconnect_window() -> None:
    """Not before; and only where its node is judged unreachable."""
    case = Case(reconnect_window_s=10)
    assert case.lost(60_000) == []
    case.judge(R.UNREACHABLE)
    assert case.lost(9_999) == []
    (outcome,) = case.lost(10_000)
    assert outcome.state is S.LOST


def test_some_copies_are_never_replaced() -> None:
    """A window of -1 is for ever."""
    case = Case(reconnect_window_s=-1)
    case.judge(R.DEAD)
    assert case.lost(10**9) == []


def test_a_copy_that_stops_itself_is_replaced_a_little_later() -> None:
    """The node has its own clock, and its grace."""
    case = Case(reconnect_window_s=10, on_disconnect=OnDisconnect.STOP)
    case.judge(R.UNREACHABLE)
    assert case.lost(10_000) == []
    assert len(case.lost(10_000 + limits.DISCONNECT_STOP_MARGIN_MS)) == 1


def test_when_a_third_vanishes_at_once_replacement_is_held() -> None:
    """More likely the network than the nodes; after a while it goes on."""
    case = Case(reconnect_window_s=1)
    for machine in case.world.machines:
        if machine.node is not None and machine.node.context is not case.context:
            case.judge(R.UNREACHABLE, machine.node_id)
    assert case.lost(5_000) == []
    assert len(case.lost(limits.MASS_LOSS_HOLD_MS)) == 2


def test_a_node_that_left_loses_its_copies_at_once() -> None:
    """The chain has said so, finally, and the voters read the same."""
    case = Case()
    final = case.context.roster.final
    assert final is not None
    rest: ChainRoster = attrs.evolve(
        final, members=tuple(m for m in final.members if m.node_id != case.away)
    )
    roster = case.context.roster
    roster.observe(rest, rest, case.at(0))
    assert case.lost(0) == []
    roster.accept(tuple(roster.claims), case.at(0))
    assert [o.state for o in case.lost(0)] == [S.LOST]


@pytest.mark.parametrize("intent", [Intent.DRAINING, Intent.BANNED])
def test_copies_leave_a_node_that_is_not_to_have_any(intent: Intent) -> None:
    """Drained or banned: stopped there, so that they are placed elsewhere."""
    case = Case()
    case.state.nodes[case.away] = NodeRecord(case.away, R.HEALTHY, intent)
    (record,) = decisions.to_stop(case.context, case.state, case.at(0))
    assert [o.state for o in record.outcomes] == [S.STOPPING]


def test_a_deadline_ends_a_copy() -> None:
    """Counted from its placement, in log time."""
    case = Case(deadline_s=100)
    assert decisions.to_stop(case.context, case.state, case.at(50_000)) == []
    records = decisions.to_stop(case.context, case.state, case.at(100_000))
    assert [o.state for r in records for o in r.outcomes] == [S.STOPPING] * 3


def test_an_unreachable_node_is_dead_after_a_day_and_alive_when_heard() -> None:
    """A heartbeat that came after the judgement, and is fresh."""
    case = Case()
    case.judge(R.UNREACHABLE)
    assert decisions.nodes_changed(case.context, case.state, case.at(1_000)) == []
    (dead,) = decisions.nodes_changed(case.context, case.state, case.at(limits.DEAD_AFTER_MS))
    assert dead.reachability is R.DEAD
    newest = case.context.heartbeats.newest
    heard_at = Now(case.world.now_ms + 1, case.at(7_000).wall_ms)
    newest[case.away] = attrs.evolve(
        newest[case.away], heard_at=heard_at, sent_at_ms=heard_at.wall_ms
    )
    (back,) = decisions.nodes_changed(case.context, case.state, case.at(7_000))
    assert back.reachability is R.HEALTHY


def test_a_drain_is_over_when_nothing_is_held() -> None:
    """Not while a copy is still there."""
    case = Case()
    case.state.nodes[case.away] = NodeRecord(case.away, R.HEALTHY, Intent.DRAINING)
    assert decisions.nodes_changed(case.context, case.state, case.at(0)) == []
    case.state.put(attrs.evolve(case.copy(), state=S.STOPPED))
    (drained,) = decisions.nodes_changed(case.context, case.state, case.at(0))
    assert drained.intent is Intent.DRAINED
