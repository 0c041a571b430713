"""A node's status: one at a time, with a sentence, and a reason where somebody has to act."""

import attrs
import pytest

from p2pool.core import inputs
from p2pool.core.node import NEVER_MS, Node
from p2pool.core.node_status import NodeStatus, Status
from p2pool.model import messages as m
from p2pool.model.ids import PeerKey, StoreId
from tests.sim.world.world import World


def running(size: int, ms: int) -> World:
    """A pool of so many nodes, after a while."""
    made = World(7, size)
    for number in range(size):
        made.start(number)
    made.run(ms)
    return made


@pytest.fixture
def world() -> World:
    """Five nodes, three of which fill the committee."""
    return running(5, 30_000)


@pytest.fixture
def alone() -> World:
    """One node, which leads itself."""
    return running(1, 6_000)


def nodes(world: World) -> list[Node]:
    """Those that run."""
    return [machine.node for machine in world.machines if machine.node is not None]


def test_every_status_is_a_sentence() -> None:
    """A word alone tells nobody what the node does."""
    assert all(status.value.endswith(".") for status in NodeStatus)


def test_a_seat_makes_a_participant_and_none_an_observer(world: World) -> None:
    """Voters and learners take part, all others follow; nobody has to act on either."""
    for node in nodes(world):
        seats = [v.node_id for v in node.context.pool_log.configuration.everybody]
        seated = node.context.me in seats
        wanted = NodeStatus.PARTICIPANT if seated else NodeStatus.OBSERVER
        assert node.context.status == Status(wanted)
    assert {node.context.status.value for node in nodes(world)} == {
        NodeStatus.PARTICIPANT,
        NodeStatus.OBSERVER,
    }


def test_who_starts_from_a_disk_doubts_it(alone: World) -> None:
    """Until enough of those who were there have answered, or there is nobody to ask."""
    alone.crash(0)
    alone.start(0)
    node = alone.machines[0].node
    assert node is not None
    assert node.context.status == Status(NodeStatus.CHECKING_STORE)
    assert alone.run_until(lambda: node.context.status.value is NodeStatus.PARTICIPANT, 20_000)


def test_a_log_that_nobody_founds_leaves_the_one_before() -> None:
    """It is shown, and not taken part in."""
    world = running(2, 10_000)
    assert world.root is not None
    world.root = attrs.evolve(world.root, epoch=2, store_id=StoreId(b"gone" + bytes(12)))
    world.run(40_000)
    assert [node.context.status.value for node in nodes(world)] == [NodeStatus.FORMER_EPOCH] * 2


def test_a_failed_write_silences_with_its_reason(alone: World) -> None:
    """Whatever else holds, and for good."""
    node = nodes(alone)[0]
    node.step(inputs.PersistFailed("no space left"), alone.now())
    assert node.context.status == Status(NodeStatus.STORE_FAILED, "no space left")
    assert node.context.status.silent
    assert node.next_wakeup_ms == NEVER_MS
    assert "no space left" in str(node.parts.machine.trouble)


def test_a_later_agent_with_our_keys_silences_with_its_reason(alone: World) -> None:
    """One message of it is enough: an incarnation is the time of a start."""
    node = nodes(alone)[0]
    me = node.context.config.me
    header = m.Header(
        me.node_id, me.peer_key, node.context.config.incarnation + 1, 1, alone.now().wall_ms
    )
    verified = m.Verified(header, m.Channel.QUERY, m.Pong(1, False), b"")
    node.step(inputs.Received(verified, PeerKey(bytes(32))), alone.now())
    status = node.context.status
    assert (status.value, status.silent) == (NodeStatus.SUPERSEDED, True)
    assert "started later" in str(status.reason)
    assert node.parts.machine.trouble == status.reason


def test_who_is_outside_is_told_what_it_waits_for_and_nothing_else() -> None:
    """The true step, as its agent knows it; never to found another epoch of a pool that lives."""
    world = running(3, 20_000)
    world.members.remove(2)
    node = world.machines[2].node
    assert node is not None
    assert world.run_until(lambda: not node.context.roster.belongs(node.context.me), 120_000)
    world.run(60_000)
    node.step(inputs.JoiningTold("It waits for the manager 0x11."), world.now())
    said = " ".join(node.view(world.now()).problems)
    assert "This node is not in the pool. It waits for the manager 0x11." in said
    assert "pool recover" not in said
    assert "--provider-key" not in said


def test_a_stuck_transaction_is_told() -> None:
    """What keeps a node out is a problem; of one that takes part it is a warning."""
    world = running(3, 20_000)
    node = nodes(world)[0]
    assert node.context.roster.belongs(node.context.me)
    for stuck in ("It is stuck.", None):
        node.step(inputs.JoiningTold(None, stuck), world.now())
        view = node.view(world.now())
        assert view.warnings == (() if stuck is None else (stuck,))
        assert "It is stuck." not in view.problems
    world.members.remove(2)
    outside = world.machines[2].node
    assert outside is not None
    assert world.run_until(lambda: not outside.context.roster.belongs(outside.context.me), 120_000)
    outside.step(inputs.JoiningTold("It waits.", "It is stuck."), world.now())
    view = outside.view(world.now())
    assert "It is stuck." in view.problems
    assert view.warnings == ()
