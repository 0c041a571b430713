"""Bad appends: what a lying leader sealed, shown to everybody and kept.

Intuition: a follower that refuses an entry saves itself, and nobody else learns of it. So it
publishes the sealed append. Whoever gets it opens it and judges for itself
(`proofs.append_proof`); where that takes the committee before a change, the leader's own
signature over it comes along, as every certificate holds it.

Invariants: proof counts only against a voter of a certified configuration, under the key recorded
there, and only in this node's log. There is one for each voter and term, a few for each voter, and
a bounded memory for all. What is too long to be gossiped, or is no proof without the log before it,
stays in this agent's own log of events.
Source: docs/design/certificates.md, "Bad appends".
"""

from collections.abc import Callable

import attrs

from p2pool.codec.digests import committee_hash
from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import Sender
from p2pool.core.knowledge.kept_proofs import KeptProofs
from p2pool.model import limits
from p2pool.model.errors import Refusal
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Digest
from p2pool.model.log.certificates import BadAppend
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import BadAppendProven, CertificateSigned
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.append_proof import Recover, bad_append

BAD_APPENDS_TABLE = "bad_appends"


@attrs.define
class BadAppends:
    """The proofs that one node holds. `counts`: whether a voter of a log can be proven to lie."""

    context: Context
    counts: Callable[[Digest, Voter], bool]
    kept: KeptProofs[BadAppend] = attrs.field(
        factory=lambda: KeptProofs(
            BAD_APPENDS_TABLE, BadAppend, lambda: limits.BAD_APPENDS_KEPT_MAX
        )
    )

    # --- judging ----------------------------------------------------------------------------------

    def on_refused(self, append: Verified, now: Now) -> None:
        """We refused an append: publish it if others can see why."""
        if len(append.sealed) > limits.BAD_APPEND_MAX_BYTES:
            self.context.log(
                Level.INFO, "the refused append is too long for evidence", size=len(append.sealed)
            )
            return
        for word in (None, self._own_word(append)):
            found = self._proof(append, word)
            if found is None:
                continue
            if self._keep(found, now):
                self.context.publish(BadAppendProven(found.frame, found.word))
            return
        self.context.log(Level.INFO, "the refused append proves nothing to others")

    def on_bad_append_proven(self, message: BadAppendProven, sender: Sender, now: Now) -> None:
        """A peer claims a proof: judge it and keep it."""
        append, word = (*sender.enclosed, None, None)[:2]
        found = self._proof(append, word) if append is not None else None
        if found is None:
            self.context.log(Level.DEBUG, "a claimed proof proves nothing")
        else:
            self._keep(found, now)

    def _proof(self, append: Verified, word: Verified | None) -> BadAppend | None:
        """What these prove; None if that is nothing, or not against a voter that counts."""
        frame = append.message
        if not isinstance(frame, AppendRequested) or not self.counts(frame.log_id, frame.leader):
            return None
        try:
            return bad_append(append, word, self._committee(word), self._recovers)
        except Refusal:
            return None

    @property
    def _recovers(self) -> Recover | None:
        """Who signed a request; below level 2 nobody asks."""
        state = self.context.pool_log.state
        asked = state is not None and state.level >= DISTRUST_LEVEL
        return self.context.config.recovers if asked else None

    def _committee(self, word: Verified | None) -> tuple[Voter, ...]:
        """The voters of whom a leader's word gives the hash, as far as we know them."""
        said = word.message if word is not None else None
        if not isinstance(said, CertificateSigned):
            return ()
        chain = self.context.pool_log.chain
        groups = (chain.base, *(link.voters for link in chain.links))
        for voters in (*reversed(groups), *self.context.leader_certificates.proven):
            if committee_hash(voters) == said.committee_hash:
                return voters
        return ()

    def _own_word(self, append: Verified) -> Verified | None:
        """What the leader signed of its committee, as its certificate holds it."""
        known, opens = self.context.leader_certificates.known, self.context.config.opens
        if known is None or opens is None:
            return None
        opened = (opens(sealed) for sealed in known.signatures)
        by = (append.header.node_id, append.header.peer_key)
        mine = (v for v in opened if v and (v.header.node_id, v.header.peer_key) == by)
        return next(mine, None)

    # --- keeping ----------------------------------------------------------------------------------

    def _keep(self, found: BadAppend, now: Now) -> bool:
        """Keep a proof on the disk; False if we have it, or enough of that voter."""
        written = self.kept.keep(found)
        if not written:
            return False
        self.kept.put_off(now)
        self.context.effects.append(Persist(written))
        self.context.log(
            Level.WARNING,
            "proof: a leader sent what no honest one sends",
            voter=found.voter.node_id.hex(),
            term=found.term,
            index=found.index,
            why=found.reason,
        )
        return True

    # --- telling ----------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """As leader, republish the proofs, one at a time: some nodes were away the first time."""
        found = self.kept.take_due(now) if self.context.pool_log.leads else None
        if found is not None:
            self.context.publish(BadAppendProven(found.frame, found.word))

    def wakeup_ms(self) -> int | None:
        """Nothing wakes a node for this alone: every step checks it."""
        return None
