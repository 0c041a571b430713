"""What only a newer agent says is counted and dropped, and costs the peer nothing else."""

import attrs
import pytest

from p2pool.agent.wire.ingress import Ingress
from p2pool.core.inputs import Received
from p2pool.model.messages.queries import Ping
from p2pool.model.messages.registry import DECLARATIONS, Channel, since_of
from tests.agent.wire.peer import NOW, POOL, Peer, met


@pytest.mark.parametrize("change", ["number", "version"])
def test_an_unknown_number_or_version_is_dropped(
    monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Counted once; what the same peer says next counts as ever."""
    peer = Peer(1)
    ingress = Ingress(POOL, {peer.node_id: peer.peer_key}.get)
    met(ingress, peer)
    later = attrs.evolve(DECLARATIONS[Ping], **{change: 999})  # type: ignore[arg-type]
    with monkeypatch.context() as newer:
        newer.setitem(DECLARATIONS, Ping, later)
        data = peer.sealer.seal(Ping(1), NOW)[1]
    assert ingress.frame(Channel.QUERY, peer.peer_key, data, NOW) == []
    assert ingress.counters["malformed"] == 1
    known = peer.sealer.seal(Ping(2), NOW)[1]
    (taken,) = ingress.frame(Channel.QUERY, peer.peer_key, known, NOW)
    assert isinstance(taken, Received)


def test_every_message_says_since_when_it_is() -> None:
    """All are of the first level, unless their declaration says otherwise."""
    later = {cls.__name__ for cls in DECLARATIONS if since_of(cls) > 1}
    assert later == {
        "BadAppendProven",
        "ChainReadAnswered",
        "ChainReadRequested",
        "ChallengeAccepted",
        "ChallengeDeclined",
        "ChallengeIssued",
        "ChallengeProposed",
        "CommitmentMade",
        "DuplicateShown",
        "EvidenceAnswered",
        "EvidenceOffered",
        "EvidencePart",
        "EvidenceRequested",
        "HistoryRequested",
        "HistorySigned",
        "OpeningsShown",
        "QuestionAsked",
        "ReasonsAnswered",
        "ReasonsRequested",
        "SecretBlobAnswered",
        "SecretBlobHeld",
        "SecretBlobOffered",
        "SecretBlobRequested",
        "SecretKeyAnswered",
        "SecretKeyRequested",
        "SecretRevealed",
        "VerdictAnswered",
        "VerdictOffered",
        "VerdictTold",
        "VerdictsAnnounced",
    }
