"""Nodes as entries move them: reachability, intent, membership, and the hold on replacement.

Intuition: three independent fields, each with its table in `model.states`. The leader logs its
judgements, requests say what people want; each field moves along its own table or not at all, so
only the manager's request lifts a ban, and no hasty leader skips a state. A state's age counts in
log time, which goes on whoever leads.

Invariants: a node that left keeps nothing but its ban; the state remembers a bounded number of
nodes that left; a due ejection ends with the state that caused it.
Source: docs/design/health.md, "What the log says of a node".
"""

import attrs

from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.state import NodeRecord
from p2pool.model import limits
from p2pool.model.log.entries import NodeChanged, NodeMoved, NodesMoved, ReplacementHeld
from p2pool.model.states import (
    INTENT,
    MEMBERSHIP,
    REACHABILITY,
    Intent,
    IntentEvent,
    Membership,
    Reachability,
    advance,
)


def judge(changes: Changes, record: NodeChanged) -> None:
    """Apply a judgement; no leader may lift the manager's ban or an owner's drain."""
    state = changes.state
    old = state.node(record.node_id)
    new = old
    if record.reachability in REACHABILITY[old.reachability].values():
        new = attrs.evolve(
            new,
            reachability=record.reachability,
            reason=record.reason,
            changed_at_ms=state.log_time_ms,
            eject="",
        )
    if record.intent is advance(INTENT, old.intent, IntentEvent.DRAIN_FINISHED):
        new = attrs.evolve(new, intent=record.intent)
    if new != old:
        changes.set_node(new, record.reason)


def move(changes: Changes, record: NodesMoved) -> None:
    """Move memberships as the chain and heartbeats say, along the table of membership."""
    for moved in record.moves:
        _move(changes, moved)


def _move(changes: Changes, moved: NodeMoved) -> None:
    state = changes.state
    old = state.node(moved.node_id)
    if moved.eject:
        if old.membership is moved.membership and not old.eject:
            changes.set_node(attrs.evolve(old, eject=moved.reason), moved.reason)
        return
    if moved.membership not in MEMBERSHIP[old.membership].values():
        return
    new = attrs.evolve(
        old,
        membership=moved.membership,
        membership_reason=moved.reason,
        membership_at_ms=state.log_time_ms,
        eject="",
    )
    if moved.membership is Membership.ONBOARDING and old.intent is not Intent.BANNED:
        # It joins again: intent and judgement from before it left no longer count.
        new = attrs.evolve(
            new,
            intent=Intent.ELIGIBLE,
            intent_reason="",
            reachability=Reachability.HEALTHY,
            reason="",
            changed_at_ms=0,
        )
    changes.set_node(new, moved.reason)
    if moved.membership is Membership.LEFT:
        _forget(changes)


def _forget(changes: Changes) -> None:
    """Forget the nodes that left longest ago, beyond the limit; never forget a ban."""
    state = changes.state
    left = [
        n
        for n in state.nodes.values()
        if n.membership is Membership.LEFT and n.intent is not Intent.BANNED
    ]
    left.sort(key=lambda n: (n.membership_at_ms, n.node_id))
    for node in left[: max(0, len(left) - limits.LEFT_KEPT_MAX)]:
        del state.nodes[node.node_id]


def hold(changes: Changes, record: ReplacementHeld) -> None:
    """Hold replacement until a time, or let it go on (0)."""
    state = changes.state
    if record.until_ms == state.held_until_ms:
        return
    state.held_until_ms, state.held_because = record.until_ms, record.reason
    if record.until_ms:
        text = f"is held: {record.reason}"
        changes.tell("pool", "replacement", text, state="held", reason=record.reason)
    else:
        changes.tell("pool", "replacement", "goes on", state="going-on")


def back_of_late(node: NodeRecord, at_ms: int) -> bool:
    """Whether a node was heard again only now, so that what it says of its copies decides first."""
    back = node.reachability is Reachability.HEALTHY and node.changed_at_ms > 0
    return back and at_ms < node.changed_at_ms + limits.RETURN_WAIT_MS


def view_reason(node: NodeRecord, membership: Membership) -> str:
    """Why a node is judged as it is, the weightiest reason first; "" if all is well.

    `membership`: the current one, which the log may not have yet.
    """
    parts = [node.eject]
    if node.intent is not Intent.ELIGIBLE:
        parts.append(node.intent_reason)
    if node.reachability is not Reachability.HEALTHY:
        parts.append(node.reason)
    if node.membership is membership in (Membership.STALLED, Membership.LEFT):
        parts.append(node.membership_reason)
    return "; ".join(dict.fromkeys(part for part in parts if part))
