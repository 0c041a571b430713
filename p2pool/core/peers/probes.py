"""Probes: direct ones, indirect ones for others, and the nodes that this one misses.

Intuition: any message from the node itself is a sign of life. A node probes the few that it watches
(`peers.watch`), and probes indirectly for a leader with a suspicion: it says whether it reaches the
node.

Invariants: a node probes on behalf of the certified leader alone; each probe has a deadline; a node
whose own loop was late vouches for nobody for a while; indirect probes are bounded.
Source: docs/design/health.md, "Detecting failure"; SWIM, 3.1; Lifeguard (local health).
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.inputs import Sender
from p2pool.core.peers.watch import Watch
from p2pool.model import limits
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.queries import (
    Ping,
    Pong,
    ProbeAnswered,
    ProbeRequested,
    SuspicionReported,
)
from p2pool.model.timing import Now


@attrs.frozen
class IndirectProbe:
    """A probe on behalf of a peer."""

    node_id: NodeId
    peer_key: PeerKey
    request: int
    deadline_ms: int


@attrs.define
class Probes:
    """The probes of one node. `busy`: its own loop was late recently."""

    context: Context
    watch: Watch
    indirect: list[IndirectProbe] = attrs.field(factory=list)
    round_due_ms: int = 0
    busy_until_ms: int = 0
    busy: bool = False

    # --- signs of life ----------------------------------------------------------------------------

    def alive(self, node_id: NodeId, now: Now) -> None:
        """The node itself sent something new."""
        self.watch.heard(node_id, now)
        if not self.indirect:
            return
        for item in tuple(self.indirect):
            if item.node_id == node_id:
                self.indirect.remove(item)
                answer = ProbeAnswered(item.request, node_id, True, True)
                self.context.tell(item.peer_key, answer)

    def lagged(self, now: Now) -> None:
        """Our own loop was late: for a while our view of others does not count."""
        self.busy, self.busy_until_ms = True, now.mono_ms + limits.JUDGEMENT_GRACE_MS
        self.watch.lagged(now)
        for item in self.indirect:
            answer = ProbeAnswered(item.request, item.node_id, False, False)
            self.context.tell(item.peer_key, answer)
        self.indirect = []

    def on_ping(self, message: Ping, sender: Sender, now: Now) -> None:
        """Answer a probe through the core."""
        self.context.tell(sender.peer_key, Pong(message.request, self.busy))

    def on_pong(self, message: Pong, sender: Sender, now: Now) -> None:
        """Nothing to do: like any message, it already counted as a sign of life."""

    def on_probe_requested(self, message: ProbeRequested, sender: Sender, now: Now) -> None:
        """The leader wants to know whether we reach a node; for anybody else we dial nobody."""
        leader = self.context.leader_certificates.leader(now)
        leads = leader is not None and (leader.node_id, leader.peer_key) == (
            sender.node_id,
            sender.peer_key,
        )
        known = leads and self.context.bindings.key_of(message.node_id) is not None
        if not known or self.busy or len(self.indirect) >= limits.SUSPICIONS_MAX:
            answer = ProbeAnswered(message.request, message.node_id, False, False)
            self.context.tell(sender.peer_key, answer)
            return
        # A connected node may only be slow; without a connection, we dial it once.
        stands = self.context.bindings.is_connected(message.node_id)
        patience_ms = limits.WITNESS_PATIENCE_MS if stands else limits.PROBE_TIMEOUT_MS
        deadline_ms = now.mono_ms + patience_ms
        self.indirect.append(
            IndirectProbe(message.node_id, sender.peer_key, message.request, deadline_ms)
        )
        # Sending to a disconnected peer makes the network dial it.
        self.context.send(message.node_id, Ping(self.context.request()))

    # --- whom we miss -----------------------------------------------------------------------------

    def missed(self, now: Now) -> list[tuple[NodeId, str]]:
        """Run `watched` if anything is due."""
        watch_ms = self.watch.wakeup_ms()
        due = now.mono_ms >= self.round_due_ms or (watch_ms is not None and now.mono_ms >= watch_ms)
        return self.watched(now) if due else []

    def watched(self, now: Now) -> list[tuple[NodeId, str]]:
        """Probe the watched nodes; hint at missed ones to the leader, and return them with why."""
        context, hints = self.context, []
        connected = tuple(node_id for _, node_id in context.bindings.connected_members())
        members = tuple(self.context.roster.standings)
        self.watch.choose(members, connected, now)
        for node_id in self.watch.due(now):
            number = context.request()
            send, hint = self.watch.step(node_id, number, now)
            if send:
                context.send(node_id, Ping(number))
            if hint is not None and not self.busy and context.clocks.wrong is None:
                hints.append((node_id, hint))
                leader = context.leader(now)
                if leader is not None and leader != context.me:
                    context.send(leader, SuspicionReported(node_id, hint))
        return hints

    # --- what is due ------------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Answer the indirect probes that failed."""
        self.busy = now.mono_ms < self.busy_until_ms
        for item in tuple(self.indirect):
            if now.mono_ms >= item.deadline_ms:
                self.indirect.remove(item)
                answer = ProbeAnswered(item.request, item.node_id, False, not self.busy)
                self.context.tell(item.peer_key, answer)
        if now.mono_ms >= self.round_due_ms:
            self.round_due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS

    def wakeup_ms(self) -> int:
        """When something is due next."""
        dues = [item.deadline_ms for item in self.indirect]
        watch_ms = self.watch.wakeup_ms()
        if watch_ms is not None:
            dues.append(watch_ms)
        return min((*dues, self.round_due_ms))
