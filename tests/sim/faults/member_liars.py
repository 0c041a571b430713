"""Members that lie about who leads and who lives, each made for one promise.

A provider with most of the nodes says that another committee decides (`FalseCommittee`). A member
answers every question of a leader about who is reached, asked or not, and the wrong way round
(`FalseWitness`). One accuses others with votes under a key of its own (`Framer`), and one asks for
all that is long and sends and gossips all that is costly, as fast as it can (`Flooder`). All hold
real keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from p2pool.agent.wire.sealer import Sealer
from p2pool.codec.digests import committee_hash
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.core.peers.answer_budget import size_kib
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import AllocationId, Digest, StateDigest, TaskId, Token
from p2pool.model.log.certificates import Link
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import (
    CertificatesAnswered,
    CertificateSigned,
    CertificatesRequested,
    EquivocationProven,
)
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import (
    HeartbeatsRequested,
    Ping,
    ProbeAnswered,
    ProbeRequested,
    StateRequested,
    SuspicionReported,
)
from p2pool.model.messages.raft import VoteAnswered
from p2pool.model.messages.registry import Message
from p2pool.model.messages.work import Desired, Order, Report, Stop
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.faults.scenario import Story

TELL_MS, HEARD_MS = 700, 100
GOSSIPED_AT_ONCE = 4
GUESS_MS, GUESSES, FRAME_MS = 400, 50, 3_000


def voter(m: Machine) -> Voter:
    """A machine as a voter."""
    return Voter(m.node_id, m.peer_key, m.store_id)


def tell(story: Story, m: Machine, to: Machine | None, message: Message) -> None:
    """A machine says what its own agent never would."""
    if m.sealer is not None:
        story.world.carry(m, to, *m.sealer.seal(message, story.world.now(m)))


@attrs.define
class FalseCommittee:
    """Some machines say that the first of them leads, as a committee of one that no voter signed.

    Their agents run on as honest ones do, so that all is expected of them too. `answered`: how
    often somebody asked for proof.
    """

    story: Story
    machines: Sequence[Machine]
    answered: int = 0

    def begin(self) -> None:
        """From now on, until the end of the world."""
        self.story.world.perjured.add(voter(self.chief).store_id)
        self.story.world.on_send.append(self._overhear)
        self._next()

    @property
    def chief(self) -> Machine:
        """Who is said to lead."""
        return self.machines[0]

    def _next(self) -> None:
        self.name_leader()
        # Who hears this asks at once for proof, and then all heartbeats have to be there.
        self.story.world.later(HEARD_MS, self._lead)
        self.story.world.later(TELL_MS, self._next)

    def _lead(self) -> None:
        self.announce()
        self.order()

    def _term(self) -> int:
        node = self.chief.node
        if node is None:
            return 1
        known = node.context.leader_certificates.known
        return 1 + max(node.context.pool_log.term, known.term if known is not None else 0)

    def _log_id(self) -> Digest | None:
        node = self.chief.node
        return node.context.pool_log.log_id if node is not None else None

    def certificate(self) -> tuple[bytes, ...]:
        """The one voter's word that it leads."""
        log_id, node, sealer = self._log_id(), self.chief.node, self.chief.sealer
        if log_id is None or node is None or sealer is None:
            return ()
        state, now = node.context.pool_log.state, self.story.world.now(self.chief)
        assert state is not None
        me = voter(self.chief)
        word = CertificateSigned(
            log_id,
            self._term(),
            me,
            me,
            committee_hash((me,)),
            10**6,
            digest_of(state),
            now.wall_ms,
        )
        return (sealer.seal(word, now)[1],)

    def name_leader(self) -> None:
        """All of them follow it, say their heartbeats."""
        for m in self.machines:
            mine = m.node.context.heartbeats.newest.get(m.node_id) if m.node is not None else None
            if mine is not None:
                said = attrs.evolve(mine.heartbeat, leader=self.chief.node_id, hardware=None)
                tell(self.story, m, None, said)

    def announce(self) -> None:
        """It leads."""
        log_id, node = self._log_id(), self.chief.node
        if log_id is None or node is None:
            return
        pool_log = node.context.pool_log
        assert pool_log.state is not None
        digest = digest_of(pool_log.state)
        said = Announcement(log_id, pool_log.epoch, self._term(), 10**6, digest, self.certificate())
        tell(self.story, self.chief, None, said)

    def order(self) -> None:
        """Stop all that you run."""
        node, certificate = self.chief.node, self.certificate()
        for other in self.story.world.machines:
            if node is not None and certificate and other is not self.chief:
                token = Token(node.context.pool_log.epoch, self._term(), 10**6)
                stops = tuple(Stop(a, n) for a, n in sorted(other.engine.containers))
                said = Order(other.node_id, token, (), stops, certificate)
                tell(self.story, self.chief, other, said)

    def _overhear(self, m: Machine, to: Machine | None, message: Message) -> None:
        """Who asks for proof gets a chain that ends in the committee of one, unsigned."""
        log_id, node = self._log_id(), self.chief.node
        if to is not self.chief or not isinstance(message, CertificatesRequested):
            return
        if log_id is None or node is None:
            return
        self.answered += 1
        chain = node.context.pool_log.chain
        link = Link(10**5, self._term(), 0, (voter(self.chief),))
        chain = attrs.evolve(chain, links=(*chain.links, link))
        said = CertificatesAnswered(message.request, log_id, chain, self.certificate(), ())
        tell(self.story, self.chief, m, said)


@attrs.define
class FalseWitness:
    """A member that reaches the dead and misses the living, whoever was asked.

    It answers what the leader asks it the wrong way round, guesses the numbers of what the leader
    asks others from those that it is shown, and hints at everybody else. `asked`: how often it was
    a witness; `guessed`: how many answers it made up.
    """

    story: Story
    m: Machine
    shown: dict[int, int] = attrs.field(factory=dict)
    asked: int = 0
    guessed: int = 0

    def begin(self) -> None:
        """From now on, until the end of the world."""
        self.story.world.on_send.append(self._overhear)
        self._next()

    def _lie(self, number: int, victim: Machine) -> ProbeAnswered:
        return ProbeAnswered(number, victim.node_id, victim.node is None, True)

    def _next(self) -> None:
        others = [o for o in self.story.world.machines if o is not self.m]
        for to in others:
            last = self.shown.get(to.number)
            if to.node is not None and last is not None and to.node.parts.leader is not None:
                self._mislead(to, last, [o for o in others if o is not to])
        self.story.world.later(GUESS_MS, self._next)

    def _mislead(self, leader: Machine, last: int, others: list[Machine]) -> None:
        """Guess what the leader asked others since it showed a number: for the dead, if there are
        any, else against the living."""
        dead = [o for o in others if o.node is None]
        if not dead:
            for victim in others:
                said = SuspicionReported(victim.node_id, "its connection was lost")
                tell(self.story, self.m, leader, said)
        for victim in dead[:1] or others[:1]:
            for number in range(last + 1, last + GUESSES):
                self.guessed += 1
                tell(self.story, self.m, leader, self._lie(number, victim))

    def _overhear(self, m: Machine, to: Machine | None, message: Message) -> None:
        if to is not self.m or not isinstance(message, Ping | ProbeRequested):
            return
        self.shown[m.number] = max(message.request, self.shown.get(m.number, 0))
        if isinstance(message, ProbeRequested):
            self.asked += 1
            by_id = {o.node_id: o for o in self.story.world.machines}
            tell(self.story, self.m, m, self._lie(message.request, by_id[message.node_id]))


@attrs.define
class Framer:
    """A member that signs two votes under its own key, in the name of another node."""

    story: Story
    m: Machine
    accused: int = 0

    def begin(self) -> None:
        """Accuse each node in turn of what the leader's term could hold, until the end."""
        node, others = self.m.node, [o for o in self.story.world.machines if o is not self.m]
        pool_log = node.context.pool_log if node is not None else None
        if pool_log is not None and pool_log.log_id is not None:
            victim, me = self.story.rng.choice(others), voter(self.m)
            term = 1 + self.accused
            nothing = Digest(bytes(32))
            vote = VoteAnswered(pool_log.log_id, term, me, me, 0, 0, nothing, False, True, "")
            self.accuse(victim, vote)
        self.story.world.later(FRAME_MS, self.begin)

    def accuse(self, victim: Machine, vote: VoteAnswered) -> None:
        """Tell everybody that the victim voted for two."""
        assert self.m.node is not None
        me = self.m.node.context.config
        sealer = Sealer(
            me.pool, victim.node_id, self.m.peer_key, me.incarnation, self.m.signing_key
        )
        named = Voter(victim.node_id, self.m.peer_key, victim.store_id)
        words = [
            sealer.seal(attrs.evolve(vote, voter=named, candidate=whom), self.story.world.now())[1]
            for whom in (voter(self.m), named)
        ]
        self.accused += 1
        tell(self.story, self.m, None, EquivocationProven(*words))


@attrs.define
class Flooder:
    """A member that asks one machine for all that is long, claims copies that it never had, and
    gossips to all, with certificates that nobody signed.

    `asked`, `claimed`, `gossiped`: how many questions, claims and gossip messages it sent; `drawn`:
    what it drew, in KiB.
    """

    story: Story
    m: Machine
    at: Machine
    asked: int = 0
    claimed: int = 0
    gossiped: int = 0
    drawn: int = 0
    until_ms: int = 0

    def begin(self, for_ms: int) -> None:
        """From now on, for a while."""
        self.until_ms = self.story.world.now_ms + for_ms
        self.story.world.on_send.append(self._overhear)
        self._next()

    def _next(self) -> None:
        node = self.m.node
        log_id = node.context.pool_log.log_id if node is not None else None
        if log_id is not None and node is not None:
            for _ in range(8):
                number = self.story.rng.randrange(2**40)
                for question in (
                    HeartbeatsRequested(number),
                    StateRequested(number, log_id, 0),
                    CertificatesRequested(number),
                ):
                    self.asked += 1
                    tell(self.story, self.m, self.at, question)
            self.claim(Token(node.context.pool_log.epoch, node.context.pool_log.term, 0))
            self.gossip(log_id)
        if self.story.world.now_ms < self.until_ms:
            self.story.world.later(50, self._next)

    def gossip(self, log_id: Digest) -> None:
        """It leads, it says, by the word of voters that there are not; in a term that is over."""
        for _ in range(GOSSIPED_AT_ONCE):
            words = tuple(self.story.rng.randbytes(64) for _ in range(2 * limits.VOTERS_MAX))
            said = Announcement(
                log_id,
                0,
                0,
                0,
                StateDigest(bytes(33)),
                words[: limits.VOTERS_MAX],
                words[limits.VOTERS_MAX :],
            )
            self.gossiped += 1
            tell(self.story, self.m, None, said)

    def claim(self, token: Token) -> None:
        """Copies that run here, it says, each by another account's word."""
        request = TaskRequest(Action.SUBMIT, 1, "", "{}", bytes(32), 0, 2**32)
        claims = []
        for _ in range(limits.CLAIMS_PER_REPORT_MAX):
            name = TaskId(self.story.rng.randbytes(16))
            signed = SignedRequest(request, self.story.rng.randbytes(65))
            claims.append(Desired(AllocationId(name, 0), 1, signed, ()))
        self.claimed += len(claims)
        tell(self.story, self.m, self.at, Report(token, (), tuple(claims)))

    def _overhear(self, m: Machine, to: Machine | None, message: Message) -> None:
        if m is self.at and to is self.m and type(message).__name__.endswith("Answered"):
            self.drawn += size_kib(message)
