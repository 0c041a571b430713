"""Bytes from peers become inputs, or are counted and dropped; nothing they hold raises anything."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.agent.wire.ingress import NOBODY, Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.core.inputs import ClockDiffered, OutdatedHeard, Received, StrangerHeard
from p2pool.model import limits
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, HeartbeatsAnswered, PeerKnown, Ping
from p2pool.model.messages.registry import Channel
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.timing import Now
from p2pool.wire.binding import check_binding, make_binding
from tests.agent.wire.peer import NOW, NOW_S, POOL, Peer, met


@pytest.fixture
def peer() -> Peer:
    """The usual sender."""
    return Peer(1)


@pytest.fixture
def gate(peer: Peer) -> Ingress:
    """A gate that knows the usual sender's binding."""
    return Ingress(POOL, {peer.node_id: peer.peer_key}.get)


def test_a_frame_counts_after_hello_only(gate: Ingress, peer: Peer) -> None:
    """Until a peer has shown who it is, it has said nothing."""
    ping = peer.sealer.seal(Ping(1), NOW)[1]
    assert gate.frame(Channel.QUERY, peer.peer_key, ping, NOW) == []
    met(gate, peer)
    taken = gate.frame(Channel.QUERY, peer.peer_key, peer.sealer.seal(Ping(2), NOW)[1], NOW)
    assert [type(t) for t in taken] == [Received]


def test_a_frame_counts_from_its_own_connection_only(gate: Ingress, peer: Peer) -> None:
    """Who passes another's frame on is not the other."""
    met(gate, peer)
    ping = peer.sealer.seal(Ping(1), NOW)[1]
    assert gate.frame(Channel.QUERY, Peer(2).peer_key, ping, NOW) == []


def test_a_hello_is_for_its_own_binding(gate: Ingress, peer: Peer) -> None:
    """Another's binding under one's own key is refused; a bootstrap node has none."""
    other = Peer(2)
    stolen = Hello("1", other.binding(), StoreId(b"s" * 16), ())
    data = peer.sealer.seal(stolen, NOW)[1]
    assert gate.frame(Channel.HELLO, peer.peer_key, data, NOW) == []
    nobody = Sealer(POOL, NOBODY, peer.peer_key, 6, peer.key)
    plain = nobody.seal(Hello("1", None, StoreId(b"s" * 16), ()), NOW)[1]
    assert gate.frame(Channel.HELLO, peer.peer_key, plain, NOW)


def test_replayed_foreign_and_old_messages_are_refused(gate: Ingress, peer: Peer) -> None:
    """Twice, of another pool, of an earlier life, or half a minute off: counted, and dropped."""
    data = peer.announcement()
    assert gate.gossip(Channel.ANNOUNCE, data, NOW)
    assert gate.gossip(Channel.ANNOUNCE, data, NOW) == []
    foreign = Peer(1, attrs.evolve(POOL, pool_id=2))
    assert not gate.check_gossip(Channel.ANNOUNCE, foreign.announcement())
    late = Now(NOW.mono_ms, NOW.wall_ms + limits.CLOCK_SKEW_MAX_MS + 1)
    assert gate.gossip(Channel.ANNOUNCE, peer.announcement(late), NOW) == []
    earlier = Peer(1)
    earlier.sealer.incarnation = 4
    (told,) = gate.gossip(Channel.ANNOUNCE, earlier.announcement(), NOW)
    # Its sender may be another agent with the same keys: it is shown a later word of its own.
    assert told == OutdatedHeard(peer.node_id, peer.peer_key, sent_at_ms=NOW.wall_ms, later=5)
    assert gate.counters["stale"] == 3
    assert gate.counters["bad-signature"] == 1


def test_a_binding_that_begins_later_tells_how_far_the_clocks_differ(gate: Ingress) -> None:
    """Such a hello is refused, but it says why its sender cannot connect; not with a binding that
    others did not sign."""
    ahead = Now(NOW.mono_ms, NOW.wall_ms + 60_000)
    peer, other = Peer(1), Peer(2)
    binding = make_binding(POOL, peer.account, peer.key, ahead.wall_ms // 1000)
    for shown, told in (
        (binding, [ClockDiffered(peer.node_id, ahead.wall_ms)]),
        (attrs.evolve(binding, node_signature=bytes(65)), []),
        (attrs.evolve(binding, node_id=other.node_id), []),
    ):
        hello = peer.sealer.seal(Hello("1", shown, StoreId(b"s" * 16), ()), ahead)[1]
        assert gate.frame(Channel.HELLO, peer.peer_key, hello, NOW) == told


def test_a_message_of_another_channel_is_refused(gate: Ingress, peer: Peer) -> None:
    """A question is a question wherever it travels, so it travels on its own channel."""
    met(gate, peer)
    ping = peer.sealer.seal(Ping(1), NOW)[1]
    assert gate.frame(Channel.RAFT, peer.peer_key, ping, NOW) == []
    assert gate.counters["not-for-us"] == 1


def test_oversized_bytes_are_refused(gate: Ingress, peer: Peer) -> None:
    """Before anything is looked at."""
    assert not gate.check_gossip(Channel.BEAT, bytes(limits.GOSSIP_MESSAGE_MAX_BYTES + 1))
    assert (
        gate.frame(Channel.QUERY, peer.peer_key, bytes(limits.STREAM_FRAME_MAX_BYTES + 1), NOW)
        == []
    )


def test_gossip_of_an_unknown_node_asks_who_it_is(gate: Ingress) -> None:
    """Its bytes are good, but nobody has introduced it."""
    other = Peer(3)
    taken = gate.gossip(Channel.ANNOUNCE, other.announcement(), NOW)
    assert taken == [StrangerHeard(other.node_id, other.peer_key)]


def open_to_bindings(guest: Peer) -> Ingress:
    """A gate to which all but this peer are members, and that asked it."""
    known = {guest.node_id: guest.peer_key}.get
    gate = Ingress(
        POOL,
        known,
        worth_verifying=lambda verified, enclosed, now: True,
        member=lambda node_id: node_id != guest.node_id,
    )
    met(gate, guest)
    return gate


def test_only_good_bindings_come_through(peer: Peer) -> None:
    """Bindings that are handed on carry their own proof; the first forgery ends the reading."""
    gate = open_to_bindings(peer)
    late = Peer(4).binding()
    good = Peer(2).binding()
    forged = attrs.evolve(good, node_id=Peer(3).node_id)
    old = make_binding(POOL, peer.account, peer.key, NOW_S - 40 * 24 * 3600)
    told = BindingsAnswered(1, tuple(PeerKnown(b, ()) for b in (old, good, forged, late)))
    for _ in range(2):
        data = peer.sealer.seal(told, NOW)[1]
        (received,) = gate.frame(Channel.QUERY, peer.peer_key, data, NOW)
        assert isinstance(received, Received)
        message = received.verified.message
        assert isinstance(message, BindingsAnswered)
        assert [p.binding for p in message.peers] == [good]


def test_a_lie_about_bindings_costs_one_check_of_signatures(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many forgeries a guest puts into one frame."""
    gate = open_to_bindings(peer)
    checked: list[PeerBinding] = []

    def check(binding: PeerBinding, *others: Any) -> None:
        checked.append(binding)
        check_binding(binding, *others)

    monkeypatch.setattr("p2pool.agent.wire.ingress.check_binding", check)
    good = Peer(2).binding()
    forged = [attrs.evolve(good, node_id=NodeId(bytes([n]) * 20)) for n in range(30)]
    told = BindingsAnswered(1, tuple(PeerKnown(b, ()) for b in forged))
    gate.frame(Channel.QUERY, peer.peer_key, peer.sealer.seal(told, NOW)[1], NOW)
    assert len(checked) == 1


def test_hellos_of_strangers_push_out_nobody_who_is_heard(
    gate: Ingress, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that speaks is remembered, whatever number of newcomers says hello."""
    monkeypatch.setattr(limits, "PEERS_TRACKED_MAX", 2)
    met(gate, peer)
    for number in range(2, 6):
        met(gate, Peer(number))
        ping = peer.sealer.seal(Ping(number), NOW)[1]
        assert gate.frame(Channel.QUERY, peer.peer_key, ping, NOW), number


def beats(of: int) -> tuple[bytes, ...]:
    """Heartbeats that nobody sealed."""
    return tuple(bytes([n % 256]) * 20 for n in range(of))


def test_a_guest_may_say_little(gate: Ingress, peer: Peer) -> None:
    """What is over its rate is refused unopened, whatever it is, and another guest is heard."""
    met(gate, peer)
    for number in range(limits.GUEST_FRAMES_BURST - 1):
        ping = peer.sealer.seal(Ping(number), NOW)[1]
        assert gate.frame(Channel.QUERY, peer.peer_key, ping, NOW)
    for _ in range(5):
        assert gate.frame(Channel.QUERY, peer.peer_key, b"anything", NOW) == []
    assert gate.counters["too-many"] == 5
    assert gate.counters["malformed"] == 0
    met(gate, Peer(2))
    later = Now(NOW.mono_ms + 1_000, NOW.wall_ms + 1_000)
    heard = [
        gate.frame(Channel.QUERY, peer.peer_key, peer.sealer.seal(Ping(999 + n), later)[1], later)
        for n in range(2 * limits.GUEST_FRAMES_PER_S)
    ]
    assert sum(bool(one) for one in heard) == limits.GUEST_FRAMES_PER_S


def test_a_member_may_say_much(peer: Peer) -> None:
    """Far more than a guest: Raft and orders need it (`test_budgets` has the bound)."""
    gate = Ingress(POOL, {peer.node_id: peer.peer_key}.get, member=lambda node_id: True)
    met(gate, peer)
    for number in range(2 * limits.GUEST_FRAMES_BURST):
        ping = peer.sealer.seal(Ping(number), NOW)[1]
        assert gate.frame(Channel.QUERY, peer.peer_key, ping, NOW)


@pytest.mark.parametrize("asked", [False, True])
def test_heartbeats_that_nobody_asked_for_are_not_opened(peer: Peer, asked: bool) -> None:
    """A thousand of them fit into a frame."""
    known = {peer.node_id: peer.peer_key}.get
    gate = Ingress(POOL, known, lambda verified, enclosed, now: asked, lambda node_id: True)
    met(gate, peer)
    told = peer.sealer.seal(HeartbeatsAnswered(1, beats(50)), NOW)[1]
    assert gate.frame(Channel.QUERY, peer.peer_key, told, NOW) == []
    assert gate.counters["malformed"] == (50 if asked else 0)
    assert gate.counters["not-looked-at"] == (0 if asked else 1)


def test_bindings_that_nobody_asked_for_cost_no_signature(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any other answer: the core says first whether it awaits one."""
    gate = Ingress(POOL, {peer.node_id: peer.peer_key}.get, member=lambda node_id: True)
    met(gate, peer)
    monkeypatch.setattr(
        "p2pool.agent.wire.ingress.check_binding", lambda *_: pytest.fail("checked")
    )
    told = BindingsAnswered(1, (PeerKnown(Peer(2).binding(), ()),))
    assert gate.frame(Channel.QUERY, peer.peer_key, peer.sealer.seal(told, NOW)[1], NOW) == []
    assert gate.counters["not-looked-at"] == 1


@given(data=st.binary(max_size=300), channel=st.sampled_from(list(Channel)))
def test_any_bytes_are_survived(data: bytes, channel: Channel) -> None:
    """Garbage is counted."""
    gate = Ingress(POOL, lambda node_id: None)
    assert gate.frame(channel, PeerKey(b"k" * 32), data, NOW) == []
    assert not gate.check_gossip(channel, data)
    assert gate.counters.total() == 2
