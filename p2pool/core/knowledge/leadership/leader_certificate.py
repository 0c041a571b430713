"""Which leader this node may obey: the newest leader certificate that it has checked.

Intuition: an order counts not for who sends it, but for a quorum's signed word that the sender
leads. A node checks that word against the voters of its own log; if it does not know the committee
yet, it keeps the certificate until its log catches up. The committee before the last change counts
too, until its certificates expire: a change does not void the leader's word at once.

Invariants: a certificate counts only if it is from a known committee, for this log, and not
expired; a later term or time replaces an earlier one, never the reverse.
Source: docs/design/certificates.md, "Leader certificates".
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.model import limits
from p2pool.model.errors import BadSignature, NotForUs, Refusal, Stale
from p2pool.model.ids import Digest, NodeId
from p2pool.model.log.certificates import CommitteeChain, LeaderCertificate, SignedHistory
from p2pool.model.log.raft import Voter
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.certificates import (
    Opened,
    check_fresh,
    committee_named,
    leader_certificate,
    signed_history,
    votes_for,
)
from p2pool.proofs.committee_walk import walk_links


class UnknownCommittee(NotForUs):
    """A certificate from a committee that this node's log does not show (yet)."""

    code = "unknown-committee"


@attrs.define
class LeaderCertificates:
    """What one node knows of who leads, with proof.

    `problem`: why a leader has no certificate; `disagreement`: which voter disagrees with a leader;
    `diverged`: this node's own state is not the certified one; `misled`: what a leader gave this
    node is not what a quorum signed; `unproven`: a committee that a peer
    named, and nothing proves. `proven`: committees that the log here does not show yet, reached by
    a walk along signed links. `certified`: the latest change of the voters among those. `trusted`:
    hashes of committees that the operator vouches for. `chosen`: the latest leader that votes alone
    prove, since its term is too young for a certificate: in that log and term a participant may
    follow it, and no more.
    """

    known: LeaderCertificate | None = None
    votes: tuple[bytes, ...] = ()
    waiting: tuple[Verified | None, ...] = ()
    problem: str | None = None
    disagreement: str | None = None
    diverged: str | None = None
    misled: str | None = None
    unproven: str | None = None
    trusted: tuple[Digest, ...] = ()
    proven: tuple[tuple[Voter, ...], ...] = ()
    certified: tuple[int, tuple[Voter, ...]] = (0, ())
    chosen: tuple[Digest, Voter, int] | None = None
    _hashes: dict[tuple[Voter, ...], Digest] = attrs.field(factory=dict)

    # --- accepting --------------------------------------------------------------------------------

    def judge(
        self, opened: Opened, chain: CommitteeChain, log_id: Digest | None, now: Now
    ) -> LeaderCertificate:
        """The certificate that these signatures make, kept if newer; or a `Refusal`."""
        try:
            found = self.check(opened, chain, log_id, now)
        except UnknownCommittee:
            if log_id is not None:
                self.waiting = tuple(opened)
            raise
        self.hold(found)
        return found

    def check(
        self, opened: Opened, chain: CommitteeChain, log_id: Digest | None, now: Now
    ) -> LeaderCertificate:
        """The certificate that these signatures make, or a `Refusal`; nothing is kept."""
        if not opened:
            raise NotForUs("It came without the leader's certificate.")
        if log_id is None:
            raise UnknownCommittee("This node knows no log of the pool yet.")
        found = self.statement(opened, chain, log_id)
        check_fresh(found.time_ms, now.wall_ms)
        return found

    def statement(self, opened: Opened, chain: CommitteeChain, log_id: Digest) -> LeaderCertificate:
        """The same, of any age: what the voters said of the log stays true when it has expired."""
        voters = self._committee(opened, chain)
        if voters is None:
            raise UnknownCommittee("This node does not know the certificate's committee (yet).")
        return leader_certificate(opened, voters, log_id)

    def history(self, opened: Opened, chain: CommitteeChain, log_id: Digest) -> SignedHistory:
        """The history that a quorum of a known committee signed, or a `Refusal`."""
        refused: Refusal = UnknownCommittee("This node knows no committee that signed it.")
        for voters in self._known(chain):
            try:
                return signed_history(opened, voters, log_id)
            except BadSignature as error:
                if None in opened:
                    raise
                refused = UnknownCommittee(error.message)
        raise refused

    def hold(self, found: LeaderCertificate) -> None:
        """Keep a checked certificate if it is newer than the one we have."""
        old = self.known
        newer = old is None or old.log_id != found.log_id or _age(old) < _age(found)
        if newer:
            self.unproven = None
            if old is None or (old.log_id, old.term) != (found.log_id, found.term):
                self.votes, self.misled = (), None
            self.known = found

    def elected(self, opened: Opened, chain: CommitteeChain) -> None:
        """Keep the votes that elected the known leader, if they check out."""
        known = self.known
        if known is None or not opened or len(opened) <= len(self.votes):
            return
        for voters in self._known(chain):
            try:
                votes_for(opened, voters, known.log_id, known.term, known.leader)
            except Refusal:
                continue
            self.votes = tuple(v.sealed for v in opened if v is not None)
            return

    def choose(self, log_id: Digest, leader: Voter, term: int) -> None:
        """Votes of a majority name a leader: keep it unless a later one is known."""
        old = self.chosen
        if old is None or old[0] != log_id or old[2] < term:
            self.chosen = (log_id, leader, term)

    def again(self, chain: CommitteeChain, log_id: Digest | None, now: Now) -> None:
        """The log has moved on: judge the certificate that had to wait."""
        if self.waiting and self._committee(self.waiting, chain) is not None:
            waiting, self.waiting = self.waiting, ()
            try:
                self.judge(waiting, chain, log_id, now)
            except Refusal:
                return  # Its committee is known now and it is bad: nothing is lost.

    def forget(self) -> None:
        """A new log was founded: the last one's leader leads nothing."""
        self.known, self.votes, self.waiting, self.proven = None, (), (), ()
        self.certified, self.chosen, self.unproven = (0, ()), None, None

    # --- committees -------------------------------------------------------------------------------

    def knows(self, opened: Opened, chain: CommitteeChain) -> bool:
        """Whether this node knows the committee that a certificate names."""
        return self._committee(opened, chain) is not None

    def walk(
        self, theirs: CommitteeChain, opened: Sequence[Opened], ours: CommitteeChain, log_id: Digest
    ) -> None:
        """Walk a chain from the last committee in it that we know or the operator trusts, and learn
        those after it; `opened` are the signatures of each link. A `Refusal` if a link does not
        hold."""
        groups = [theirs.base, *(link.voters for link in theirs.links)]
        known = self._known(ours)
        start = max(
            (n for n, group in enumerate(groups) if group in known or self._trusts(group)),
            default=None,
        )
        if start is None:
            raise UnknownCommittee("This node knows no committee in the chain.")
        if groups[start] not in known:
            self.prove(groups[start])
        walked = walk_links(theirs, start, opened[start:], log_id)
        for link, voters in zip(theirs.links[start:], walked, strict=False):
            self.prove(voters)
            self.certified = max(self.certified, (link.index, voters))

    def prove(self, voters: tuple[Voter, ...]) -> None:
        """Know a committee from now on, although the log here does not show it yet."""
        if voters not in self.proven:
            self.proven = (*self.proven, voters)[-limits.COMMITTEES_PROVEN_MAX :]

    # --- reading ----------------------------------------------------------------------------------

    def fresh(self, now: Now) -> LeaderCertificate | None:
        """The newest certificate, unless it has expired."""
        if self.known is None:
            return None
        try:
            check_fresh(self.known.time_ms, now.wall_ms)
        except Stale:
            return None
        return self.known

    def leads(self, node_id: NodeId, term: int, now: Now) -> bool:
        """Whether a certificate in force says that a node leads in a term."""
        known = self.fresh(now)
        return known is not None and (known.leader.node_id, known.term) == (node_id, term)

    def leader(self, now: Now) -> Voter | None:
        """The leader by a certificate in force."""
        known = self.fresh(now)
        return known.leader if known is not None else None

    # --- inside -----------------------------------------------------------------------------------

    def _known(self, chain: CommitteeChain) -> tuple[tuple[Voter, ...], ...]:
        """The committees that this node knows: those of the log, and the proven ones."""
        return (*_committees(chain), *self.proven)

    def _committee(self, opened: Opened, chain: CommitteeChain) -> tuple[Voter, ...] | None:
        """The voters that a certificate names, if they are the current or the previous committee,
        or one proven to come after."""
        named = committee_named(opened)
        for voters in self._known(chain):
            if self._hash(voters) == named:
                return voters
        return None

    def _trusts(self, voters: tuple[Voter, ...]) -> bool:
        return bool(self.trusted) and committee_hash(voters) in self.trusted

    def _hash(self, voters: tuple[Voter, ...]) -> Digest:
        if voters not in self._hashes:
            if len(self._hashes) > 16:
                self._hashes.clear()
            self._hashes[voters] = committee_hash(voters)
        return self._hashes[voters]


def _committees(chain: CommitteeChain) -> tuple[tuple[Voter, ...], ...]:
    """The current committee, and the one before the last change."""
    if not chain.links:
        return (chain.base,)
    return (chain.voters, chain.before(chain.links[-1]))


def _age(certificate: LeaderCertificate) -> tuple[int, int]:
    return certificate.term, certificate.time_ms
