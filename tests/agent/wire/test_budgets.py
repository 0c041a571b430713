"""What one peer may cost: counted in frames, bytes and signatures, and refused before the work."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from p2pool.agent.wire import ingress
from p2pool.agent.wire.ingress import Ingress
from p2pool.codec.cbor import canonical
from p2pool.core.inputs import Received
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.ids import PeerKey, PoolRef
from p2pool.model.messages.certificates import CertificatesAnswered
from p2pool.model.messages.gossip import Announcement, Heartbeat
from p2pool.model.messages.queries import (
    BindingsAnswered,
    HeartbeatsAnswered,
    PeerKnown,
    Ping,
)
from p2pool.model.messages.registry import Channel, Message, Verified
from p2pool.model.messages.work import Order, Report
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.timing import Now
from p2pool.wire import enclosures, signers
from p2pool.wire.envelope import open_sealed
from tests.agent.wire.peer import NOW, POOL, Peer, met
from tests.codec.samples import example

LATER = Now(NOW.mono_ms + 1_000, NOW.wall_ms + 1_000)
Send = Callable[[Message], bool]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets that a test uses up soon."""
    for name, value in {
        "MEMBER_FRAMES_PER_S": 5,
        "MEMBER_FRAMES_BURST": 20,
        "MEMBER_FRAMES_KIB_PER_S": 2,
        "MEMBER_FRAMES_KIB_BURST": 64,
        "GOSSIP_PER_ORIGIN_PER_S": 2,
        "GOSSIP_PER_ORIGIN_BURST": 5,
        "MEMBER_ITEMS_PER_S": 100,
        "MEMBER_ITEMS_BURST": 2_000,
        "MEMBER_SIGNATURES_PER_S": 4,
        "MEMBER_SIGNATURES_BURST": 10,
        "ASKED_SIGNATURES_PER_S": 4,
        "ASKED_SIGNATURES_BURST": 25,
        "BINDINGS_CHECKED_PER_S": 4,
        "BINDINGS_CHECKED_BURST": 12,
    }.items():
        monkeypatch.setattr(limits, name, value)


@pytest.fixture
def gate() -> Ingress:
    """A gate to which all are members, and all is worth verifying."""
    gate = Ingress(POOL, lambda node_id: None, lambda *_: True, lambda node_id: True)
    met(gate, Peer(1))
    return gate


@pytest.fixture
def peers_known() -> Ingress:
    """A gate that knows two members by their keys."""
    known = {peer.node_id: peer.peer_key for peer in (Peer(1), Peer(2))}
    return Ingress(POOL, known.get, lambda *_: True, known.__contains__)


@pytest.fixture
def recovered(monkeypatch: pytest.MonkeyPatch) -> list[SignedRequest]:
    """The requests whose signers are recovered."""
    seen: list[SignedRequest] = []

    def recover(pool: PoolRef, signed: SignedRequest) -> None:
        seen.append(signed)

    monkeypatch.setattr(signers, "recover_signers", recover)
    return seen


def says(gate: Ingress, peer: Peer, message: Message, now: Now = NOW) -> bool:
    """Whether a peer's message comes through."""
    channel, data = peer.sealer.seal(message, now)
    return bool(gate.frame(channel, peer.peer_key, data, now))


def report(first: int, count: int) -> Report:
    """A report with so many claims that nobody else made."""
    made: Report = example(Report)
    (claim,) = made.claims[:1]
    claims = tuple(
        attrs.evolve(claim, signed=attrs.evolve(claim.signed, signature=b"%d" % n))
        for n in range(first, first + count)
    )
    return attrs.evolve(made, claims=claims)


def order(first: int, count: int) -> Order:
    """An order with a certificate of so many signatures that are none."""
    words = tuple(b"%d" % n for n in range(first, first + count))
    made: Order = example(Order)
    return attrs.evolve(made, certificate=words, desired=())


def test_a_flood_of_a_member_is_refused_unopened_and_hurts_no_other(gate: Ingress) -> None:
    """Whatever it is; after a second it may say so much again as its rate gives."""
    peer, other = Peer(1), Peer(2)
    heard = sum(says(gate, peer, Ping(n)) for n in range(30))
    assert heard <= limits.MEMBER_FRAMES_BURST
    refused = gate.counters["too-many"]
    for _ in range(5):
        assert gate.frame(Channel.QUERY, peer.peer_key, b"anything", NOW) == []
    assert gate.counters["too-many"] == refused + 5
    assert gate.counters["malformed"] == 0
    met(gate, other)
    assert says(gate, other, Ping(1))
    again = sum(says(gate, peer, Ping(100 + n), LATER) for n in range(30))
    assert again == limits.MEMBER_FRAMES_PER_S


def test_long_frames_count_by_their_bytes(gate: Ingress) -> None:
    """Few of them cost as much as many short ones."""
    peer = Peer(1)
    data = bytes(30 * 1024)
    for _ in range(5):
        gate.frame(Channel.WORK, peer.peer_key, data, NOW)
    assert gate.counters["too-many"] == 3
    assert gate.counters["malformed"] == 2


def values(count: int, by: Peer) -> bytes:
    """A frame of so many values, a byte each, under a peer's key, which did not sign it."""
    protected = canonical.encode({1: -8, 4: by.peer_key})
    payload = canonical.encode([0] * (count - 1))
    return canonical.encode([protected, {}, payload, bytes(64)])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The payloads whose values are read."""
    seen: list[bytes] = []
    build = canonical.build

    def built(data: bytes) -> canonical.Value:
        if len(data) > 100:
            seen.append(data)
        return build(data)

    monkeypatch.setattr(canonical, "build", built)
    return seen


@pytest.mark.parametrize("channel", [Channel.HELLO, Channel.QUERY])
def test_a_frame_of_a_million_values_costs_no_reading(
    gate: Ingress, read: list[bytes], channel: Channel
) -> None:
    """A stranger's, of the size of any frame: reading it would keep everybody waiting for
    seconds."""
    data = values(limits.STREAM_FRAME_MAX_BYTES - 200, Peer(9))
    read.clear()
    assert gate.frame(channel, Peer(9).peer_key, data, NOW) == []
    assert gate.counters["malformed"] == 1
    assert not any(len(one) < len(data) for one in read)


def test_values_count_by_their_number(gate: Ingress, read: list[bytes]) -> None:
    """Few short frames cost as much as many long ones, and what is over the budget is not read."""
    peer = Peer(1)
    for _ in range(5):
        gate.frame(Channel.WORK, peer.peer_key, values(900, peer), NOW)
    assert gate.counters["too-many"] == 3
    assert sum(len(one) < 910 for one in read) == 2


def test_claims_cost_their_sender_as_many_recoveries_as_it_may_have(
    gate: Ingress, recovered: list[SignedRequest]
) -> None:
    """What is over the budget is left out whole, before the first; what is known costs nothing."""
    peer = Peer(1)
    assert says(gate, peer, report(0, 8))
    assert len(recovered) == 8
    assert not says(gate, peer, report(100, 8))
    assert says(gate, peer, report(0, 8))
    assert len(recovered) == 8
    assert gate.counters["over-budget"] == 1
    assert says(gate, peer, report(200, 6), LATER)
    assert len(recovered) == 14


def test_gossip_of_a_member_has_a_rate_whoever_hands_it_on(peers_known: Ingress) -> None:
    """What is over it is dropped before the core sees it, and hurts nobody else's."""
    gate, one, other = peers_known, Peer(1), Peer(2)
    heard = sum(bool(gate.gossip(Channel.ANNOUNCE, one.announcement(), NOW)) for _ in range(20))
    assert heard == limits.GOSSIP_PER_ORIGIN_BURST
    assert gate.counters["too-many"] == 15
    assert gate.gossip(Channel.ANNOUNCE, other.announcement(), NOW)
    again = [one.announcement(LATER) for _ in range(5)]
    assert sum(bool(gate.gossip(Channel.ANNOUNCE, data, LATER)) for data in again) == 2


def test_signatures_in_gossip_cost_who_signed_it(
    peers_known: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An announcement with a certificate that nobody signed, and then another."""
    opened: list[bytes] = []
    monkeypatch.setattr(enclosures, "open_one", lambda pool, sealed, most: opened.append(sealed))
    peer, made = Peer(1), example(Announcement)
    for number in range(4):
        words = tuple(b"%d" % n for n in range(10 * number, 10 * number + 4))
        said = attrs.evolve(made, certificate=words, votes=())
        peers_known.gossip(Channel.ANNOUNCE, peer.sealer.seal(said, NOW)[1], NOW)
    assert len(opened) == 8
    assert peers_known.counters["too-many"] == 2


def test_an_origin_is_known_by_its_hello_or_its_gossip(peers_known: Ingress) -> None:
    """A key that was never heard is not, nor one whose node has another key by now."""
    gate, one, other = peers_known, Peer(1), Peer(2)
    assert not gate.knows_origin(one.peer_key)
    gate.gossip(Channel.ANNOUNCE, one.announcement(), NOW)
    assert gate.knows_origin(one.peer_key)
    met(gate, other)
    assert gate.knows_origin(other.peer_key)
    assert not gate.knows_origin(Peer(3).peer_key)


def test_made_up_signatures_cost_their_sender_too(
    gate: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order by nobody, again and again under another certificate."""
    opened: list[bytes] = []
    monkeypatch.setattr(enclosures, "open_one", lambda pool, sealed, most: opened.append(sealed))
    peer = Peer(1)
    for number in range(6):
        says(gate, peer, order(10 * number, 4))
    assert len(opened) == 8
    assert gate.counters["over-budget"] == 4


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The relayed heartbeats whose signatures are checked."""
    seen: list[bytes] = []
    real = open_sealed

    def opens(data: bytes, *args: Any, **named: Any) -> Verified:
        if named.get("channel") is Channel.BEAT:
            seen.append(data)
        return real(data, *args, **named)

    monkeypatch.setattr(ingress, "open_sealed", opens)
    return seen


def beats(by: Peer, count: int) -> tuple[bytes, ...]:
    """Heartbeats of one start, one after the other."""
    made: Heartbeat = example(Heartbeat)
    return tuple(by.sealer.seal(made, NOW)[1] for _ in range(count))


def test_heartbeats_that_we_ask_for_cost_a_peer_over_all_its_connections(
    gate: Ingress, opened: list[bytes]
) -> None:
    """Whoever connects again and again is asked each time, and answers with a frame full."""
    peer, stranger = Peer(1), Peer(7)
    peer.hello()  # The gate has heard that one.
    for _ in range(4):
        met(gate, peer)
        says(gate, peer, HeartbeatsAnswered(1, beats(stranger, 10)))
    assert len(opened) == limits.ASKED_SIGNATURES_BURST
    other = Peer(2)
    met(gate, other)
    says(gate, other, HeartbeatsAnswered(1, beats(stranger, 10)))
    assert len(opened) == limits.ASKED_SIGNATURES_BURST + 10
    says(gate, peer, HeartbeatsAnswered(1, beats(stranger, 10)), LATER)
    assert len(opened) == limits.ASKED_SIGNATURES_BURST + 10 + limits.ASKED_SIGNATURES_PER_S
    assert gate.counters["over-budget"] == 3


def test_a_forged_heartbeat_ends_the_reading(gate: Ingress, opened: list[bytes]) -> None:
    """Who hands heartbeats on has checked them; what only this version cannot read is left out."""
    good, bad = beats(Peer(7), 2), beats(Peer(7), 1)[0][:-1] + b"\0"
    says(gate, Peer(1), HeartbeatsAnswered(1, (good[0], b"later", bad, good[1])))
    assert opened == [good[0], b"later", bad]


def test_a_chain_that_we_ask_for_costs_whoever_answers(
    gate: Ingress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole one at a time, and each time other signatures."""
    seen: list[bytes] = []
    monkeypatch.setattr(enclosures, "open_one", lambda pool, sealed, most: seen.append(sealed))
    peer, made = Peer(1), example(CertificatesAnswered)
    for number in range(10):
        words = tuple(b"%d" % n for n in range(10 * number, 10 * number + 8))
        chain = attrs.evolve(made.chain, links=())
        said = attrs.evolve(made, chain=chain, certificate=words, votes=())
        assert says(gate, peer, said) is (number < 3)
    assert len(seen) == 24


def test_bindings_cost_whoever_hands_them_on_and_only_members_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two signatures each, asked for or not; of those who are not in the pool none."""
    checked: list[PeerBinding] = []
    monkeypatch.setattr(ingress, "check_binding", lambda one, *rest: checked.append(one))
    strangers = [PeerKnown(Peer(n).binding(), ()) for n in range(40, 50)]
    members = [PeerKnown(Peer(n).binding(), ()) for n in range(10, 40)]
    named = {one.binding.node_id for one in members} | {Peer(1).node_id}
    gate = Ingress(POOL, lambda node_id: None, lambda *_: True, named.__contains__)
    peer = Peer(1)
    met(gate, peer)
    checked.clear()
    taken = gate.frame(*_sealed(peer, BindingsAnswered(1, (*strangers, *members))), NOW)
    assert checked == [one.binding for one in members[: limits.BINDINGS_CHECKED_BURST]]
    assert [_bindings(one) for one in taken] == [checked]
    says(gate, peer, BindingsAnswered(2, tuple(members[:20])), LATER)
    assert len(checked) == limits.BINDINGS_CHECKED_BURST + limits.BINDINGS_CHECKED_PER_S


def _sealed(peer: Peer, message: Message) -> tuple[Channel, PeerKey, bytes]:
    channel, data = peer.sealer.seal(message, NOW)
    return channel, peer.peer_key, data


def _bindings(taken: object) -> list[PeerBinding]:
    assert isinstance(taken, Received)
    assert isinstance(taken.verified.message, BindingsAnswered)
    return [one.binding for one in taken.verified.message.peers]
