"""What voters read of a voter that the chain has put out: asked for, and counted.

Intuition: one endpoint can lie or stand still, and then a leader would throw healthy voters out, or
never notice that it is out itself. So whoever reads that a voter is out asks the other voters what
they read, and acts only when a majority of them (all but the one in question) says the same. In a
committee of two that is the other one alone; in a committee of one there is nobody to say so.

Invariants: an answer counts for a while only, and only from a finalized block that is at least the
one at which the asker saw it; who has not read that far says "unknown", which counts as neither.
What is asked and kept is bounded by the committee's size. Source: design, section 7.
"""

import attrs

from p2pool.core.context import Context
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Voter, majority
from p2pool.model.messages.queries import RemovalConfirmed, RemovalConfirmRequested
from p2pool.model.states import ChainStanding
from p2pool.model.timing import Now


@attrs.define
class RemovalPoll:
    """A voter that we read as out: at which block and since when, and what the others read."""

    block: int
    since_ms: int
    asked_ms: int | None = None
    request: int = 0
    answers: dict[NodeId, tuple[ChainStanding, int]] = attrs.field(factory=dict)

    def says(self, node_id: NodeId, now: Now) -> ChainStanding:
        """What one of the others read, as far as that is not too old."""
        standing, heard_ms = self.answers.get(node_id, (ChainStanding.UNKNOWN, 0))
        fresh = now.mono_ms - heard_ms <= limits.CONFIRM_LIFETIME_MS
        return standing if fresh else ChainStanding.UNKNOWN


@attrs.define
class RemovalAgreement:
    """The voters that this node reads as out, and what the other voters read."""

    context: Context
    inquiries: dict[NodeId, RemovalPoll] = attrs.field(factory=dict)

    def tick(self, now: Now) -> None:
        """Note who has come to be out, and who is not any more."""
        roster = self.context.roster
        voters = self.context.ledger.configuration.voters
        out = [v.node_id for v in voters if roster.barred(v.node_id)]
        for node_id in tuple(self.inquiries):
            if node_id not in out:
                del self.inquiries[node_id]
        for node_id in out:
            if node_id not in self.inquiries:
                assert roster.final is not None
                self.inquiries[node_id] = RemovalPoll(roster.final.block_number, now.mono_ms)

    def out_since_ms(self, node_id: NodeId) -> int | None:
        """Since when we read a voter as out, on the monotonic clock."""
        inquiry = self.inquiries.get(node_id)
        return inquiry.since_ms if inquiry is not None else None

    def ask(self, node_id: NodeId, now: Now) -> None:
        """Ask the other voters, and the one in question, what they read; now and then again."""
        inquiry = self.inquiries.get(node_id)
        if inquiry is None:
            return
        asked_ms = inquiry.asked_ms
        if asked_ms is not None and now.mono_ms - asked_ms < limits.CONFIRM_INTERVAL_MS:
            return
        inquiry.asked_ms, inquiry.request = now.mono_ms, self.context.request()
        question = RemovalConfirmRequested(inquiry.request, node_id, inquiry.block)
        for voter in self.context.ledger.configuration.voters:
            if voter.node_id != self.context.me:
                self.context.tell(voter.peer_key, question)

    def asked(self, sender: Voter, asked: RemovalConfirmRequested) -> None:
        """Tell a voter what we read ourselves."""
        standing, block = self.context.roster.standing(asked.node_id, asked.block)
        answer = RemovalConfirmed(asked.request, asked.node_id, standing, block)
        self.context.tell(sender.peer_key, answer)

    def answered(self, sender: Voter, answer: RemovalConfirmed, now: Now) -> None:
        """A voter's answer to our newest question."""
        inquiry = self.inquiries.get(answer.node_id)
        if inquiry is None or answer.request != inquiry.request:
            return
        known = answer.standing if answer.block >= inquiry.block else ChainStanding.UNKNOWN
        inquiry.answers[sender.node_id] = (known, now.mono_ms)

    def agreeing(self, node_id: NodeId, now: Now) -> tuple[Voter, ...]:
        """The other voters that read it as out, ourselves among them; none where we do not."""
        inquiry, me = self.inquiries.get(node_id), self.context.me
        if inquiry is None:
            return ()
        return tuple(
            v for v in self.context.ledger.configuration.voters
            if v.node_id != node_id
            and (v.node_id == me or inquiry.says(v.node_id, now) is ChainStanding.OUT)
        )  # fmt: skip

    def confirmed(self, node_id: NodeId, now: Now) -> bool:
        """Whether a majority of the other voters read that it is out, and we do."""
        voters = self.context.ledger.configuration.voters
        others = sum(v.node_id != node_id for v in voters)
        return others > 0 and len(self.agreeing(node_id, now)) >= majority(others)

    def own_word(self, node_id: NodeId, now: Now) -> ChainStanding | None:
        """What the one in question has read of itself; None while it has not answered."""
        inquiry = self.inquiries.get(node_id)
        if inquiry is None or node_id not in inquiry.answers:
            return None
        return inquiry.says(node_id, now)
