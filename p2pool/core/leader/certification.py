"""A leader's certificates: requested every minute, gathered from the voters, renewed in time.

Intuition: the leader writes a question into the log (`Certify`); every voter that applies it signs
the same statement, and a quorum of signatures is the certificate that orders carry. If too few
answer, the leader asks again, with growing delays. Signatures over a change of the voters arrive
the same way, and the leader logs them for every replica and the next leader.

Invariants: a signature counts only if it agrees with the leader's own state to the last field; an
error names a voter with another digest at the same index, because one of the two states is wrong.
If the previous voters do not certify a change within `limits.VOTER_REPLACE_AFTER_MS` of log time,
the leader logs it as it is, so that a committee whose old voters are gone for good does not get
stuck; `p2pool verify leader` tells outsiders.
Source: docs/design/certificates.md, "Leader certificates".
"""

from collections.abc import Callable

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.codec.entries import Record
from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.fsm.committee_chain import incomplete, open_link
from p2pool.core.log.certification_point import CertificationPoint
from p2pool.core.raft.acceptance import log_time
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Conflict, NoLeader, Overloaded, Refusal
from p2pool.model.log.certificates import LeaderCertificate, Link
from p2pool.model.log.entries import Certify, ChangeCertified
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import CertificateSigned, ConfigurationSigned
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.certificates import (
    leader_certificate,
    link_signers,
    quorum_of,
    said_by,
)

Propose = Callable[[Record, Now], int]


@attrs.define
class Gathering:
    """One question that the leader applied, and the answers to it."""

    point: CertificationPoint
    heard: dict[Voter, Verified] = attrs.field(factory=dict)


@attrs.define
class Certification:
    """The certificates of one leader in one term."""

    context: Context
    propose: Propose
    since_ms: int
    due_ms: int = 0
    unanswered: int = 0
    certified_voters: tuple[Voter, ...] = ()
    questions: BoundedDict[int, Gathering] = attrs.field(
        factory=lambda: BoundedDict(limits.CERTIFY_QUESTIONS_KEPT_MAX)
    )
    links: dict[int, dict[Voter, Verified]] = attrs.field(factory=dict)
    written: dict[int, bool] = attrs.field(factory=dict)
    fresh: bool = False
    told: tuple[bytes, ...] = ()
    told_times: int = 0
    told_ms: int = 0

    # --- asking -----------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Ask for a certificate if due, and give up a change that waited too long."""
        voters = self.context.pool_log.chain.voters
        if self.certified_voters not in ((), voters):
            self.certified_voters, self.due_ms = (), now.mono_ms
        if now.mono_ms >= self.due_ms:
            self._ask(now)
        link = open_link(self.context.pool_log.chain)
        if link is not None and now.mono_ms >= self._give_up_ms(link, now):
            self._give_up(link, now)

    def _ask(self, now: Now) -> None:
        wait_ms = limits.CERTIFY_RETRY_MIN_MS << min(self.unanswered, 8)
        self.due_ms = now.mono_ms + min(wait_ms, limits.CERTIFY_RETRY_MAX_MS)
        self.unanswered += 1
        if self.unanswered > limits.CERTIFY_UNANSWERED_MAX:
            self.context.leader_certificates.problem = (
                "Too few voters confirm this leader, so no node obeys its orders: check that the "
                "voters are up, and that their clocks and this one are right."
            )
            self.context.log(Level.WARNING, "the leader is not certified", asked=self.unanswered)
        self.context.leader_certificates.disagreement = None
        self._try(Certify(self.context.config.me, self.context.clocks.time_ms(now)), now)

    def _try(self, record: Record, now: Now) -> bool:
        try:
            self.propose(record, now)
        except (NoLeader, Overloaded, Conflict):
            return False
        return True

    def wakeup_ms(self) -> int:
        """When something is due next; every step checks what to give up."""
        return self.due_ms

    # --- gathering --------------------------------------------------------------------------------

    def on_point(self, point: CertificationPoint, now: Now) -> None:
        """A question was applied; if it is ours, the answers must agree with this point."""
        pool_log = self.context.pool_log
        if point.term != pool_log.term or pool_log.raft is None:
            return
        if point.asked.leader != self.context.config.me:
            return
        pool_log.broadcast_commit(now)
        self.questions[point.index] = Gathering(point)

    def add(self, verified: Verified, now: Now) -> None:
        """Add a voter's signature."""
        message = verified.message
        if isinstance(message, CertificateSigned):
            self._confirmed(message, verified, now)
        elif isinstance(message, ConfigurationSigned):
            self._certified(message, verified, now)

    def _confirmed(self, word: CertificateSigned, verified: Verified, now: Now) -> None:
        gathering = self.questions.get(word.commit_index)
        if gathering is None or word.voter not in gathering.point.voters:
            return
        if not said_by(verified, word.voter):
            return
        point, log_id = gathering.point, self.context.pool_log.log_id
        assert log_id is not None
        ours = CertificateSigned(
            log_id=log_id,
            term=point.term,
            leader=point.asked.leader,
            voter=word.voter,
            committee_hash=committee_hash(point.voters),
            commit_index=point.index,
            state_digest=point.state_digest,
            time_ms=point.asked.at_ms,
            history=point.history,
        )
        if word != ours:
            if attrs.evolve(word, state_digest=ours.state_digest) == ours:
                self._disagrees(word)
            return
        gathering.heard[word.voter] = verified
        if len(gathering.heard) == quorum_of(point.voters):
            signatures = tuple(gathering.heard.values())
            self.context.leader_certificates.hold(
                leader_certificate(signatures, point.voters, log_id)
            )
            self.certified_voters, self.unanswered, self.fresh = point.voters, 0, True
            self.context.leader_certificates.problem = None
            if open_link(self.context.pool_log.chain) is None:
                self.due_ms = now.mono_ms + limits.CERTIFY_INTERVAL_MS

    def _disagrees(self, word: CertificateSigned) -> None:
        """A voter's state differs from ours: Raft rules that out, so it is a fault or a lie."""
        name = word.voter.node_id.hex()
        self.context.log(
            Level.ERROR, "a voter's state is not the leader's", voter=name, index=word.commit_index
        )
        self.context.leader_certificates.disagreement = (
            f"Voter 0x{name} and this leader hold different states at index {word.commit_index}: "
            "one of the two is faulty or lies."
        )

    # --- changes of the voters --------------------------------------------------------------------

    def _certified(self, word: ConfigurationSigned, verified: Verified, now: Now) -> None:
        chain, log_id = self.context.pool_log.chain, self.context.pool_log.log_id
        link = next((one for one in incomplete(chain) if one.index == word.index), None)
        if link is None or log_id is None or self.written.get(link.index, False):
            return
        before = chain.before(link)
        try:
            link_signers((verified,), link, before, log_id)
        except Refusal:
            return
        heard = self.links.setdefault(link.index, {})
        heard[word.voter] = verified
        while len(self.links) > limits.RECENT_LINKS_SIGNED_MAX:
            del self.links[min(self.links)]
        if len(heard) == quorum_of(before):
            self._write(link, True, now)

    def _write(self, link: Link, enough: bool, now: Now) -> None:
        signatures = tuple(v.sealed for v in self.links.get(link.index, {}).values())
        if self._try(ChangeCertified(link.index, signatures), now):
            self.written[link.index] = enough

    def _give_up_ms(self, link: Link, now: Now) -> int:
        """When a change has waited long enough, on the monotonic clock, from its log time."""
        raft = self.context.pool_log.raft
        assert raft is not None
        # By the date that the entry would get: followers judge by that one.
        waited_ms = log_time.date_ms(raft.state, now) - link.at_ms
        left_ms = limits.VOTER_REPLACE_AFTER_MS - waited_ms
        return max(now.mono_ms + left_ms, self.since_ms + limits.JUDGEMENT_GRACE_MS)

    def _give_up(self, link: Link, now: Now) -> None:
        if link.index in self.written:
            return
        self.context.log(
            Level.WARNING,
            "no quorum certified a change of the committee",
            index=link.index,
            signatures=len(self.links.get(link.index, {})),
        )
        self._write(link, False, now)

    # --- telling ----------------------------------------------------------------------------------

    def in_force(self, now: Now) -> LeaderCertificate | None:
        """Our own certificate, if we have one in force."""
        known = self.context.leader_certificates.fresh(now)
        ours = (self.context.pool_log.term, self.context.config.me)
        return known if known is not None and (known.term, known.leader) == ours else None

    def to_tell(self, now: Now) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Certificate and votes for the next announcement: a few times when new, then rarely."""
        known, raft = self.in_force(now), self.context.pool_log.raft
        if known is None or raft is None:
            return (), ()
        if known.signatures != self.told:
            self.told, self.told_times = known.signatures, 0
        again = now.mono_ms - self.told_ms >= limits.CERTIFICATE_TELL_INTERVAL_MS
        if self.told_times >= limits.CERTIFICATE_TELL_TIMES and not again:
            return (), ()
        self.told_times, self.told_ms = self.told_times + 1, now.mono_ms
        self.context.leader_certificates.votes = tuple(raft.state.grants.values())
        return known.signatures, self.context.leader_certificates.votes

    def news(self, now: Now) -> bool:
        """Whether no announcement has carried our certificate in force yet."""
        known = self.in_force(now)
        return known is not None and known.signatures != self.told
