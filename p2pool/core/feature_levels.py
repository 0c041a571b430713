"""Which feature levels the participants know: whether the pool's level may rise, or who lags.

Intuition: the pool may use a level once every participant of the log can apply it. Each agent
announces its level in its signed heartbeat; the newest fresh one of each voter and learner counts,
and only from the agent that holds the seat, not from another disk of the same node.

Invariants: these functions walk only the configuration, which is small, and change nothing.
"""

from p2pool.core.context import Context
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Voter
from p2pool.model.ports.view import LaggingView
from p2pool.model.timing import Now


def pool_level(context: Context) -> FeatureLevel:
    """The level of the log that this node follows."""
    return context.level


def announced(context: Context, voter: Voter, now: Now) -> FeatureLevel | None:
    """The level that a participant's program knows, or None without a fresh heartbeat."""
    if voter == context.config.me:
        return context.config.newest_level
    beat = context.heartbeats.newest.get(voter.node_id)
    if beat is None or beat.heartbeat.store_id != voter.store_id:
        return None
    patience_ms = context.heartbeats.patience_ms(context.roster.size())
    if now.mono_ms - beat.heard_at.mono_ms >= patience_ms:
        return None
    return beat.heartbeat.feature_level


def next_level(context: Context, now: Now) -> FeatureLevel | None:
    """The level after the pool's if every participant knows it, else None."""
    wanted = FeatureLevel(pool_level(context) + 1)
    if context.config.newest_level < wanted:
        return None
    for voter in context.pool_log.configuration.everybody:
        known = announced(context, voter, now)
        if known is None or known < wanted:
            return None
    return wanted


def lagging(context: Context, now: Now) -> tuple[LaggingView, ...]:
    """Participants that keep the pool from its next level; empty if none of them knows it."""
    wanted = pool_level(context) + 1
    known = {v: announced(context, v, now) for v in context.pool_log.configuration.everybody}
    if all((level or BASE_LEVEL) < wanted for level in known.values()):
        return ()
    return tuple(
        LaggingView(voter.node_id, _version(context, voter), level)
        for voter, level in known.items()
        if level is None or level < wanted
    )


def too_old(context: Context, node_id: NodeId) -> str | None:
    """Why a node's program is too old for a seat, or None if it is not."""
    beat = context.heartbeats.newest.get(node_id)
    level = pool_level(context)
    if beat is None or beat.heartbeat.feature_level >= level:
        return None
    return (
        f"it runs p2pool {beat.heartbeat.agent_version}, which knows feature levels up to "
        f"{beat.heartbeat.feature_level}, and the pool is at {level}: upgrade it"
    )


def _version(context: Context, voter: Voter) -> str:
    if voter == context.config.me:
        return context.config.agent_version
    beat = context.heartbeats.newest.get(voter.node_id)
    return beat.heartbeat.agent_version if beat is not None else ""
