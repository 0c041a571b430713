"""The voters' agreement that the chain has put a voter out: asked for, and counted.

Intuition: one endpoint can lie or get stuck, and then a leader would remove healthy voters, or
never notice that it is out itself. So a node that reads that a voter is out asks the other voters
what they read, and acts only if a majority of them (all but the one in question) says the same. In
a committee of two that is the other one alone; in a committee of one nobody can confirm it.

Invariants: an answer counts only for a while, and only from a finalized block not older than the
one that the asker read; a voter that has not read that far says "unknown", which counts as neither.
The committee's size bounds all questions and answers.
Source: docs/design/consensus.md, "Removal on account of the chain".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Voter, majority
from p2pool.model.messages.queries import RemovalConfirmed, RemovalConfirmRequested
from p2pool.model.states import ChainStanding
from p2pool.model.timing import Now


@attrs.define
class RemovalPoll:
    """A voter that we read as out: the block, since when, and what the others read."""

    block: int
    since_ms: int
    asked_ms: int | None = None
    request: int = 0
    answers: dict[NodeId, tuple[ChainStanding, int]] = attrs.field(factory=dict)

    def says(self, node_id: NodeId, now: Now) -> ChainStanding:
        """What another voter read, unless that is too old."""
        standing, heard_ms = self.answers.get(node_id, (ChainStanding.UNKNOWN, 0))
        fresh = now.mono_ms - heard_ms <= limits.CONFIRM_LIFETIME_MS
        return standing if fresh else ChainStanding.UNKNOWN


@attrs.define
class RemovalAgreement:
    """The voters that this node reads as out, and what the other voters read."""

    context: Context
    polls: dict[NodeId, RemovalPoll] = attrs.field(factory=dict)

    def tick(self, now: Now) -> None:
        """Open polls for voters that are newly out, and close those of voters that are back."""
        roster = self.context.roster
        voters = self.context.pool_log.configuration.electors
        out = [v.node_id for v in voters if roster.reads_out(v.node_id)]
        for node_id in tuple(self.polls):
            if node_id not in out:
                del self.polls[node_id]
        for node_id in out:
            if node_id not in self.polls:
                assert roster.reading is not None
                self.polls[node_id] = RemovalPoll(roster.reading.final.block_number, now.mono_ms)

    def out_since_ms(self, node_id: NodeId) -> int | None:
        """Since when we read a voter as out, on the monotonic clock."""
        poll = self.polls.get(node_id)
        return poll.since_ms if poll is not None else None

    def ask(self, node_id: NodeId, now: Now) -> None:
        """Ask the other voters, and the one in question, what they read; repeat now and then."""
        poll = self.polls.get(node_id)
        if poll is None:
            return
        asked_ms = poll.asked_ms
        if asked_ms is not None and now.mono_ms - asked_ms < limits.CONFIRM_INTERVAL_MS:
            return
        poll.asked_ms, poll.request = now.mono_ms, self.context.request()
        question = RemovalConfirmRequested(poll.request, node_id, poll.block)
        for voter in self.context.pool_log.configuration.electors:
            if voter.node_id != self.context.me:
                self.context.tell(voter.peer_key, question)

    def on_removal_confirm_requested(
        self, message: RemovalConfirmRequested, sender: Sender, now: Now
    ) -> None:
        """Tell a voter what we read ourselves."""
        standing, block = self.context.roster.standing(message.node_id, message.block)
        answer = RemovalConfirmed(message.request, message.node_id, standing, block)
        self.context.tell(sender.peer_key, answer)

    def on_removal_confirmed(self, message: RemovalConfirmed, sender: Sender, now: Now) -> None:
        """A voter's answer to our newest question."""
        poll = self.polls.get(message.node_id)
        if poll is None or message.request != poll.request:
            return
        known = message.standing if message.block >= poll.block else ChainStanding.UNKNOWN
        poll.answers[sender.node_id] = (known, now.mono_ms)

    def agreeing(self, node_id: NodeId, now: Now) -> tuple[Voter, ...]:
        """The other voters that read it as out, including us; none unless we do."""
        poll, me = self.polls.get(node_id), self.context.me
        if poll is None:
            return ()
        return tuple(
            v
            for v in self.context.pool_log.configuration.electors
            if v.node_id != node_id
            and (v.node_id == me or poll.says(v.node_id, now) is ChainStanding.OUT)
        )

    def confirmed(self, node_id: NodeId, now: Now) -> bool:
        """Whether we and a majority of the other voters read that it is out."""
        voters = self.context.pool_log.configuration.electors
        others = sum(v.node_id != node_id for v in voters)
        return others > 0 and len(self.agreeing(node_id, now)) >= majority(others)

    def own_answer(self, node_id: NodeId, now: Now) -> ChainStanding | None:
        """What the voter in question read of itself; None until it answers."""
        poll = self.polls.get(node_id)
        if poll is None or node_id not in poll.answers:
            return None
        return poll.says(node_id, now)
