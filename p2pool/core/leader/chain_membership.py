"""Memberships as a leader logs them: who joined, who was heard, who was not, who left.

Intuition: the chain says who is in the pool, a heartbeat that its machine is at work. In the log,
"in for three minutes and never heard" means the same to everybody, and survives changes of leader
and restarts. Only the manager's key can eject a node, on the chain. The pool says for whom that is
due, and why, once the time in a setting has passed.

Invariants: each step is a row of `states.MEMBERSHIP`; a leader proposes a transition only if the
committed state lacks it, hence once; an entry holds a bounded number of them.
Source: docs/design/health.md, "Membership".
"""

from collections.abc import Iterator

from p2pool.codec.json.hex import address_text
from p2pool.core.context import Context
from p2pool.core.fsm.requests import setting_in
from p2pool.core.fsm.state import NodeRecord, PoolState
from p2pool.core.leader.decisions import log_time_ms
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.log.entries import NodeMoved, NodesMoved
from p2pool.model.settings import EJECT_AFTER_MS
from p2pool.model.states import MEMBERSHIP_DEADLINES, Membership, Reachability
from p2pool.model.timing import Now

OUTSIDE = (Membership.APPLICANT, Membership.INVITED, Membership.LEFT)
WAITING = (Membership.ONBOARDING, Membership.STALLED)


def moved(context: Context, state: PoolState, now: Now) -> list[NodesMoved]:
    """The transitions that are due."""
    moves = [*_inside(context, state, now), *_left(context, state)]
    most = limits.MOVES_PER_ENTRY_MAX
    return [NodesMoved(tuple(moves[:most]))] if moves else []


def _inside(context: Context, state: PoolState, now: Now) -> Iterator[NodeMoved]:
    """Transitions of nodes that the chain has in the pool."""
    at_ms = log_time_ms(state, now)
    stalls_ms = MEMBERSHIP_DEADLINES[Membership.ONBOARDING][1]
    for member in context.roster.members():
        node_id = member.node_id
        node = state.node(node_id)
        if node.membership in OUTSIDE:
            yield NodeMoved(node_id, Membership.ONBOARDING, "it joined the pool")
        elif node.membership in WAITING and _is_heard(context, node_id, now):
            yield NodeMoved(node_id, Membership.MEMBER, "its heartbeat came")
        elif (
            node.membership is Membership.ONBOARDING and at_ms - node.membership_at_ms >= stalls_ms
        ):
            yield NodeMoved(node_id, Membership.STALLED, _why_stalled(context, node_id))
        elif not node.eject and (why := _eject_because(state, node, at_ms)) is not None:
            yield NodeMoved(node_id, node.membership, why, True)


def _is_heard(context: Context, node_id: NodeId, now: Now) -> bool:
    heard_ms = context.heard_ms(node_id)
    patience_ms = context.heartbeats.patience_ms(context.roster.size())
    return heard_ms is not None and now.mono_ms - heard_ms <= patience_ms


def _why_stalled(context: Context, node_id: NodeId) -> str:
    minutes = limits.ONBOARDING_STALL_MS // 60_000
    if context.bindings.is_connected(node_id):
        return f"no heartbeat came in {minutes} min, though it is connected: see its agent's log"
    if context.bindings.key_of(node_id) is not None:
        return f"no heartbeat came in {minutes} min: its agent once connected, and is out of reach"
    return f"no heartbeat came in {minutes} min: its agent never connected; is it running?"


def _eject_because(state: PoolState, node: NodeRecord, at_ms: int) -> str | None:
    """Why a node's ejection is due, or None."""
    for name, since_ms, holds, what in (
        ("eject-stalled", node.membership_at_ms, node.membership is Membership.STALLED, "stalled"),
        ("eject-dead", node.changed_at_ms, node.reachability is Reachability.DEAD, "dead"),
    ):
        after = setting_in(state, name) or "never"
        after_ms = EJECT_AFTER_MS[after]
        if holds and after_ms is not None and at_ms - since_ms >= after_ms:
            return (
                f"{what} for {after}: to be ejected (`p2pool pool eject"
                f" {address_text(node.node_id)}`)"
            )
    return None


def _left(context: Context, state: PoolState) -> Iterator[NodeMoved]:
    """Transitions of nodes that finalized blocks have out of the pool."""
    for node in state.nodes.values():
        if node.membership not in OUTSIDE and context.roster.out_finally(node.node_id):
            block = context.roster.final.block_number if context.roster.final else 0
            yield NodeMoved(node.node_id, Membership.LEFT, f"out of the pool at block {block}")
