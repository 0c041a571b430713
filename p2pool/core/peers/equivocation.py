"""Equivocation: a voter that signed two words of which an honest one signs one, proven and kept.

Intuition: Raft depends on each voter's single vote in a term. A lying voter votes for each of two
candidates, and hopes that nobody ever holds both votes. So every node remembers the first statement
that it saw from each voter in each term, wherever it came from (a vote sent to it, the votes and
the certificate of an announcement), and compares. Two that differ are the proof: anybody can check
the two signatures and needs to trust nobody. So are two histories of the log at one index, or two
changes of the committee: a voter signs only what is committed there, and in whatever terms, that
stays.

Invariants: a node compares only verified statements, in this log, by voters of certified
configurations, whole: node, peer key and store. Anybody signs whatever it likes about a node under
a key of its own; only the key that a certified configuration records there makes it that node's
word. A vote for one and a certificate's signature for another are no pair. Histories and changes
count from feature level 2 on. A node keeps one proof for each voter and term, a few for each voter,
and two bounded memories for each, so that none pushes another's out, nor the many histories the
rest. Forgetting deletes from disk too.
Source: docs/design/certificates.md, "Equivocation".
"""

from typing import TypeVar

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist
from p2pool.core.inputs import Sender
from p2pool.core.knowledge.kept_proofs import KeptProofs
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Refusal
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.certificates import CHANGE, HISTORY, CommitteeChain, Evidence
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import EquivocationProven
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.certificates import (
    Opened,
    equivocation,
    quorum_of,
    said_of_log,
    stance,
)

EVIDENCE_TABLE = "evidence"
OF_LOG = (HISTORY, CHANGE)
"""The kinds that tell of the log at an index."""
Statement = tuple[Digest, int, str, StoreId]
"""The key under which statements are compared: log, term (of a change, index), kind, store."""
Place = tuple[Digest, int]
"""The key under which histories are compared: log, index."""
N = TypeVar("N", Statement, Place)
Words = BoundedDict[Voter, BoundedDict[N, Verified]]
"""The first that each voter said under each key."""


@attrs.define
class EquivocationLog:
    """The voters' statements that one node has seen, and the proofs that it holds."""

    context: Context
    seen: Words[Statement] = attrs.field(factory=lambda: BoundedDict(limits.VOTERS_SEEN_MAX))
    histories: Words[Place] = attrs.field(factory=lambda: BoundedDict(limits.VOTERS_SEEN_MAX))
    kept: KeptProofs[Evidence] = attrs.field(
        factory=lambda: KeptProofs(EVIDENCE_TABLE, Evidence, lambda: limits.EVIDENCE_KEPT_MAX)
    )
    _certified: tuple[CommitteeChain, frozenset[Voter]] | None = None

    # --- detecting --------------------------------------------------------------------------------

    def saw(self, opened: Opened, now: Now) -> None:
        """Compare votes and signatures, as their voters sealed them, with earlier ones."""
        for verified in opened:
            if verified is not None:
                self._saw_stance(verified, now)
                self._saw_of_log(verified, now)

    def _saw_stance(self, verified: Verified, now: Now) -> None:
        word = stance(verified)
        if word is None or not self.counts_against(word[0], word[2]):
            return
        log_id, term, voter, kind, named = word
        name = (log_id, term, kind, voter.store_id)
        first = _first(self.seen, voter, name, verified, limits.WORDS_SEEN_PER_VOTER_MAX)
        told = stance(first)
        if told is not None and told[4] != named:
            self._prove(first, verified, now)

    def _saw_of_log(self, verified: Verified, now: Now) -> None:
        word = said_of_log(verified) if self.context.pool_log.distrusts else None
        if word is None or not self.counts_against(word[0], word[2]):
            return
        log_id, index, voter, kind, named = word
        if kind == HISTORY:
            most = limits.HISTORIES_SEEN_PER_VOTER_MAX
            first = _first(self.histories, voter, (log_id, index), verified, most)
        else:
            name = (log_id, index, kind, voter.store_id)
            first = _first(self.seen, voter, name, verified, limits.WORDS_SEEN_PER_VOTER_MAX)
        told = said_of_log(first)
        if told is not None and told[-1] != named:
            self._prove(first, verified, now)

    def counts_against(self, log_id: Digest, voter: Voter) -> bool:
        """Whether a statement is in our log and by a voter of a certified configuration."""
        if log_id != self.context.pool_log.log_id:
            return False
        proven = self.context.leader_certificates.proven
        return voter in self._certified_voters() or any(voter in group for group in proven)

    def _certified_voters(self) -> frozenset[Voter]:
        """All voters of the chain's certified configurations, gathered once for each chain."""
        chain = self.context.pool_log.chain
        if self._certified is None or self._certified[0] is not chain:
            groups, before = [chain.base], chain.base
            for link in chain.links:
                if len(link.signatures) >= quorum_of(before):
                    groups.append(link.voters)
                before = link.voters
            self._certified = chain, frozenset(v for group in groups for v in group)
        return self._certified[1]

    def _prove(self, first: Verified, second: Verified, now: Now) -> None:
        try:
            evidence = equivocation(first, second)
        except Refusal:
            return
        if self._keep(evidence):
            self.kept.put_off(now)
            self.context.publish(EquivocationProven(evidence.first, evidence.second))

    def on_equivocation_proven(self, message: EquivocationProven, sender: Sender, now: Now) -> None:
        """A peer claims a proof: check it and keep it."""
        first, second = (*sender.enclosed, None, None)[:2]
        try:
            evidence = equivocation(first, second)
        except Refusal as error:
            self.context.log(Level.DEBUG, "a claimed proof proves nothing", why=error.message)
            return
        known = evidence.kind not in OF_LOG or self.context.pool_log.distrusts
        if known and self.counts_against(evidence.log_id, evidence.voter):
            self._keep(evidence)

    # --- keeping ----------------------------------------------------------------------------------

    def _keep(self, evidence: Evidence) -> bool:
        """Keep a proof on the disk; False if we have it, or enough of that voter."""
        written = self.kept.keep(evidence)
        if not written:
            return False
        self.context.effects.append(Persist(written))
        if evidence.kind in OF_LOG:
            self.context.log(
                Level.WARNING,
                "proof: a voter signed two words on the log at one index",
                voter=evidence.voter.node_id.hex(),
                kind=evidence.kind,
                index=evidence.index,
            )
            return True
        self.context.log(
            Level.WARNING,
            "proof: a voter signed for two in one term",
            voter=evidence.voter.node_id.hex(),
            term=evidence.term,
            kind=evidence.kind,
            first_for=evidence.first_for.node_id.hex(),
            second_for=evidence.second_for.node_id.hex(),
        )
        return True

    # --- publishing -------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """As leader, republish the proofs, one at a time: some nodes were away the first time."""
        evidence = self.kept.take_due(now) if self.context.pool_log.leads else None
        if evidence is not None:
            self.context.publish(EquivocationProven(evidence.first, evidence.second))

    def wakeup_ms(self) -> int | None:
        """Nothing wakes a node for this alone: every step checks it."""
        return None


def _first(table: Words[N], voter: Voter, name: N, verified: Verified, most: int) -> Verified:
    """The voter's first word under a key: this one, if there was none. So many are kept of each."""
    words = table.setdefault(voter, BoundedDict(most))
    table.move_to_end(voter)
    return words.setdefault(name, verified)
