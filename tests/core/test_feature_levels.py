"""Who counts for the pool's level: participants, by fresh heartbeats from the store of the seat."""

import attrs
import pytest

from p2pool.core.feature_levels import announced, lagging, next_level
from p2pool.core.node import Node
from p2pool.model import messages as m
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.messages.registry import DECLARATIONS
from tests.codec.samples import example
from tests.sim.harness.pool import Pool, formed

pytestmark = pytest.mark.usefixtures("as_first_version")

NEXT = FeatureLevel(BASE_LEVEL + 1)


@pytest.fixture
def pool() -> Pool:
    """Four nodes, three with seats."""
    return formed(4)


def leader_of(pool: Pool) -> Node:
    node = pool.leader().node
    assert node is not None
    return node


def says(leader: Node, node_id: NodeId, **change: object) -> None:
    """Have the leader believe that a node's last heartbeat was another."""
    book = leader.context.heartbeats.newest
    beat = attrs.evolve(book[node_id].heartbeat, **change)  # type: ignore[arg-type]
    book[node_id] = attrs.evolve(book[node_id], heartbeat=beat)


def knows_next(leader: Node) -> list[NodeId]:
    """Have it and every other participant know the next level; the others."""
    context = leader.context
    context.config = attrs.evolve(context.config, newest_level=NEXT)
    others = [v.node_id for v in context.pool_log.configuration.everybody]
    others.remove(context.me)
    for node_id in others:
        says(leader, node_id, feature_level=NEXT)
    return others


def test_every_participant_has_to_know_the_next_level(pool: Pool) -> None:
    """The leader too; what a member without a seat knows does not matter."""
    leader, now = leader_of(pool), pool.world.now()
    assert (next_level(leader.context, now), lagging(leader.context, now)) == (None, ())
    one, _ = knows_next(leader)
    assert (next_level(leader.context, now), lagging(leader.context, now)) == (NEXT, ())
    says(leader, one, feature_level=BASE_LEVEL)
    assert next_level(leader.context, now) is None
    assert [late.node_id for late in lagging(leader.context, now)] == [one]
    says(leader, one, feature_level=NEXT)
    leader.context.config = attrs.evolve(leader.context.config, newest_level=BASE_LEVEL)
    assert next_level(leader.context, now) is None
    assert [late.node_id for late in lagging(leader.context, now)] == [leader.context.me]


def test_an_old_heartbeat_or_one_of_another_store_says_nothing(pool: Pool) -> None:
    """Who was not heard of late may have gone back; another disk is another participant."""
    leader, now = leader_of(pool), pool.world.now()
    one, other = knows_next(leader)
    voters = {v.node_id: v for v in leader.context.pool_log.configuration.voters}
    says(leader, one, store_id=StoreId(b"x" * 16))
    assert announced(leader.context, voters[one], now) is None
    assert announced(leader.context, voters[other], now) == NEXT
    later = attrs.evolve(now, mono_ms=now.mono_ms + 60_000)
    assert announced(leader.context, voters[other], later) is None
    (late, _) = lagging(leader.context, later)
    assert late.feature_level is None


def test_who_knows_less_than_the_pool_is_no_candidate(pool: Pool) -> None:
    """And node show says why; a voter stays one: it stops by itself."""
    leader, now = leader_of(pool), pool.world.now()
    context, leading = leader.context, leader.parts.leader
    assert leading is not None
    assert context.pool_log.state is not None
    seats = [v.node_id for v in context.pool_log.configuration.everybody]
    (outside,) = [one.node_id for one in pool.world.machines if one.node_id not in seats]

    def candidates() -> set[NodeId]:
        return {candidate.voter.node_id for candidate in leading.committee._candidates(now)}

    before = candidates()
    assert outside in before
    context.pool_log.state.level = NEXT
    assert candidates() == before - {outside}
    shown = leader.view(now).node(outside)
    assert shown is not None
    assert "it runs p2pool 0.2.0, which knows feature levels up to 1" in shown.reason
    says(leader, outside, feature_level=NEXT)
    assert candidates() == before


def test_a_learner_has_to_know_it_too(pool: Pool) -> None:
    """It applies the log like a voter, and may be one at any moment."""
    leader, now = leader_of(pool), pool.world.now()
    knows_next(leader)
    raft = leader.context.pool_log.raft
    assert raft is not None
    before = raft.state.configuration
    seats = [v.node_id for v in before.everybody]
    (outside,) = [one for one in pool.world.machines if one.node_id not in seats]
    assert outside.node is not None
    learner = outside.node.context.config.me
    raft.state.configuration = attrs.evolve(before, learners=(learner,))
    assert next_level(leader.context, now) is None
    assert [late.node_id for late in lagging(leader.context, now)] == [outside.node_id]
    says(leader, outside.node_id, feature_level=NEXT)
    assert next_level(leader.context, now) == NEXT


@pytest.mark.parametrize("way", ["raft", "sealed", "peer", "gossip"])
def test_a_later_message_is_held_back_below_its_level(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Whoever in the node says it, in whichever way."""
    node, now = leader_of(pool), pool.world.now()
    node.step((), now)
    cls = m.EquivocationProven if way == "gossip" else m.TimeoutNow
    message = example(cls)
    monkeypatch.setitem(DECLARATIONS, cls, attrs.evolve(DECLARATIONS[cls], since=NEXT))
    context = node.context

    def said() -> bool:
        key = PeerKey(b"p" * 32)
        match way:
            case "raft":
                context.pool_log.send.append((key, message))
            case "sealed":
                context.pool_log.seal.append(message)
            case "peer":
                context.tell(key, message)
            case _:
                context.publish(message)
        return any(getattr(effect, "message", None) is message for effect in node.collect(now))

    assert not said()
    assert context.pool_log.state is not None
    context.pool_log.state.level = NEXT
    assert said()
