"""The leader by announcement, as far as this node believes it.

Intuition: a participant knows its leader by Raft; any other node goes by announcements, which come
every few seconds. `follower.certificate_exchange` notes the proven ones here.

Invariants: the last believed term never falls within one log; an announcement lapses after three
intervals.
"""

import attrs

from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.timing import Now


@attrs.define
class AnnouncedLeader:
    """The node whose announcement we believed last."""

    node_id: NodeId | None = None
    term: int = 0
    heard_ms: int | None = None

    def note(self, node_id: NodeId, term: int, now: Now) -> None:
        """An announcement has proof; one of an earlier term changes nothing."""
        if term >= self.term:
            self.node_id, self.term, self.heard_ms = node_id, term, now.mono_ms

    def forget(self) -> None:
        """Another log: announcements for the last one no longer count."""
        self.node_id, self.term, self.heard_ms = None, 0, None

    def fresh(self, now: Now) -> NodeId | None:
        """The leader by a fresh announcement, or None."""
        if self.heard_ms is None:
            return None
        fresh = now.mono_ms - self.heard_ms <= 3 * limits.ANNOUNCE_INTERVAL_MS
        return self.node_id if fresh else None
