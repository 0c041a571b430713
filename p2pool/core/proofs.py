"""Certificates that travel: believed from announcements, asked of peers, handed to anybody.

Intuition: a certificate carries its own proof, so it does not matter who hands it on. A leader's
announcement that comes without one, from a leader that this node cannot tell to be one, is answered
by a question, a few seconds apart at most.

Invariants: only a node that is no participant believes announcements (a participant has Raft); the
last believed term never falls. Guests are answered: outsiders may check who leads.
Source: design, sections 5 and 7.
"""

import attrs

from p2pool.codec.certificates import Opened
from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.status import leader_proof
from p2pool.model import limits
from p2pool.model.certificates import CertificatesAnswered, CertificatesRequested
from p2pool.model.errors import Refusal
from p2pool.model.gossip import Announcement
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.timing import Now


@attrs.define
class Proofs:
    """What one node takes and gives of certificates."""

    context: Context

    def announced(self, said: Announcement, sender: NodeId, enclosed: Opened, now: Now) -> None:
        """Somebody says that it leads: believe it where there is proof, else ask for that."""
        context = self.context
        self._take(said.certificate, enclosed, now)
        if context.certified.leads(sender, said.term, now):
            if said.term >= context.announced_term:
                context.announced_by, context.announced_ms = sender, now.mono_ms
                context.announced_term = said.term
        elif context.ledger.fetches:
            self._ask(sender, now)

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

    def _ask(self, sender: NodeId, now: Now) -> None:
        asked_ms = self.context.asked_certificates_ms
        if asked_ms is None or now.mono_ms - asked_ms >= limits.CERTIFICATE_ASK_MS:
            self.context.asked_certificates_ms = now.mono_ms
            self.context.send(sender, CertificatesRequested(self.context.request()))

    def told(self, answer: CertificatesAnswered, enclosed: Opened, now: Now) -> None:
        """A peer's certificates; they prove themselves, whoever sends them."""
        if answer.log_id == self.context.ledger.log_id:
            self._take(answer.certificate, enclosed, now)

    def asked(self, peer_key: PeerKey, asked: CertificatesRequested, now: Now) -> None:
        """Hand out all that we hold."""
        proof = leader_proof(self.context, now)
        if proof is not None:
            answer = CertificatesAnswered(
                asked.request, proof.log_id, proof.chain, proof.certificate, proof.votes
            )
            self.context.tell(peer_key, answer)
