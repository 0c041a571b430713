"""What guests may have verified: all of them together little, each of them enough to be heard."""

from typing import Any

import attrs
import pytest
from nacl.signing import VerifyKey

from p2pool.agent.wire.budgets import ALL
from p2pool.agent.wire.ingress import Ingress
from p2pool.model import features, limits
from p2pool.model.ids import NodeId, StoreId
from p2pool.model.messages.certificates import CertificatesAnswered
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, PeerKnown, Ping, StoreSeenAnswered
from p2pool.model.messages.registry import (
    DECLARATIONS,
    DEDICATED_CHANNELS,
    GOSSIP_CHANNELS,
    TYPES,
    Channel,
    Message,
    Verified,
)
from p2pool.model.timing import Now
from p2pool.wire import eip712
from p2pool.wire.costs import checks_in
from tests.agent.wire.peer import NOW, POOL, Peer, met
from tests.codec.samples import example

LOOPBACK = ("/ip4/127.0.0.1/tcp/4001",)
FRAMED = [
    cls
    for cls in TYPES.values()
    if DECLARATIONS[cls].channel not in {*GOSSIP_CHANNELS, *DEDICATED_CHANNELS, Channel.HELLO}
]


@pytest.fixture
def gate() -> Ingress:
    """A gate to which number 1 is a member and nobody else is, and all is worth verifying."""
    member = Peer(1)
    known = {member.node_id: member.peer_key}
    return Ingress(POOL, known.get, lambda *_: True, known.__contains__)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The signatures that are checked."""
    seen: list[str] = []
    verify, recover = VerifyKey.verify, eip712.recover

    def verified(self: VerifyKey, *arguments: Any) -> Any:
        seen.append("ed25519")
        return verify(self, *arguments)

    def recovered(*arguments: Any) -> Any:
        seen.append("secp256k1")
        return recover(*arguments)

    monkeypatch.setattr(VerifyKey, "verify", verified)
    monkeypatch.setattr(eip712, "recover", recovered)
    return seen


def says(gate: Ingress, peer: Peer, message: Message, now: Now = NOW) -> bool:
    """Whether a peer's message comes through."""
    channel, data = peer.sealer.seal(message, now)
    return bool(gate.frame(channel, peer.peer_key, data, now))


def sealed_by(peer: Peer, count: int) -> tuple[bytes, ...]:
    """Envelopes that a peer really signed, each another one."""
    return tuple(peer.sealer.seal(Ping(number), NOW)[1] for number in range(count))


def with_a_hundred(peer: Peer) -> CertificatesAnswered:
    """A chain with a hundred good signatures, none of which was seen before."""
    made: CertificatesAnswered = example(CertificatesAnswered)
    (link,) = made.chain.links[:1]
    links = tuple(attrs.evolve(link, signatures=sealed_by(peer, 8)) for _ in range(13))
    return attrs.evolve(made, chain=attrs.evolve(made.chain, links=links), certificate=(), votes=())


def test_a_hundred_signatures_in_a_guests_frame_cost_one_check(
    gate: Ingress, checks: list[str]
) -> None:
    """Only members answer with a chain, so nothing in a guest's is looked at, however good."""
    guest = Peer(9)
    met(gate, guest)
    made = with_a_hundred(guest)
    assert checks_in(made) == 104
    checks.clear()
    assert not says(gate, guest, made)
    assert len(checks) == 1
    assert gate.counters["not-allowed"] == 1


@pytest.mark.parametrize("cls", FRAMED, ids=lambda cls: cls.__name__)
def test_no_message_of_a_guest_costs_more_than_it_is_charged(
    gate: Ingress, checks: list[str], cls: type[Message]
) -> None:
    """Of each kind: the envelope's signature, and then what all of its cost was charged for; with
    nothing left to charge it to, nothing more."""
    guest, message = Peer(9), example(cls, features.newest())
    met(gate, guest)
    checks.clear()
    says(gate, guest, message)
    assert len(checks) <= 1 + checks_in(message)
    while gate.guests.admit(guest.peer_key, 1, NOW.mono_ms):
        pass
    checks.clear()
    says(gate, guest, message)
    assert not checks


def test_an_envelope_under_another_key_is_not_verified(gate: Ingress, checks: list[str]) -> None:
    """Noise has proved who is at the other end, and it is somebody else."""
    met(gate, Peer(9))
    checks.clear()
    (sealed,) = sealed_by(Peer(8), 1)
    assert gate.frame(Channel.QUERY, Peer(9).peer_key, sealed, NOW) == []
    assert not checks
    assert gate.counters["malformed"] == 1


def flood(gate: Ingress, numbers: range, addresses: tuple[str, ...] = LOOPBACK) -> list[Peer]:
    """So many guests, each with all frames that it may send at once."""
    guests = [Peer(number) for number in numbers]
    for guest in guests:
        gate.guests.connected(guest.peer_key, addresses)
        met(gate, guest)
        for number in range(limits.GUEST_FRAMES_BURST):
            says(gate, guest, Ping(number))
    return guests


def test_guests_together_have_no_more_verified_than_their_share(
    gate: Ingress, checks: list[str]
) -> None:
    """Identities cost nothing: twenty of one address get what one address gets, and a little each;
    and then nothing until time goes on."""
    guests = flood(gate, range(20, 40))
    sure = 20 * (limits.GUEST_CHECKS_SURE_BURST + 1)
    assert len(checks) <= sure + limits.GUEST_CHECKS_ADDRESS_BURST
    checks.clear()
    for guest in guests:
        says(gate, guest, Ping(1_000))
    assert not checks
    later = Now(NOW.mono_ms + 1_000, NOW.wall_ms + 1_000)
    for guest in guests:
        for number in range(limits.GUEST_FRAMES_PER_S):
            says(gate, guest, Ping(2_000 + number), later)
    most = limits.GUEST_CHECKS_ADDRESS_PER_S + 20 * limits.GUEST_CHECKS_SURE_PER_S
    assert 0 < len(checks) <= most


@pytest.mark.parametrize("made_up", [False, True])
def test_hellos_of_many_cost_no_more_than_their_share(
    gate: Ingress, checks: list[str], made_up: bool
) -> None:
    """Each costs three checks, whether the binding is good or its times are made up."""
    for number in range(20, 25):
        guest = Peer(number)
        good = guest.binding()
        shown = attrs.evolve(good, not_before_s=1, not_after_s=2) if made_up else good
        for _ in range(limits.GUEST_FRAMES_BURST):
            hello = guest.sealer.seal(Hello("1", shown, StoreId(b"s" * 16), ()), NOW)[1]
            gate.frame(Channel.HELLO, guest.peer_key, hello, NOW)
    sure = 5 * limits.GUEST_CHECKS_SURE_BURST
    assert len(checks) <= sure + limits.GUEST_CHECKS_ADDRESS_BURST


def test_who_is_new_is_heard_while_guests_of_the_same_address_flood(gate: Ingress) -> None:
    """What is sure of a guest is enough to say hello, and to ask what it has to know."""
    flood(gate, range(20, 40))
    newcomer = Peer(50)
    gate.guests.connected(newcomer.peer_key, LOOPBACK)
    met(gate, newcomer)
    assert all(says(gate, newcomer, Ping(number)) for number in range(10))


def test_a_member_is_heard_however_guests_flood(gate: Ingress) -> None:
    """Back after a loss of its connection too: it pays from its own budget."""
    member = Peer(1)
    met(gate, member)
    flood(gate, range(20, 40))
    for number in range(2 * limits.GUEST_CHECKS_SURE_BURST):
        assert says(gate, member, Ping(number))
    met(gate, member)


def test_one_address_leaves_others_their_share(
    gate: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one network of addresses, whatever number of them it has."""
    monkeypatch.setattr(limits, "GUEST_FRAMES_BURST", 40)
    for number in range(30):
        flood(gate, range(20 + number, 21 + number), (f"/ip4/203.0.113.{number}/tcp/4001",))
    elsewhere = Peer(100)
    gate.guests.connected(elsewhere.peer_key, ("/ip4/198.51.100.1/tcp/4001",))
    met(gate, elsewhere)
    heard = sum(says(gate, elsewhere, Ping(number)) for number in range(39))
    assert heard == 39


def test_forged_bindings_that_were_asked_for_cost_a_check_each(
    gate: Ingress, checks: list[str]
) -> None:
    """The first forgery ends the reading, and its sender's budget the checks; also once it has
    used up what answers to us may cost."""
    guest = Peer(9)
    met(gate, guest)
    gate._asked.charge(guest.peer_key, NOW.mono_ms, limits.ASKED_SIGNATURES_BURST)
    forged = attrs.evolve(Peer(1).binding(), node_signature=bytes(65))
    told = BindingsAnswered(1, (PeerKnown(forged, ()),) * limits.PEER_LIST_MAX)
    checks.clear()
    assert says(gate, guest, told)
    assert len(checks) <= 3


def test_what_nobody_asked_for_costs_other_guests_nothing() -> None:
    """Answers without a question from two networks, as many as guests may say: who was asked, a
    bootstrap node, is heard by an agent that knows nobody, with all the bindings that it has."""
    member, asked = Peer(1), Peer(60)
    known = {member.node_id: member.peer_key}
    gate = Ingress(
        POOL,
        known.get,
        lambda verified, *_: verified.header.peer_key == asked.peer_key,
        known.__contains__,
    )
    told = BindingsAnswered(1, (PeerKnown(member.binding(), ()),) * limits.PEER_LIST_MAX)
    for number, host in enumerate(("203.0.113.1", "198.51.100.1", "192.0.2.1"), 20):
        guest = Peer(number)
        gate.guests.connected(guest.peer_key, (f"/ip4/{host}/tcp/4001",))
        met(gate, guest)
        for request in range(10):
            assert not says(gate, guest, attrs.evolve(told, request=request))
    gate.guests.connected(asked.peer_key, ("/ip4/8.8.8.8/tcp/4001",))
    met(gate, asked)
    assert says(gate, asked, told)
    assert gate.counters["too-many"] == 0


def test_what_a_newcomer_asked_for_comes_through_however_guests_flood() -> None:
    """A bootstrap node is a guest to it, and names the members; strangers that use up all that
    guests have cannot keep that answer out. One that nobody asked for waits with the others'."""
    asked: set[int] = {7}

    def awaited(verified: Verified, *_: object) -> bool:
        return getattr(verified.message, "request", None) in asked

    gate, bootstrap, stranger = Ingress(POOL, lambda node_id: None, awaited), Peer(9), Peer(10)
    for guest in (bootstrap, stranger):
        met(gate, guest)
    gate.guests._all.charge(ALL, NOW.mono_ms, limits.GUEST_CHECKS_ALL_BURST)
    told = BindingsAnswered(7, (PeerKnown(Peer(1).binding(), ()),) * limits.PEER_LIST_MAX)
    assert not says(gate, stranger, attrs.evolve(told, request=8))
    assert gate.counters["not-looked-at"] == 1
    assert says(gate, bootstrap, told)


def test_many_checks_for_one_message_leave_turns_to_others(gate: Ingress) -> None:
    """A whole chain from a member: it is opened a few signatures at a time, all of it."""
    member = Peer(1)
    met(gate, member)
    channel, data = member.sealer.seal(with_a_hundred(member), NOW)
    turns = gate.by_turns(channel, member.peer_key, data, NOW)
    assert sum(1 for _ in turns) == 104 // limits.CHECKS_PER_TURN_MAX


def test_what_only_members_send_is_refused_by_its_kind(gate: Ingress) -> None:
    """From a guest; the same from a member comes through."""
    guest, member = Peer(9), Peer(1)
    for peer in (guest, member):
        met(gate, peer)
        shown = StoreSeenAnswered(1, None, sealed_by(peer, 3))
        assert says(gate, peer, shown) is (peer is member)


def test_a_node_that_names_a_member_is_none(gate: Ingress) -> None:
    """The key counts, not the name: a guest's frame under a member's node id is dropped."""
    guest = Peer(9)
    met(gate, guest)
    guest.sealer.node_id = NodeId(Peer(1).node_id)
    assert not says(gate, guest, Ping(1))
