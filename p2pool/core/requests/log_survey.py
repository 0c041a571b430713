"""Which log each node holds, and how far: what a recovery must know before it names one.

Intuition: the node that is asked answers for itself at once and asks every connected member. It
waits a few seconds for them, no longer, and lists the silent ones as silent: a recovery is for the
time when many are.

A digest of the state at the log's end takes a walk over that state, and where the log ends in what
is not applied here, all of it is rebuilt from the snapshot first. A log that cannot go on, which is
the one that somebody recovers, needs one digest; a log that grows would need one for each question.

Invariants: each question has a deadline, and few are open at once; all peers together draw few new
digests; a node's answer gives it no right: the founder must hold the state that the record names.
"""

from collections.abc import Callable

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Reply
from p2pool.core.inputs import Asked, Sender
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.errors import Malformed, Overloaded, TooOld
from p2pool.model.ids import Digest, NodeId, PeerKey, StateDigest
from p2pool.model.log.raft import LogEnd
from p2pool.model.messages.queries import LogEndAnswered, LogEndRequested
from p2pool.model.ports.agent import LogEnds, LogHolder
from p2pool.model.timing import Now

ALL = b""
"""All peers together, in a bucket."""


@attrs.define
class Asking:
    """A question from the local API, and the peers that have not answered."""

    request_id: int
    deadline_ms: int
    awaited: dict[PeerKey, NodeId]
    found: list[LogHolder] = attrs.field(factory=list)


@attrs.define
class LogSurvey:
    """Answers for one node's log, and asks for others' on behalf of its user."""

    context: Context
    asking: dict[int, Asking] = attrs.field(factory=dict)
    made: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(1, limits.LOG_END_DIGESTS_BURST_S, 1)
    )
    _known: tuple[Digest, int, int, StateDigest | None] | None = None

    def mine(self) -> LogEnd:
        """The end of the log that this node holds, for its own user: whatever it costs."""
        return self._end(lambda: True)

    def _end(self, may_make: Callable[[], bool]) -> LogEnd:
        """The end of the log that this node holds; without a digest that is not at hand, if none
        may be made."""
        pool_log, me = self.context.pool_log, self.context.config.me
        held, followed = pool_log.held_log, pool_log.epoch
        if held is None:
            return LogEnd(me.store_id, followed, pool_log.refusal)
        s = held.raft.state
        name = (s.log_id, s.log.last_index, s.log.last_term)
        if (self._known is None or self._known[:3] != name) and may_make():
            self._known = (*name, _end_digest(held))
        known = self._known if self._known is not None and self._known[:3] == name else None
        return LogEnd(
            store_id=me.store_id,
            followed_epoch=followed,
            refusal=pool_log.refusal,
            log_id=s.log_id,
            epoch=held.root.epoch,
            base_index=s.log.base_index,
            commit_index=s.commit_index,
            last_index=s.log.last_index,
            last_term=s.log.last_term,
            state_digest=known[3] if known is not None else None,
            voters=s.configuration.voters,
            outgoing=s.configuration.outgoing,
        )

    def on_log_end_requested(self, message: LogEndRequested, sender: Sender, now: Now) -> None:
        """A peer asks which log we hold."""
        end = self._end(lambda: self.made.admit(ALL, now.mono_ms, limits.LOG_END_DIGEST_COST_S))
        self.context.tell(sender.peer_key, LogEndAnswered(message.request, end))

    def on_asked(self, asked: Asked, now: Now) -> None:
        """The local API asks for the logs of all reachable members."""
        context = self.context
        if len(self.asking) >= limits.LOG_END_QUESTIONS_MAX:
            error = Overloaded("A survey of the logs is under way.", hint="Retry in a second.")
            context.effects.append(Reply(asked.request_id, error))
            return
        me = context.config.me
        awaited = dict(context.bindings.connected_members())
        wait_ms = min(asked.deadline_ms, limits.LOG_ENDS_WAIT_MS)
        item = Asking(asked.request_id, now.mono_ms + wait_ms, awaited)
        item.found.append(LogHolder(context.me, me.peer_key, self.mine()))
        number = context.request()
        self.asking[number] = item
        for peer_key in awaited:
            context.tell(peer_key, LogEndRequested(number))
        self.tick(now)

    def on_log_end_answered(self, message: LogEndAnswered, sender: Sender, now: Now) -> None:
        """A peer's answer: the log that it holds."""
        item = self.asking.get(message.request)
        node_id = item.awaited.pop(sender.peer_key, None) if item is not None else None
        if item is not None and node_id is not None:
            item.found.append(LogHolder(node_id, sender.peer_key, message.end))
            self.tick(now)

    def tick(self, now: Now) -> None:
        """Answer questions that are complete, or have waited long enough."""
        for number, item in tuple(self.asking.items()):
            if item.awaited and now.mono_ms < item.deadline_ms:
                continue
            del self.asking[number]
            found = tuple(sorted(item.found, key=lambda h: h.node_id))
            silent = tuple(sorted(item.awaited.values()))
            self.context.effects.append(Reply(item.request_id, LogEnds(found, silent)))

    def wakeup_ms(self) -> int | None:
        """When a question has waited long enough."""
        return min((item.deadline_ms for item in self.asking.values()), default=None)


def _end_digest(held: StoredLog) -> StateDigest | None:
    """The digest at the end of a log; None if this program is too old to read that far, or the
    state there is too large for one."""
    try:
        return held.end_digest()
    except (TooOld, Malformed):
        return None
