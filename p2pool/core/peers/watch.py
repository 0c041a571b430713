"""Watching a few connected peers: probes that the peer's core must answer.

Intuition: a peer that we hear from is alive. One that is silent for a probe interval gets a probe;
three misses in a row make a hint, and so does a lost connection that nobody restores in time. The
peer's core answers the probe, so a process that hangs behind a live socket does not pass for alive.
A node watches only its next neighbours in the ring of node ids, so the cost of watching does not
grow with the pool.

Invariants: every probe has a deadline; a node draws at most one hint in `SUSPICION_MS`.
Source: docs/design/health.md, "Detecting failure"; SWIM, 3.1.
"""

import attrs

from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.timing import Now


@attrs.define
class Watched:
    """One watched node: when we last heard it, the probe in flight, the misses so far."""

    heard_ms: int
    due_ms: int
    request: int = 0
    misses: int = 0
    lost_ms: int | None = None
    hinted_ms: int | None = None


@attrs.define
class Watch:
    """The nodes that this one watches."""

    me: NodeId
    watched: dict[NodeId, Watched] = attrs.field(factory=dict)

    def choose(self, members: tuple[NodeId, ...], connected: tuple[NodeId, ...], now: Now) -> None:
        """Watch the next few peers in the ring after us, of those that were ever connected."""
        ring = sorted(connected)
        after = [n for n in ring if n > self.me] + [n for n in ring if n < self.me]
        wanted = dict.fromkeys(after[: limits.WATCHED_MAX])
        belongs = dict.fromkeys(members)
        for node_id in tuple(self.watched):
            lost = self.watched[node_id].lost_ms is not None
            if node_id not in belongs or (node_id not in wanted and not lost):
                del self.watched[node_id]
        for node_id in wanted:
            if node_id not in self.watched:
                self.watched[node_id] = Watched(now.mono_ms, now.mono_ms + limits.PROBE_INTERVAL_MS)

    def heard(self, node_id: NodeId, now: Now) -> None:
        """The node itself sent something, over our connection or freshly signed."""
        entry = self.watched.get(node_id)
        if entry is not None:
            entry.heard_ms, entry.misses, entry.request = now.mono_ms, 0, 0
            entry.due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS

    def connected(self, node_id: NodeId) -> None:
        """Its connection is up (again)."""
        entry = self.watched.get(node_id)
        if entry is not None:
            entry.lost_ms = None

    def lost(self, node_id: NodeId, now: Now) -> None:
        """Its connection is gone: a hint follows unless it soon comes back."""
        entry = self.watched.get(node_id)
        if entry is not None and entry.lost_ms is None:
            entry.lost_ms = now.mono_ms
            entry.due_ms = min(entry.due_ms, now.mono_ms + limits.LOST_HINT_MS)

    def lagged(self, now: Now) -> None:
        """Our own loop was late, so the silence may be ours: start all watches over."""
        for entry in self.watched.values():
            entry.heard_ms, entry.misses, entry.request = now.mono_ms, 0, 0
            entry.due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS

    def suspects(self, now: Now) -> dict[NodeId, str]:
        """The nodes that we miss: a recent hint, and nothing heard since."""
        return {
            node_id: "its neighbours miss it"
            for node_id, w in self.watched.items()
            if w.hinted_ms is not None
            and w.heard_ms < w.hinted_ms
            and now.mono_ms - w.hinted_ms < limits.SUSPICION_MS
        }

    def due(self, now: Now) -> tuple[NodeId, ...]:
        """Nodes that need a step now."""
        return tuple(n for n, w in self.watched.items() if now.mono_ms >= w.due_ms)

    def step(self, node_id: NodeId, request: int, now: Now) -> tuple[bool, str | None]:
        """Do a node's due step: (whether to send a probe of this number, a hint or None)."""
        entry = self.watched[node_id]
        if entry.request or entry.lost_ms is not None:
            entry.misses += 1
        entry.request = request
        entry.due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
        lost = entry.lost_ms is not None
        missed = entry.misses >= limits.PROBE_MISSES
        said_ms = entry.hinted_ms
        quiet = said_ms is None or now.mono_ms - said_ms >= limits.SUSPICION_MS
        if (lost or missed) and quiet:
            entry.hinted_ms = now.mono_ms
            reason = "its connection was lost" if lost else f"{entry.misses} probes were missed"
            return True, reason
        return True, None

    def wakeup_ms(self) -> int | None:
        """When something is due next."""
        return min((w.due_ms for w in self.watched.values()), default=None)
