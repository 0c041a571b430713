"""Certificates that travel: believed from announcements, asked of peers, handed to anybody.

Intuition: a certificate carries its own proof, so it does not matter who hands it on. A leader's
announcement that comes without one, from a leader that this node cannot tell to be one, is answered
by a question, a few seconds apart at most.

A node that knows an older committee, or the founder alone, walks from there to today's by the links
that come with the answer, each signed by a quorum of the voters before it. Where a link has no
quorum's signatures (its voters were gone for good) nobody can prove what follows; then it takes the
word of the leader itself, if most members of the pool say that they follow that one.

Invariants: only a node that is no participant believes announcements (a participant has Raft); the
last believed term never falls. Guests are answered: outsiders may check who leads.
Source: design, sections 5 and 7.
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.follower.leader_proof import leader_proof
from p2pool.core.fsm.committee_chain import newest
from p2pool.model import limits
from p2pool.model.errors import Refusal
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.messages.gossip import Announcement
from p2pool.model.timing import Now
from p2pool.proofs.certificates import Opened


def ask_proof(context: Context, peer_key: PeerKey, now: Now) -> None:
    """Ask a peer for proof of who leads, not too often."""
    asked_ms = context.asked_certificates_ms
    if asked_ms is not None and now.mono_ms - asked_ms < limits.CERTIFICATE_ASK_MS:
        return
    context.asked_certificates_ms = now.mono_ms
    number = context.request()
    context.proofs_awaited.ask(peer_key, number)
    context.tell(peer_key, CertificatesRequested(number))


@attrs.define
class CertificateExchange:
    """What one node takes and gives of certificates."""

    context: Context
    guests_due_ms: int = 0

    def announced(self, said: Announcement, sender: NodeId, enclosed: Opened, now: Now) -> None:
        """Somebody says that it leads: believe it where there is proof, else ask for that."""
        context = self.context
        self._take(said.certificate, enclosed, now)
        if context.certified.leads(sender, said.term, now):
            if said.term >= context.announced_term:
                context.announced_by, context.announced_ms = sender, now.mono_ms
                context.announced_term = said.term
        elif context.ledger.fetches and (key := context.peers.key_of(sender)) is not None:
            ask_proof(context, key, now)

    def _take(self, certificate: tuple[bytes, ...], enclosed: Opened, now: Now) -> None:
        context, ledger = self.context, self.context.ledger
        if not certificate:
            return
        signatures, votes = enclosed[: len(certificate)], enclosed[len(certificate) :]
        try:
            found = context.certified.judge(signatures, ledger.chain, ledger.log_id, now)
        except Refusal as error:
            context.log(Level.DEBUG, "a leader's certificate is not taken", why=error.message)
            return
        if found == context.certified.known:
            context.certified.elected(votes, ledger.chain)

    def awaits(self, peer_key: PeerKey, answer: CertificatesAnswered) -> bool:
        """Whether this was asked for, so that it is worth opening what is in it."""
        asked = self.context.proofs_awaited.has(peer_key, answer.request)
        return asked and answer.log_id == self.context.ledger.log_id

    def told(
        self, answer: CertificatesAnswered, sender: NodeId, key: PeerKey, opened: Opened, now: Now
    ) -> None:
        """A peer's certificates; they prove themselves, whoever sends them."""
        if not self.awaits(key, answer):
            return
        self.context.proofs_awaited.take(key, answer.request)
        count = len(answer.certificate) + len(answer.votes)
        if not self.context.certified.knows(opened, self.context.ledger.chain):
            self._walk(answer, sender, opened[count:])
        self._take(answer.certificate, opened[:count], now)

    def _walk(self, answer: CertificatesAnswered, sender: NodeId, opened: Opened) -> None:
        """Come to know today's committee by the links from one that is known."""
        context, chain = self.context, answer.chain
        assert context.ledger.log_id is not None
        signed, at = [], 0
        for link in chain.links:
            signed.append(opened[at : at + len(link.signatures)])
            at += len(link.signatures)
        try:
            context.certified.walk(chain, signed, context.ledger.chain, context.ledger.log_id)
        except Refusal as error:
            trusted = self._named_by_most(sender)
            context.log(
                Level.WARNING, "the committee's chain does not hold", by=sender.hex(),
                why=error.message, taken="by most members' word" if trusted else "no",
            )  # fmt: skip
            if trusted:
                context.certified.prove(chain.voters)

    def _named_by_most(self, node_id: NodeId) -> bool:
        """Whether most members but us say in their heartbeats that they follow a node."""
        context = self.context
        others = [m.node_id for m in context.roster.members() if m.node_id != context.me]
        said = [b.heartbeat for n in others if (b := context.beats.newest.get(n)) is not None]
        epoch = context.ledger.epoch
        named = sum(beat.leader == node_id and beat.epoch == epoch for beat in said)
        return 2 * named > len(others)

    def asked(self, peer_key: PeerKey, asked: CertificatesRequested, now: Now) -> None:
        """Hand out what we hold: to a member all of it, to a guest the newest changes, and to all
        guests together not often, for anybody may ask and the answer is long."""
        context = self.context
        proof, node_id = leader_proof(context, now), context.peers.node_of(peer_key)
        if proof is None:
            return
        chain = proof.chain
        if node_id is None or not context.roster.belongs(node_id):
            if now.mono_ms < self.guests_due_ms:
                return
            self.guests_due_ms = now.mono_ms + 1000 // limits.GUEST_PROOFS_PER_S
            chain = newest(chain, limits.GUEST_CHAIN_LINKS_MAX)
        context.tell(
            peer_key,
            CertificatesAnswered(
                asked.request, proof.log_id, chain, proof.certificate, proof.votes
            ),
        )
