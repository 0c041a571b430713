"""A voter's signatures over the log's history: what lets others tell a lying leader.

Intuition: a leader asks its voters for the history at an index, about once a second while the log
moves. The index is the leader's choice, the history is the voter's own: the hash over what it has
applied up to there. A quorum of equal answers travels with the leader's announcements.

Invariants: a voter signs only what is committed here, for the leader that it follows, and at most
once in `limits.HISTORY_SIGN_INTERVAL_MS`; its commit index is on the disk before it says so, so
that after a restart no leader has it replace what it signed.
Source: docs/design/certificates.md, "Signed histories".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import HistoryRequested, HistorySigned
from p2pool.model.timing import Now


@attrs.define
class HistorySignatures:
    """One voter's answers. `asked`: the newest question, and who asked it."""

    context: Context
    asked: tuple[HistoryRequested, PeerKey] | None = None
    signed_ms: int | None = None

    def on_history_requested(self, message: HistoryRequested, sender: Sender, now: Now) -> None:
        """A leader asks: only the one that we follow gets an answer."""
        if self._follows(message, sender.peer_key):
            self.asked = (message, sender.peer_key)

    def tick(self, now: Now) -> None:
        """Answer when it is time, and what was asked for is applied here."""
        if self.asked is None or now.mono_ms < self._due_ms():
            return
        message, peer_key = self.asked
        pool_log = self.context.pool_log
        if not self._follows(message, peer_key):
            self.asked = None
        elif pool_log.applied_index >= message.index:
            self.asked = None
            word = history_of(self.context, message.index)
            if word is not None:
                self.signed_ms = now.mono_ms
                self.context.tell(peer_key, word)

    def wakeup_ms(self) -> int | None:
        """When an answer is due that is not held up by the log alone."""
        if self.asked is None or self.context.pool_log.applied_index < self.asked[0].index:
            return None
        return self._due_ms()

    def _due_ms(self) -> int:
        signed_ms = self.signed_ms
        return signed_ms + limits.HISTORY_SIGN_INTERVAL_MS if signed_ms is not None else 0

    def _follows(self, message: HistoryRequested, peer_key: PeerKey) -> bool:
        raft = self.context.pool_log.raft
        leader: Voter | None = raft.state.leader if raft is not None else None
        if raft is None or leader is None or leader.peer_key != peer_key:
            return False
        return (message.log_id, message.term) == (raft.state.log_id, raft.state.hard.term)


def history_of(context: Context, index: int) -> HistorySigned | None:
    """Our word for the history at an index, as a voter; None if we are none, or no longer know it.
    It makes the commit index durable with the same step."""
    pool_log, me = context.pool_log, context.config.me
    history = pool_log.histories.ours.get(index)
    if history is None or pool_log.log_id is None or me not in pool_log.chain.voters:
        return None
    pool_log.keep_commit()
    return HistorySigned(
        log_id=pool_log.log_id, term=pool_log.term, voter=me, index=index, history=history
    )
