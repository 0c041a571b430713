"""What an agent shows of copies and nodes that nobody hears: that it does not know."""

import pytest

from p2pool.core import view as views
from p2pool.core.context import Context
from p2pool.core.fsm.state import PoolState
from p2pool.core.knowledge.roster import Roster
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import NodeId
from p2pool.model.ports.view import AllocationView, NodeView, View
from p2pool.model.states import AllocationState, Reachability
from p2pool.model.timing import Now
from tests.sim.harness.pool import Pool, formed, started

S = AllocationState


def seen(pool: Pool, number: int) -> View:
    """What an agent shows now."""
    return pool.node(number).view(pool.world.now(pool.world.machines[number]))


def node(view: View, node_id: NodeId) -> NodeView:
    found = view.node(node_id)
    assert found is not None
    return found


def copy_on(view: View, node_id: NodeId) -> AllocationView:
    (found,) = [c for t in view.tasks for c in t.allocations if c.node_id == node_id]
    return found


def test_a_copy_on_a_node_that_nobody_hears_is_not_known_to_run() -> None:
    """The log says running, for its node has said nothing else: with the age of its last word."""
    pool = formed()
    pool.run_task(0, replicas=3, reconnect_window_s=600)
    gone, leader = pool.other(), pool.leader()
    assert all(c.known for t in seen(pool, leader.number).tasks for c in t.allocations)
    left_ms = pool.world.now(leader).wall_ms
    pool.world.crash(gone.number)
    unreachable = Reachability.UNREACHABLE
    pool.until(
        lambda: node(seen(pool, leader.number), gone.node_id).reachability is unreachable, 60_000
    )
    for m in pool.world.machines:
        if m.node is not None:
            copy = copy_on(seen(pool, m.number), gone.node_id)
            assert (copy.state, copy.known) == (S.RUNNING, False)
            assert left_ms - 10_000 < copy.heard_ms <= left_ms
            assert copy_on(seen(pool, m.number), m.node_id).known


def test_a_node_is_looked_at_once_for_all_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at it counts its copies: for each of them anew, a list would cost their square."""
    pool = formed()
    pool.run_task(0, replicas=3)
    pool.run_task(1, replicas=3)
    made: list[NodeId] = []
    real = views.node_view

    def counted(context: Context, state: PoolState, member: ChainMember, now: Now) -> NodeView:
        made.append(member.node_id)
        return real(context, state, member, now)

    monkeypatch.setattr(views, "node_view", counted)
    copies = [c for t in seen(pool, pool.leader().number).tasks for c in t.allocations]
    assert len(copies) == 6
    assert all(c.known and c.heard_ms for c in copies)
    assert len(made) == len({c.node_id for c in copies}) == len(set(made))


def test_without_a_leader_an_agent_knows_its_own_copies_and_whom_it_hears() -> None:
    """It is cut off from all others: what the log said of them may have changed."""
    pool = formed()
    pool.run_task(0, replicas=3, reconnect_window_s=600)
    alone = pool.other()
    others = [m for m in pool.world.machines if m is not alone]
    pool.world.cut = {(alone.number, m.number) for m in others}
    pool.until(lambda: seen(pool, alone.number).leader is None, 60_000)
    pool.world.run(30_000)
    view = seen(pool, alone.number)
    for m in others:
        assert not node(view, m.node_id).known
        assert not copy_on(view, m.node_id).known
        assert "no leader says" in node(view, m.node_id).reason
    assert node(view, alone.node_id).known
    assert copy_on(view, alone.node_id).known


def test_a_member_that_was_never_heard_is_not_shown_as_healthy() -> None:
    """Nothing judged it, because nobody misses what never was here."""
    pool = started(3)
    silent = pool.world.machines[2]
    pool.world.crash(silent.number)
    pool.world.run(15_000)
    view = seen(pool, pool.leader().number)
    assert not node(view, silent.node_id).known
    assert "never heard" in node(view, silent.node_id).reason
    assert all(n.known for n in view.nodes if n.node_id != silent.node_id)


def test_after_the_end_of_the_pool_nothing_waits_and_nothing_is_known_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each node stops what it runs, and a copy that waits will never be placed."""
    pool = formed()
    pool.run_task(0, replicas=4)
    view = seen(pool, pool.leader().number)
    assert [t.state for t in view.tasks] == ["running"]
    monkeypatch.setattr(Roster, "ended", property(lambda self: True))
    view = seen(pool, pool.leader().number)
    assert [t.state for t in view.tasks] == ["stopping"]
    assert [c.known for t in view.tasks for c in t.allocations] == [
        c.node_id == view.node_id for t in view.tasks for c in t.allocations
    ]
    pool.until(lambda: not any(pool.running(n) for n in range(3)))
    pool.until(lambda: [t.state for t in seen(pool, 0).tasks] == ["stopped"])
