"""Where a node listens, it says itself: what a guest or another member says of it is a hint."""

import attrs
import pytest

from p2pool.core import effects as fx
from p2pool.core.inputs import PeerConnected, Received, Ticked
from p2pool.core.knowledge.roster import Roster
from p2pool.core.node import Node
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import Address, NodeId, PeerKey, StoreId
from p2pool.model.timing import Now
from tests.sim.harness.committee import formed, leading, voters
from tests.sim.world.machine import Machine

EVIL = tuple(f"/ip4/8.8.8.8/tcp/{port}" for port in range(1, 9))
GUEST, GUEST_KEY = NodeId(b"g" * 20), PeerKey(b"g" * 32)


@attrs.define
class Room:
    """A node of a pool, a member that is away, and one that is there."""

    node: Node
    absent: Machine
    present: Machine
    now: Now
    sent: list[fx.SendTo] = attrs.field(factory=list)

    def hear(self, header: m.Header, message: m.Message) -> list[fx.LearnPeer]:
        """What the node notes for dialling when a peer says something."""
        channel = m.DECLARATIONS[type(message)].channel
        verified = m.Verified(header, channel, message, b"")
        gossip = channel in m.registry.GOSSIP_CHANNELS
        said = Received(verified, None if gossip else header.peer_key)
        effects = self.node.step(said, self.now)
        self.sent += [e for e in effects if isinstance(e, fx.SendTo)]
        return [e for e in effects if isinstance(e, fx.LearnPeer)]

    def header(self, of: Machine | None) -> m.Header:
        """The header of a member's message, or of the guest's."""
        if of is None:
            return m.Header(GUEST, GUEST_KEY, 1, 1, self.now.wall_ms)
        sent_at_ms = self.now.wall_ms
        return m.Header(of.node_id, of.peer_key, sent_at_ms, 1, sent_at_ms)

    def known(self) -> m.PeerKnown:
        """What the node would hand on of the absent member."""
        return self.node.context.bindings.known[self.absent.node_id]

    def asks(self, of: PeerKey) -> bool:
        """Whether the node has asked a peer for bindings so far."""
        asked = [e.message for e in self.sent if e.peer_key == of]
        return any(isinstance(message, m.BindingsRequested) for message in asked)


@pytest.fixture
def room() -> Room:
    """A leader of three that does not reach one of the others."""
    pool = formed(3)
    number = leading(pool)
    assert number is not None
    one, other = (pool.world.machines[i] for i in voters(pool) if i != number)
    pool.world.crash(one.number)
    pool.world.run(1_000)
    node = pool.world.machines[number].node
    assert node is not None
    return Room(node, one, other, pool.world.now(pool.world.machines[number]))


def enter(room: Room, *, dialled: bool) -> list[fx.LearnPeer]:
    """A guest connects, and says hello with a binding of its own."""
    room.node.step(PeerConnected(GUEST_KEY, dialled), room.now)
    bound = attrs.evolve(room.known().binding, node_id=GUEST, peer_key=GUEST_KEY)
    return room.hear(room.header(None), m.Hello("1", bound, StoreId(b"s" * 16), EVIL))


def test_a_guest_has_nobody_dialled(room: Room) -> None:
    """Neither itself, nor a member whose true binding it shows with addresses of its choice."""
    assert enter(room, dialled=False) == []
    before = room.known()
    told = m.BindingsAnswered(0, (m.PeerKnown(before.binding, EVIL),))
    assert room.hear(room.header(None), told) == []
    assert room.known() == before


@pytest.mark.parametrize("dialled", [False, True])
def test_a_guest_is_asked_for_peers_only_if_we_dialled_it(room: Room, dialled: bool) -> None:
    """A bootstrap node is; those that come by themselves may be as many as they like."""
    enter(room, dialled=dialled)
    assert room.asks(GUEST_KEY) is dialled


def asked_of(room: Room, peer: PeerKey, for_ms: int = 20_000) -> list[m.BindingsRequested]:
    """The questions for bindings to one peer, as it ticks on for a while."""
    asked: list[m.BindingsRequested] = []
    for _ in range(for_ms // 500):
        room.now = Now(room.now.mono_ms + 500, room.now.wall_ms + 500)
        effects = room.node.step(Ticked(), room.now)
        sent = [e.message for e in effects if isinstance(e, fx.SendTo) and e.peer_key == peer]
        asked += [one for one in sent if isinstance(one, m.BindingsRequested)]
    return asked


def strangers(room: Room, monkeypatch: pytest.MonkeyPatch, count: int) -> set[NodeId]:
    """So many members of the chain that never ran."""
    real = room.node.context.roster.members()
    names = [NodeId(number.to_bytes(20, "big")) for number in range(count)]
    everybody = (*(ChainMember(name, Address(b"p" * 20), True) for name in names), *real)
    monkeypatch.setattr(Roster, "members", lambda self: everybody)
    return set(names)


def test_every_member_that_is_lacked_is_asked_for_by_name_in_time(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many never ran: those that stand first by their ids keep no other from being found,
    and there is a turn for each."""
    lacked = strangers(room, monkeypatch, 3 * limits.PEER_LIST_MAX)
    named = {name for asked in asked_of(room, room.present.peer_key) for name in asked.node_ids}
    assert named == lacked


def test_a_member_of_whom_only_the_binding_is_known_is_asked_for_now_and_then(room: Room) -> None:
    """What others hinted at is not kept, and may have failed: as with one that is lacked wholly,
    made-up nodes cannot crowd it out. It may be gone for ever, so that is not asked at once."""
    bindings = room.node.context.bindings
    bindings.known[room.absent.node_id] = attrs.evolve(room.known(), addresses=())
    bindings.known[room.present.node_id] = attrs.evolve(
        bindings.known[room.present.node_id], addresses=()
    )
    asked = asked_of(room, room.present.peer_key, limits.EXCHANGE_INTERVAL_MS)
    assert 1 <= len(asked) <= 2
    assert {name for one in asked for name in one.node_ids} == {room.absent.node_id}


def test_a_bootstrap_node_that_reads_no_names_is_asked_without_them_too(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in no pool, so no level says what it reads: one of the first version drops what names
    nodes. A member of a pool past that is asked once."""
    strangers(room, monkeypatch, 1)
    enter(room, dialled=True)
    asked = asked_of(room, GUEST_KEY)
    assert {bool(one.node_ids) for one in asked} == {False, True}
    assert all(one.node_ids for one in asked_of(room, room.present.peer_key))


def test_a_member_hints_at_addresses_of_others(room: Room) -> None:
    """Once, when it is asked; they are tried under its name, and neither kept nor handed on."""
    before = room.known()
    question = m.BindingsRequested(7, ())
    room.node.context.tell(room.present.peer_key, question)
    room.node.step(Ticked(), room.now)
    renewed = attrs.evolve(before.binding, not_before_s=before.binding.not_before_s + 1)
    told = m.BindingsAnswered(7, (m.PeerKnown(renewed, EVIL),))
    hints = room.hear(room.header(room.present), told)
    assert hints == [fx.LearnPeer(room.absent.peer_key, EVIL, room.present.peer_key)]
    assert room.known() == m.PeerKnown(renewed, before.addresses)
    assert room.hear(room.header(room.present), told) == []


def test_a_member_that_moves_says_so_in_its_heartbeat(room: Room) -> None:
    """Its own word is kept and handed on, and at most so often."""
    beats = room.node.context.heartbeats.newest
    beat = beats[room.absent.node_id].heartbeat
    moves = []
    for number in range(2 * limits.HELLO_ADDRESSES_BURST):
        room.now = Now(room.now.mono_ms + 1, room.now.wall_ms + 1)
        where = (f"/ip4/8.8.4.4/tcp/{number + 1}",)
        said = attrs.evolve(beat, addresses=where)
        moves.append(room.hear(room.header(room.absent), said))
        if number == 0:
            assert room.known().addresses == where
            assert moves[0] == [fx.LearnPeer(room.absent.peer_key, where)]
    assert sum(map(bool, moves)) == limits.HELLO_ADDRESSES_BURST
