"""The exchange of certificates: read from announcements, requested from peers, given to anybody.

Intuition: a certificate proves itself, so it does not matter who passes it on. If an announcement
or an append comes from a leader that this node cannot verify, the node asks it for proof, with a
few seconds between questions to each peer: whoever speaks first keeps no other from being asked.

A new leader has no certificate yet, and answers with the votes that it got. They show a participant
whom to follow; orders need a certificate.

A node that knows an older committee, or only the founder, walks from there to the current one along
the links in the answer, each signed by a quorum of the voters before it. If a link lacks a quorum
(its voters were gone for good), nobody can prove what follows. Then the operator vouches for a
committee by its hash; else a node that has heard no committee for long accepts the word of the
leader itself, if most providers say that they follow it.

Invariants: only a node without a seat believes announcements (a participant has Raft), and only
such a node ever takes anybody's word; it takes none while a committee that it knows had a
certificate in force a short while ago, whatever most members say; a provider counts once, however
many nodes it has; the last believed term never falls. Guests get answers: outsiders may check who
leads.
Source: docs/design/certificates.md, "Certificates on their way".
"""

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.codec.json.hex import address_text
from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.follower.leader_proof import leader_proof
from p2pool.core.fsm.committee_chain import newest
from p2pool.core.inputs import Sender
from p2pool.core.knowledge.leadership.last_certificate import CertificateSighting
from p2pool.core.knowledge.leadership.leader_certificate import UnknownCommittee
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.errors import Refusal
from p2pool.model.ids import Address, NodeId, PeerKey
from p2pool.model.log.raft import majority
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.messages.raft import SnapshotSent, VoteAnswered
from p2pool.model.timing import Now
from p2pool.proofs.certificates import Opened, said_by


@attrs.define
class CertificateExchange:
    """The certificates that one node accepts and gives."""

    context: Context
    sighting: CertificateSighting = attrs.field(factory=CertificateSighting)
    guests: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.GUEST_PROOFS_PER_S, limits.GUEST_PROOFS_BURST, limits.GUESTS_KNOWN_MAX
        )
    )
    members: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.MEMBER_PROOFS_PER_S, limits.MEMBER_PROOFS_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    all_guests: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(limits.GUESTS_PROOFS_PER_S, limits.GUESTS_PROOFS_PER_S, 1)
    )
    asked_ms: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PROOFS_ASKED_MAX)
    )

    # --- what is due ------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Remember that a committee which we know was heard."""
        known = self.context.leader_certificates.known
        if known is not None and not self.sighting.has(known):
            self.context.effects.append(Persist((self.sighting.note(known, now),)))

    def wakeup_ms(self) -> int | None:
        """At once while a certificate is not noted yet; else never: the next one comes by itself,
        and so does whoever has to be asked for proof again."""
        known = self.context.leader_certificates.known
        return None if known is None or self.sighting.has(known) else 0

    # --- certificates -----------------------------------------------------------------------------

    def ask_proof(self, peer_key: PeerKey, now: Now) -> None:
        """Ask a peer for proof of who leads, not too often."""
        asked_ms = self.asked_ms.get(peer_key)
        if asked_ms is not None and now.mono_ms - asked_ms < limits.CERTIFICATE_ASK_MS:
            return
        self.asked_ms.renew(peer_key, now.mono_ms)
        self.context.tell(peer_key, CertificatesRequested(self.context.request()))

    def on_announcement(self, message: Announcement, sender: Sender, now: Now) -> None:
        """A node announces that it leads: believe it if it has proof, else ask for proof."""
        context = self.context
        count = len(message.certificate) + len(message.votes)
        self._take(message.certificate, sender.enclosed[:count], now)
        if message.proof:
            self._take_history(sender, sender.enclosed[count:], now)
        if context.leader_certificates.leads(sender.node_id, message.term, now):
            context.announced.note(sender.node_id, message.term, now)
        elif (
            context.pool_log.waits_for_others
            and (key := context.bindings.key_of(sender.node_id)) is not None
        ):
            self.ask_proof(key, now)

    def _take_history(self, sender: Sender, proof: Opened, now: Now) -> None:
        """What a quorum signed of the log, whoever hands it on."""
        context, pool_log = self.context, self.context.pool_log
        if pool_log.log_id is None:
            return
        try:
            found = context.leader_certificates.history(proof, pool_log.chain, pool_log.log_id)
        except UnknownCommittee:
            if pool_log.waits_for_others:
                self.ask_proof(sender.peer_key, now)
        except Refusal as error:
            context.log(Level.DEBUG, "a signed history is refused", why=error.message)
        else:
            pool_log.histories.sign(found)

    def on_snapshot(self, message: SnapshotSent | StateAnswered, sender: Sender, now: Now) -> None:
        """A quorum's word for a snapshot, however old: the log is what the voters signed then."""
        context, pool_log = self.context, self.context.pool_log
        if not message.certificate or message.log_id != pool_log.log_id:
            return
        try:
            found = context.leader_certificates.statement(
                sender.enclosed, pool_log.chain, message.log_id
            )
        except UnknownCommittee:
            self.ask_proof(sender.peer_key, now)
        except Refusal as error:
            context.log(Level.DEBUG, "a snapshot's certificate is refused", why=error.message)
        else:
            pool_log.certify(found.commit_index, found.state_digest, found.signatures)

    def _take(self, certificate: tuple[bytes, ...], enclosed: Opened, now: Now) -> None:
        context, pool_log = self.context, self.context.pool_log
        if not certificate:
            return
        signatures, votes = enclosed[: len(certificate)], enclosed[len(certificate) :]
        try:
            found = context.leader_certificates.judge(
                signatures, pool_log.chain, pool_log.log_id, now
            )
        except Refusal as error:
            context.log(Level.DEBUG, "a leader's certificate is refused", why=error.message)
            return
        said = found.signed_history
        if said is not None:
            pool_log.histories.sign(said)
        if found == context.leader_certificates.known:
            context.leader_certificates.elected(votes, pool_log.chain)

    def on_certificates_answered(
        self, message: CertificatesAnswered, sender: Sender, now: Now
    ) -> None:
        """A peer's certificates: they prove themselves, whoever sends them."""
        if message.log_id != self.context.pool_log.log_id:
            return
        count = len(message.certificate) + len(message.votes)
        opened = sender.enclosed
        if not self.context.leader_certificates.knows(opened, self.context.pool_log.chain):
            self._walk(message, sender.node_id, opened[count:], now)
        self._take(message.certificate, opened[:count], now)
        self._elected(sender, opened[len(message.certificate) : count])

    def _elected(self, sender: Sender, votes: Opened) -> None:
        """Whether a majority that we know voted for a peer that is too new for a certificate."""
        raft, certified = self.context.pool_log.raft, self.context.leader_certificates
        if raft is None:
            return
        raft.state.certified_change_index, raft.state.certified_voters = certified.certified
        first = votes[0].message if votes and votes[0] is not None else None
        if not isinstance(first, VoteAnswered):
            return
        leader = first.candidate
        own = (leader.node_id, leader.peer_key) == (sender.node_id, sender.peer_key)
        if own and raft.proves(first.term, leader, votes):
            certified.choose(raft.state.log_id, leader, first.term)

    def _walk(self, answer: CertificatesAnswered, sender: NodeId, opened: Opened, now: Now) -> None:
        """Walk the links from a committee that we know to the current one."""
        context, chain = self.context, answer.chain
        assert context.pool_log.log_id is not None
        signed, at = [], 0
        for link in chain.links:
            signed.append(opened[at : at + len(link.signatures)])
            at += len(link.signatures)
        try:
            context.leader_certificates.walk(
                chain, signed, context.pool_log.chain, context.pool_log.log_id
            )
        except Refusal as error:
            taken = self._may_take_word(now) and self._named_by_most(sender, now)
            named = committee_hash(chain.voters).hex()
            context.log(
                Level.WARNING,
                "the committee's chain does not hold",
                by=sender.hex(),
                committee=named,
                why=error.message,
                taken="by most providers' word" if taken else "no",
            )
            if taken:
                context.leader_certificates.prove(chain.voters)
                return
            context.leader_certificates.unproven = (
                f"Member {address_text(sender)} says that committee {named} decides now, and "
                f"nothing proves it: {error.message} It may lie. If the operators of other nodes "
                f"confirm this hash (`p2pool verify leader` shows theirs), vouch for it: "
                f"`p2pool agent run --trust {named}`."
            )

    def _may_take_word(self, now: Now) -> bool:
        """Whether others' word may stand in for signatures: never for a participant, nor soon after
        a committee that we know was heard."""
        pool_log = self.context.pool_log
        return pool_log.fetches and not self.sighting.lately(pool_log.log_id, now)

    def _named_by_most(self, node_id: NodeId, now: Now) -> bool:
        """Whether most providers of other members say by heartbeat that they follow a node. A
        provider says so if most of its members that are heard do; a silent one says nothing."""
        context, epoch = self.context, self.context.pool_log.epoch
        said: dict[Address, list[bool]] = {}
        for member in context.roster.members():
            if member.node_id == context.me:
                continue
            words = said.setdefault(member.provider, [])
            beat = context.heartbeats.fresh(member.node_id, context.roster.size(), now)
            if beat is not None:
                words.append((beat.leader, beat.epoch) == (node_id, epoch))
        named = sum(sum(words) >= majority(len(words)) for words in said.values() if words)
        return named >= majority(len(said))

    def on_certificates_requested(
        self, message: CertificatesRequested, sender: Sender, now: Now
    ) -> None:
        """Give a member all that we hold, a guest the newest changes; limit the rate of each, so
        that none takes another's turn, and of all guests together: anybody may ask for the long
        answer, under as many names as it likes."""
        context = self.context
        proof = leader_proof(context, now)
        if proof is None:
            return
        chain = proof.chain
        certificate, votes = proof.certificate, proof.votes
        raft = context.pool_log.raft
        if raft is not None and raft.state.leads and not self._is_certified(raft.state, now):
            # What we have is the last leader's; to whoever asks about us, our votes say more.
            certificate, votes = (), tuple(raft.state.grants.values())
        if not self._is_ours(sender):
            mine = self.guests.admit(sender.peer_key, now.mono_ms)
            if not mine or not self.all_guests.admit(b"", now.mono_ms):
                return
            chain = newest(chain, limits.GUEST_CHAIN_LINKS_MAX)
        elif not self.members.admit(sender.peer_key, now.mono_ms):
            return
        context.tell(
            sender.peer_key,
            CertificatesAnswered(
                request=message.request,
                log_id=proof.log_id,
                chain=chain,
                certificate=certificate,
                votes=votes,
            ),
        )

    def _is_certified(self, s: RaftState, now: Now) -> bool:
        """Whether we have our own certificate as a leader."""
        known = self.context.leader_certificates.fresh(now)
        return known is not None and (known.leader, known.term) == (s.me, s.hard.term)

    def _is_ours(self, sender: Sender) -> bool:
        """Whether a peer is a member or a participant: one that the chain has put out serves on."""
        context = self.context
        node_id = context.bindings.node_of(sender.peer_key)
        group = context.pool_log.configuration.everybody
        seated = any(said_by(sender.verified, voter) for voter in group)
        return seated or (node_id is not None and context.roster.belongs(node_id))
