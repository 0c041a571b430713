"""What a leader decides from the committed state and what it hears: pure, and only proposals.

Each function reads, and returns records to propose; applying them checks again whether they fit.
Deadlines are in log time, the leader's clock made monotonic, so a new leader goes on where the last
one stopped. Source: docs/design/consensus.md, "What a leader does".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from p2pool.codec.text.clip import clipped
from p2pool.core.context import Context
from p2pool.core.fsm.nodes import back_of_late
from p2pool.core.fsm.state import Allocation, NodeRecord, PoolState, Stray
from p2pool.core.fsm.tasks import follows, may_take_back, past_deadline, should_run
from p2pool.core.scheduler.capacity import NodeOffer
from p2pool.model import limits
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import AllocationId, NodeId
from p2pool.model.log.entries import NodeChanged, Outcome, ReplacementHeld, ReportApplied
from p2pool.model.messages.gossip import Heartbeat
from p2pool.model.states import (
    INTENT,
    REACHABILITY,
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Intent,
    IntentEvent,
    Membership,
    Reachability,
    ReachabilityEvent,
    advance,
)
from p2pool.model.tasks.spec import OnDisconnect, TaskSpec
from p2pool.model.timing import Now

FOREVER = -1
NEVER_MS = 2**62
GONE = (Reachability.UNREACHABLE, Reachability.DEAD)
FOUND = (
    AllocationState.PULLING,
    AllocationState.STARTING,
    AllocationState.RUNNING,
    AllocationState.STOPPING,
)
FOUND_REASON = "its node was heard again, and still has it"


def log_time_ms(state: PoolState, now: Now) -> int:
    """The log time of an entry proposed now."""
    return max(now.wall_ms, state.log_time_ms)


def adopting(state: PoolState, now: Now) -> bool:
    """Whether the pool was just recovered: running copies must report before any placement, or the
    leader would place them a second time."""
    since_ms = state.recovered_at_ms
    return since_ms > 0 and log_time_ms(state, now) < since_ms + limits.ADOPTION_WAIT_MS


def lost(context: Context, state: PoolState, now: Now, judges: bool = True) -> list[ReportApplied]:
    """Copies on nodes that left the pool, or were unreachable for longer than their tasks allow and
    are still silent; the latter not during a hold on replacement, nor unless `judges`. And what was
    lost before and is found again, as its node's heartbeat says: copies that nothing replaced."""
    at_ms = log_time_ms(state, now)
    held = not judges or at_ms < max(state.held_until_ms, hold_until_ms(context, state, at_ms))
    out: list[ReportApplied] = []
    for node_id in state.occupied_nodes():
        node = state.node(node_id)
        left = context.roster.out_finally(node_id)
        gone = node.reachability in GONE and not held and not _heard_since(context, node, now)
        outcomes: list[Outcome] = []
        missing: list[Allocation | Stray] = []
        for copy in state.on_node(node_id):
            if copy.state is AllocationState.LOST:
                missing.append(copy)
            if not copy.holds or copy.state is AllocationState.LOST:
                continue
            spec = state.tasks[copy.allocation.task_id].spec
            if left:
                outcomes.append(_becomes(copy, AllocationState.LOST, "its node left the pool"))
            elif gone and at_ms >= replaced_at_ms(node, spec):
                reason = f"its node is unreachable: {node.reason}"
                outcomes.append(_becomes(copy, AllocationState.LOST, reason))
        if state.strays and back_of_late(node, at_ms):
            missing += [stray for stray in state.strays_on(node_id) if may_take_back(state, stray)]
        if missing and not left:
            outcomes += _found(context, state, node, missing, now)
        out += _records(node_id, outcomes)
    return out


def _found(
    context: Context,
    state: PoolState,
    node: NodeRecord,
    missing: list[Allocation | Stray],
    now: Now,
) -> Iterator[Outcome]:
    """Lost copies that their node, which is heard again, says to have, and copies that others were
    about to replace. A worker reports only what is news to it, and that its copy was taken for lost
    is none."""
    beat = context.heartbeats.fresh(node.node_id, context.roster.size(), now)
    back = node.reachability is Reachability.HEALTHY or _heard_since(context, node, now)
    if beat is None or not back:
        return
    said = {(one.allocation, one.attempt): one.state for one in beat.allocations}
    for copy in missing:
        becomes = said.get((copy.allocation, copy.attempt))
        if isinstance(copy, Stray):
            if becomes is AllocationState.RUNNING:
                yield Outcome(copy.allocation, copy.attempt, becomes, FOUND_REASON)
        elif becomes in FOUND and should_run(state, copy) and follows(state, copy, becomes):
            yield Outcome(copy.allocation, copy.attempt, becomes, FOUND_REASON)


def undelivered(state: PoolState, nodes: Iterable[NodeId], now: Now) -> list[ReportApplied]:
    """Copies on these nodes, which answer no order, that nobody reported for as long as their tasks
    allow: they go elsewhere. If one runs all the same, an order stops it."""
    at_ms = log_time_ms(state, now)
    out: list[ReportApplied] = []
    for node_id in nodes:
        outcomes = [
            _becomes(copy, AllocationState.LOST, "its node answers no order")
            for copy in state.on_node(node_id)
            if copy.state is AllocationState.ASSIGNED
            and at_ms >= copy.placed_at_ms + _window_ms(state.tasks[copy.allocation.task_id].spec)
        ]
        out += _records(node_id, outcomes)
    return out


def replaced_at_ms(node: NodeRecord, spec: TaskSpec) -> int:
    """When to replace a copy on an unreachable node, in log time."""
    margin_ms = limits.DISCONNECT_STOP_MARGIN_MS if spec.on_disconnect is OnDisconnect.STOP else 0
    return node.changed_at_ms + _window_ms(spec) + margin_ms


def _window_ms(spec: TaskSpec) -> int:
    return NEVER_MS if spec.reconnect_window_s == FOREVER else spec.reconnect_window_s * 1000


def vanished(context: Context, state: PoolState, at_ms: int) -> list[int]:
    """When the nodes vanished that did so together: at least a third of the pool, within one minute
    of the last ten, and not back yet; else nothing. The network is the likelier cause.
    """
    times = sorted(
        n.changed_at_ms
        for n in state.nodes.values()
        if n.reachability is Reachability.UNREACHABLE
        and context.roster.belongs(n.node_id)
        and at_ms - n.changed_at_ms < limits.MASS_LOSS_HOLD_MS
    )
    most: list[int] = []
    for first in times:
        together = [t for t in times if first <= t <= first + limits.MASS_LOSS_WINDOW_MS]
        many = len(together) >= limits.MASS_LOSS_MIN_NODES
        if many and 3 * len(together) >= context.roster.size():
            most = together  # The last such minute gives the longest hold.
    return most


def hold_until_ms(context: Context, state: PoolState, at_ms: int) -> int:
    """Until when to hold replacement, in log time; 0 for no hold."""
    together = vanished(context, state, at_ms)
    return together[-1] + limits.MASS_LOSS_HOLD_MS if together else 0


def holding(context: Context, state: PoolState, now: Now) -> list[ReplacementHeld]:
    """Start, extend or end a hold on replacement."""
    at_ms = log_time_ms(state, now)
    together = vanished(context, state, at_ms)
    if together:
        until_ms = together[-1] + limits.MASS_LOSS_HOLD_MS
        if until_ms <= state.held_until_ms:
            return []
        seconds = (together[-1] - together[0]) // 1000
        reason = f"{len(together)} of {context.roster.size()} nodes vanished within {seconds} s"
        return [ReplacementHeld(until_ms, reason)]
    return [ReplacementHeld(0)] if state.held_until_ms else []


def to_stop(context: Context, state: PoolState, now: Now) -> list[ReportApplied]:
    """Copies past their deadline, or on nodes that are draining, banned or not eligible."""
    at_ms = log_time_ms(state, now)
    out: list[ReportApplied] = []
    for node_id in state.occupied_nodes():
        why = _drained_because(context, state.node(node_id))
        outcomes: list[Outcome] = []
        for copy in state.on_node(node_id):
            if copy.terminal or copy.state is AllocationState.STOPPING:
                continue
            if past_deadline(state.tasks[copy.allocation.task_id], copy, at_ms):
                outcomes.append(_becomes(copy, AllocationState.STOPPING, "its deadline passed"))
            elif why is not None:
                outcomes.append(_becomes(copy, AllocationState.STOPPING, why))
        out += _records(node_id, outcomes)
    return out


def _drained_because(context: Context, node: NodeRecord) -> str | None:
    if context.roster.ended:
        return "the pool has ended"
    if node.intent is not Intent.ELIGIBLE:
        return f"its node is {node.intent.name.lower()}"
    known = context.roster.known and context.roster.belongs(node.node_id)
    if known and not context.roster.eligible(node.node_id):
        member = context.roster.member(node.node_id)
        return f"its node is not eligible: {member.reason if member else ''}"
    return None


def nodes_changed(context: Context, state: PoolState, now: Now) -> list[NodeChanged]:
    """Nodes that are back, dead, or done with draining."""
    out: list[NodeChanged] = []
    at_ms = log_time_ms(state, now)
    for node in state.nodes.values():
        event, reason = _reachability_event(context, node, at_ms, now)
        becomes = advance(REACHABILITY, node.reachability, event) if event is not None else None
        drained = advance(INTENT, node.intent, IntentEvent.DRAIN_FINISHED)
        if becomes is not None:
            out.append(NodeChanged(node.node_id, becomes, node.intent, reason))
        elif drained is not None and not state.holders(node.node_id):
            out.append(NodeChanged(node.node_id, node.reachability, drained, "drained"))
    return out


def _reachability_event(
    context: Context, node: NodeRecord, at_ms: int, now: Now
) -> tuple[ReachabilityEvent | None, str]:
    """What happened to an unreachable or dead node, and the reason for the log."""
    if node.reachability in GONE and _heard_since(context, node, now):
        return ReachabilityEvent.HEARD, "heard again"
    unreachable = node.reachability is Reachability.UNREACHABLE
    if unreachable and at_ms - node.changed_at_ms >= limits.DEAD_AFTER_MS:
        event = ReachabilityEvent.UNREACHABLE_EXPIRED
        return event, clipped(f"unreachable for a day: {node.reason}", limits.NAME_MAX_BYTES)
    return None, ""


def _heard_since(context: Context, node: NodeRecord, now: Now) -> bool:
    """Whether a heartbeat is fresh, by our clock and its sender's, and came after the judgement."""
    beat = context.heartbeats.newest.get(node.node_id)
    judged_ms = context.judgements.since_ms.get(node.node_id)
    if beat is None or judged_ms is None or beat.heard_at.mono_ms <= judged_ms:
        return False  # `judged_ms` None: this very step applied the judgement.
    fresh_ms = 2 * context.heartbeats.interval_ms(context.roster.size())
    sent_ago_ms = abs(now.wall_ms - beat.sent_at_ms)
    fresh = now.mono_ms - beat.heard_at.mono_ms <= fresh_ms
    return fresh and sent_ago_ms <= fresh_ms + limits.CLOCK_SKEW_MAX_MS


def silent(context: Context, state: PoolState, since_ms: int, now: Now) -> Iterator[NodeId]:
    """Members judged healthy that sent no heartbeat for three intervals."""
    patience_ms = context.heartbeats.patience_ms(context.roster.size())
    for member in context.roster.members():
        node_id = member.node_id
        if node_id == context.me or state.node(node_id).reachability is not Reachability.HEALTHY:
            continue
        heard_ms = context.heard_ms(node_id)
        if heard_ms is None and not state.holders(node_id):
            continue
        if now.mono_ms - max(since_ms, heard_ms or 0) >= patience_ms:
            yield node_id


def offers(
    context: Context, state: PoolState, doubts: Mapping[NodeId, str], now: Now
) -> tuple[NodeOffer, ...]:
    """Every member with known hardware, and why it may not get work, if so. `doubts`: what speaks
    against single nodes right now."""
    out: list[NodeOffer] = []
    for member in context.roster.members():
        hardware = context.heartbeats.hardware_of(member.node_id)
        if hardware is None:
            continue
        reason = doubts.get(member.node_id) or _unusable_because(context, state, member, now)
        eligible = reason is None
        out.append(
            NodeOffer(
                node_id=member.node_id,
                provider=member.provider,
                hardware=hardware,
                eligible=eligible,
                reason=reason,
            )
        )
    return tuple(out)


def nobody_unheard(context: Context, state: PoolState) -> bool:
    """Whether each member's hardware is known, those apart that the log has given up: who has not
    been heard might run what the others refuse."""
    for member in context.roster.members():
        node = state.node(member.node_id)
        given_up = node.reachability is Reachability.DEAD or node.membership is Membership.STALLED
        if context.heartbeats.hardware_of(member.node_id) is None and not given_up:
            return False
    return True


def refused_everywhere(
    context: Context, state: PoolState, failed: Sequence[tuple[AllocationId, str]]
) -> list[ReportApplied]:
    """The end of copies that every node refuses to start."""
    outcomes = []
    for name, reason in failed[: limits.REASONS_PER_ENTRY_MAX]:
        if (copy := state.allocation(name)) is not None:
            outcomes.append(Outcome(name, copy.attempt, AllocationState.FAILED, reason))
    return list(_records(context.me, outcomes))


def _unusable_because(
    context: Context, state: PoolState, member: ChainMember, now: Now
) -> str | None:
    node = state.node(member.node_id)
    beat = context.heartbeats.newest[member.node_id]
    if context.roster.ended:
        return "the pool has ended"
    if not context.roster.eligible(member.node_id):
        return f"not eligible: {member.reason}"
    if node.reachability is not Reachability.HEALTHY:
        return node.reachability.name.lower()
    if node.intent is not Intent.ELIGIBLE:
        return node.intent.name.lower()
    if (earlier := _earlier_epoch_because(context, state, beat.heartbeat)) is not None:
        return earlier
    if not beat.heartbeat.healthy:
        return beat.heartbeat.reason or "it reports itself unhealthy"
    if member.node_id == context.me:
        return None
    if (differs := context.clocks.differs(member.node_id, now)) is not None:
        return differs
    patience_ms = context.heartbeats.patience_ms(context.roster.size())
    if now.mono_ms - beat.heard_at.mono_ms > patience_ms:
        return "no fresh heartbeat"
    # In a pool small enough for full connectivity, a lost connection shows first.
    small = context.roster.size() <= limits.CONNECTIONS_AIM
    if small and not context.bindings.is_connected(member.node_id):
        return "its connection was lost"
    return None


def _earlier_epoch_because(context: Context, state: PoolState, said: Heartbeat) -> str | None:
    """Why not to use a node that is still at an earlier epoch, or runs unjudged copies of one: they
    may hold GPUs that this log believes free."""
    epoch = context.pool_log.epoch
    if said.epoch < epoch:
        return "it does not follow this epoch of the log yet"
    for status in said.allocations:
        copy = state.allocation(status.allocation)
        known = copy is not None and copy.next_attempt > status.attempt
        ended = status.state in TERMINAL_ALLOCATION_STATES
        if status.token.epoch < epoch and not known and not ended:
            return "it runs copies of an earlier epoch that are not adopted yet"
    return None


def _becomes(copy: Allocation, state: AllocationState, reason: str) -> Outcome:
    return Outcome(copy.allocation, copy.attempt, state, clipped(reason, limits.NAME_MAX_BYTES))


def _records(node_id: NodeId, outcomes: list[Outcome]) -> Iterator[ReportApplied]:
    """Outcomes in as many entries as hold them: an old state may have more copies on one node."""
    most = limits.ALLOCATIONS_PER_NODE_MAX
    for begin in range(0, len(outcomes), most):
        yield ReportApplied(node_id, tuple(outcomes[begin : begin + most]))
