"""An answer counts if it was asked for, whatever its kind: from that peer, once, in time."""

import attrs
import pytest

from p2pool.core import effects as fx
from p2pool.core.inputs import OutdatedHeard, Received, Ticked
from p2pool.core.node import Node
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.timing import Now
from tests.codec.samples import example
from tests.sim.harness.committee import formed, leading, voters
from tests.sim.world.machine import Machine

ANSWERS: dict[type[m.Message], tuple[type[m.Message], ...]] = {
    m.Pong: (m.Ping,),
    m.ProbeAnswered: (m.ProbeRequested,),
    m.StateAnswered: (m.StateRequested, m.SnapshotRequested),
    m.BindingsAnswered: (m.BindingsRequested,),
    m.HeartbeatsAnswered: (m.HeartbeatsRequested,),
    m.HardwareAnswered: (m.HardwareRequested,),
    m.ForwardAnswered: (m.RequestForwarded,),
    m.ReadIndexAnswered: (m.ReadIndexRequested,),
    m.InviteAnswered: (m.InviteRequested,),
    m.RemovalConfirmed: (m.RemovalConfirmRequested,),
    m.LogEndAnswered: (m.LogEndRequested,),
    m.StoreSeenAnswered: (m.StoreSeenRequested,),
    m.ChainReadAnswered: (m.ChainReadRequested,),
    m.CertificatesAnswered: (m.CertificatesRequested,),
    m.SecretKeyAnswered: (m.SecretKeyRequested,),
    m.SecretBlobAnswered: (m.SecretBlobRequested,),
    m.SecretBlobHeld: (m.SecretBlobOffered,),
    m.VerdictAnswered: (m.VerdictOffered,),
}
"""Each kind of answer, listed a second time on purpose, with what it answers."""

NAMED_OTHERWISE = {
    m.VoteAnswered: "log, term and both participants; Raft counts it for its own election alone",
    m.AppendAnswered: "log, term and both participants; only from a follower of this leader",
    m.SnapshotAnswered: "log, term and both participants; only from a follower of this leader",
    m.OrderAnswered: "the token of the order that this node was sent last",
    m.ReportAnswered: "the outcomes in full; only from the leader",
}
"""Answers without the number of a question, and what ties them to theirs."""

NUMBER = 7


def numbered(kind: type) -> bool:
    """Whether a message has the number of a question."""
    return any(field.name == "request" for field in attrs.fields(kind))


def test_who_adds_an_answer_says_what_it_answers() -> None:
    """What has a number is a question or an answer; what is called an answer is one."""
    declared = {kind: d.answers for kind, d in m.DECLARATIONS.items() if d.answers}
    assert declared == ANSWERS
    asked = {question for questions in ANSWERS.values() for question in questions}
    for kind in m.DECLARATIONS:
        assert numbered(kind) == (kind in ANSWERS or kind in asked), kind
        streamed = (
            m.DECLARATIONS[kind].channel in m.DEDICATED_CHANNELS
        )  # On a stream opened for it.
        if kind.__name__.endswith("Answered") and not streamed:
            assert kind in ANSWERS or kind in NAMED_OTHERWISE, kind


@attrs.define
class Desk:
    """One voter, whose handlers only note what reaches them, and a voter that talks to it."""

    node: Node
    peer: Machine
    now: Now
    taken: list[m.Message] = attrs.field(factory=list)

    def ask(self, peer_key: PeerKey, question: type[m.Message]) -> None:
        """A question goes out."""
        self.node.context.tell(peer_key, attrs.evolve(example(question), request=NUMBER))
        self.node.step(Ticked(), self.now)

    def hear(self, kind: type[m.Message]) -> bool:
        """Whether an answer of the peer is taken."""
        return self.takes(attrs.evolve(example(kind), request=NUMBER))

    def takes(self, answer: m.Message) -> bool:
        """Whether this of the peer is taken."""
        self.taken.clear()
        self.node.dispatch.table = {
            type(answer): lambda said, by, now: self.taken.append(said),
        }
        header = m.Header(self.peer.node_id, self.peer.peer_key, 1, 1, self.now.wall_ms)
        channel = m.DECLARATIONS[type(answer)].channel
        verified = m.Verified(header, channel, answer, b"")
        self.node.step(Received(verified, self.peer.peer_key), self.now)
        return bool(self.taken)

    def wait(self, ms: int) -> None:
        """Time passes."""
        self.now = Now(self.now.mono_ms + ms, self.now.wall_ms + ms)


@pytest.fixture
def desk() -> Desk:
    """A leader of three, and another voter."""
    pool = formed(3)
    number = leading(pool)
    assert number is not None
    leader = pool.world.machines[number]
    assert leader.node is not None
    other = next(i for i in voters(pool) if i != number)
    return Desk(leader.node, pool.world.machines[other], pool.world.now(leader))


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_an_answer_that_nobody_asked_for_is_dropped(desk: Desk, kind: type[m.Message]) -> None:
    """Nor does it count when somebody else was asked, or something else, or late, or twice."""
    question = ANSWERS[kind][-1]
    unlike = m.Ping if question is not m.Ping else m.InviteRequested
    assert not desk.hear(kind)
    desk.ask(PeerKey(b"o" * 32), question)
    assert not desk.hear(kind)
    desk.ask(desk.peer.peer_key, unlike)
    assert not desk.hear(kind)
    desk.ask(desk.peer.peer_key, question)
    assert desk.hear(kind)
    assert not desk.hear(kind)
    desk.ask(desk.peer.peer_key, question)
    desk.wait(limits.ANSWER_DEADLINE_MS)
    assert not desk.hear(kind)


@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_a_duplicate_is_told_in_the_form_that_the_log_allows(
    desk: Desk, level: FeatureLevel
) -> None:
    """A node that is behind has a state of the first level while the voters sign later ones: what
    it has to say is neither held back nor lost."""
    pool_log = desk.node.context.pool_log
    assert pool_log.state is not None
    pool_log.histories.signed[pool_log.applied_index] = Digest(b"h" * 32)
    pool_log.state.level = level
    peer = desk.peer
    told = OutdatedHeard(peer.node_id, peer.peer_key, beat=b"", hello=b"hello")
    sent = [e.message for e in desk.node.step(told, desk.now) if isinstance(e, fx.SendTo)]
    expected = m.StoreSeenAnswered if level < DISTRUST_LEVEL else m.DuplicateShown
    assert [type(one) for one in sent if getattr(one, "shown", None)] == [expected]
    early = attrs.evolve(example(m.StoreSeenAnswered), request=0)
    assert desk.takes(early) is (level < DISTRUST_LEVEL)
