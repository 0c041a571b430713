"""A leader's proofs of the log's history: asked of the voters, told with its announcements.

Intuition: an announcement says how far the log is, which is the leader's word alone. So the leader
asks all voters what the history is at its commit index, at most once a second while that moves, and
shows everybody what a quorum of them signed. It cannot make that up.

Invariants: one question at a time; an answer counts only if it is the leader's own history, of its
own term; no voter counts twice. A joint change of the committee needs no rule of its own: a voter
signs what it has applied, and it took both majorities to commit that.
Source: docs/design/certificates.md, "Signed histories".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level, Seal
from p2pool.core.fsm.state import PoolState
from p2pool.core.voter.history_signatures import history_of
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.log.certificates import SignedHistory
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import HistoryRequested, HistorySigned
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.certificates import quorum_of, said_by


@attrs.define
class HistoryProofs:
    """The proofs of one leader in one term. `proven_index`: where the newest one is; `fresh`: no
    announcement has carried it yet."""

    context: Context
    asked_index: int = 0
    asked_ms: int | None = None
    word: HistorySigned | None = None
    heard: dict[Voter, bytes] = attrs.field(factory=dict)
    proof: tuple[bytes, ...] = ()
    proven_index: int = 0
    fresh: bool = False

    def tick(self, state: PoolState, now: Now) -> None:
        """Ask if the log has moved, or if too few have answered."""
        if state.level < DISTRUST_LEVEL or now.mono_ms < self._due_ms(state.applied_index):
            return
        pool_log = self.context.pool_log
        self.asked_index, self.asked_ms = state.applied_index, now.mono_ms
        self.word, self.heard = history_of(self.context, state.applied_index), {}
        if self.word is None or pool_log.log_id is None:
            return
        # Voters sign what is committed, so they are to know that at once.
        pool_log.broadcast_commit(now)
        question = HistoryRequested(pool_log.log_id, pool_log.term, state.applied_index)
        for voter in pool_log.chain.voters:
            if voter == self.context.config.me:
                self.context.effects.append(Seal(self.word))
            else:
                self.context.tell(voter.peer_key, question)

    def wakeup_ms(self) -> int | None:
        """When to ask next, if there is anything to ask."""
        state = self.context.pool_log.state
        if state is None or state.level < DISTRUST_LEVEL:
            return None
        done = state.applied_index == self.asked_index == self.proven_index
        return None if done else self._due_ms(state.applied_index)

    def _due_ms(self, applied_index: int) -> int:
        if self.asked_ms is None:
            return 0
        if self.proven_index < self.asked_index:
            # A new question would make answers void that are on a long way.
            return self.asked_ms + limits.HISTORY_RETRY_MS
        moved = applied_index > self.asked_index
        wait_ms = limits.HISTORY_SIGN_INTERVAL_MS if moved else limits.CERTIFY_INTERVAL_MS
        return self.asked_ms + wait_ms

    def add(self, verified: Verified, now: Now) -> None:
        """A voter's answer."""
        said, ours = verified.message, self.word
        voters = self.context.pool_log.chain.voters
        if ours is None or not isinstance(said, HistorySigned) or said.voter not in voters:
            return
        if not said_by(verified, said.voter):
            return
        if attrs.evolve(said, voter=ours.voter) != ours:
            if (said.log_id, said.term, said.index) == (ours.log_id, ours.term, ours.index):
                name = said.voter.node_id.hex()
                self.context.log(
                    Level.ERROR, "a voter's log is not the leader's", voter=name, index=said.index
                )
            return
        self.heard[said.voter] = verified.sealed
        if len(self.heard) >= quorum_of(voters):
            self.fresh = self.fresh or self.proven_index != ours.index
            # While a voter is exchanged in the largest committee there is one more: not needed.
            self.proof = tuple(self.heard.values())[: limits.VOTERS_MAX]
            self.proven_index = ours.index
            # Nobody announces it to the leader itself, which seals secrets by it as others do.
            self.context.pool_log.histories.sign(SignedHistory(ours.index, ours.history))
