"""Verdicts at the way in: what is not for us costs nothing, and what is forged comes no further."""

import attrs
import pytest

from p2pool.agent.wire.ingress import Ingress
from p2pool.core.inputs import Received
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.messages.registry import Message
from p2pool.model.messages.verdicts import VerdictOffered, VerdictsAnnounced
from p2pool.model.validation.conclusion import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.validation import verdict as verdicts
from tests.agent.wire.peer import NOW, POOL, Peer, met
from tests.wire.validation.verdicts import sign, validator, verdict_by

MEMBER, OTHER, GUEST = Peer(1), Peer(2), Peer(9)
HERE = NOW.wall_ms


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[SignedVerdict]:
    """The verdicts whose signatures are checked."""
    seen: list[SignedVerdict] = []
    check = verdicts.check_verdict

    def noted(pool: object, signed: SignedVerdict) -> None:
        seen.append(signed)
        check(pool, signed)  # type: ignore[arg-type]

    monkeypatch.setattr(verdicts, "check_verdict", noted)
    return seen


@pytest.fixture
def gate() -> Ingress:
    """Two members, of whom all is heard."""
    known = {peer.node_id: peer.peer_key for peer in (MEMBER, OTHER)}
    return Ingress(POOL, known.get, lambda *_: True, known.__contains__)


def good(number: int = 0, node_id: NodeId = OTHER.node_id) -> SignedVerdict:
    return verdict_by(validator(1), node_id, HERE - 1_000 * number, pool=POOL)


def forged(number: int = 0) -> SignedVerdict:
    return sign(validator(2), good(number).verdict)


def gossiped(gate: Ingress, *said: SignedVerdict, by: Peer = MEMBER) -> list[SignedVerdict]:
    """What comes through of a member's gossip."""
    channel, data = by.sealer.seal(VerdictsAnnounced(said), NOW)
    found = gate.gossip(channel, data, NOW)
    return [
        one
        for event in found
        if isinstance(event, Received) and isinstance(event.verified.message, VerdictsAnnounced)
        for one in event.verified.message.verdicts
    ]


def framed(gate: Ingress, peer: Peer, message: Message) -> bool:
    channel, data = peer.sealer.seal(message, NOW)
    return bool(gate.frame(channel, peer.peer_key, data, NOW))


def test_the_first_forgery_ends_the_reading(gate: Ingress, checked: list[SignedVerdict]) -> None:
    """An honest member has checked what it tells; what stands before it counts."""
    said = (good(0), forged(1), good(2), forged(3))
    assert gossiped(gate, *said) == [said[0]]
    assert checked == list(said[:2])
    assert gate.counters["bad-signature"] == 1


def test_verdicts_on_strangers_are_not_looked_at(
    gate: Ingress, checked: list[SignedVerdict]
) -> None:
    """Whoever fills its gossip with those costs us no signature."""
    about = [good(n, NodeId(bytes([n + 50]) * 20)) for n in range(10)]
    assert gossiped(gate, *about, good(0)) == [good(0)]
    assert checked == [good(0)]


def test_what_is_repeated_is_checked_once(gate: Ingress, checked: list[SignedVerdict]) -> None:
    """Whoever says it."""
    for peer in (MEMBER, OTHER):
        assert gossiped(gate, good(0), by=peer) == [good(0)]
    assert len(checked) == 1


def test_a_member_that_gossips_forgeries_pays_for_them(
    gate: Ingress, checked: list[SignedVerdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of the budget for signatures that are new to us; then nothing of it is looked at, and
    another member is heard."""
    monkeypatch.setattr(gate._signatures, "burst", 40)
    monkeypatch.setattr(gate._signatures, "per_s", 0)
    for at in range(5):
        gossiped(gate, *(forged(16 * at + n) for n in range(limits.VERDICTS_PER_GOSSIP_MAX)))
    assert len(checked) == 2  # Each message ends at its first forgery, and was charged whole.
    assert gate.counters["too-many"] == 3
    assert gossiped(gate, good(0), by=OTHER) == [good(0)]


def test_an_offer_is_charged_before_it_is_checked(
    gate: Ingress, checked: list[SignedVerdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest's to what guests may cost, a member's to its own budget."""
    met(gate, GUEST)
    met(gate, MEMBER)
    assert framed(gate, GUEST, VerdictOffered(1, good(0)))
    assert not framed(gate, GUEST, VerdictOffered(2, forged(1)))
    assert len(checked) == 2
    while gate.guests.admit(GUEST.peer_key, 1, NOW.mono_ms):
        pass
    assert not framed(gate, GUEST, VerdictOffered(3, good(2)))
    assert len(checked) == 2
    monkeypatch.setattr(gate._signatures, "burst", 1)
    monkeypatch.setattr(gate._signatures, "per_s", 0)
    gate._signatures._left.clear()
    assert framed(gate, MEMBER, VerdictOffered(1, good(3)))
    assert not framed(gate, MEMBER, VerdictOffered(2, good(4)))
    assert framed(gate, MEMBER, VerdictOffered(3, good(3)))
    assert len(checked) == 3


def test_a_changed_word_is_another_verdict(gate: Ingress) -> None:
    """What was checked once says nothing of what was changed since."""
    assert gossiped(gate, good(0)) == [good(0)]
    other = attrs.evolve(good(0).verdict, conclusion=Conclusion.INVALID)
    assert gossiped(gate, attrs.evolve(good(0), verdict=other)) == []
