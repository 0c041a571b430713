"""The view that a node gives its own API: the pool, its nodes and tasks as this node knows them.

A view is built on request, from what the node holds at that moment, and is frozen. Nothing here
changes anything.
"""

from p2pool.core.context import Context
from p2pool.core.feature_levels import lagging, pool_level, too_old
from p2pool.core.follower.leader_proof import leader_proof
from p2pool.core.fsm.nodes import view_reason
from p2pool.core.fsm.state import Allocation, NodeRecord, PoolState, Task
from p2pool.core.fsm.tasks import summary
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import AllocationId, NodeId, PeerKey
from p2pool.model.log.certificates import LieProof
from p2pool.model.machine.hardware import FreeResources, Load
from p2pool.model.messages.gossip import AllocationStatus, Heartbeat
from p2pool.model.ports.view import AllocationView, NodeView, RefusalView, TaskView, View
from p2pool.model.states import (
    AllocationState,
    Health,
    Intent,
    Membership,
    RaftRole,
    Reachability,
    StartRefusal,
)
from p2pool.model.timing import Now


def node_view(context: Context, state: PoolState | None, member: ChainMember, now: Now) -> NodeView:
    """One member as this node knows it."""
    node_id = member.node_id
    beat = context.heartbeats.newest.get(node_id)
    judged = state.node(node_id) if state is not None else None
    said = beat.heartbeat if beat is not None else None
    reason = _why(context, member, judged, now)
    return NodeView(
        node_id=node_id,
        provider=member.provider,
        membership=_membership(context, node_id, judged),
        reachability=_reachability(context, node_id, judged),
        intent=judged.intent if judged is not None else Intent.ELIGIBLE,
        eligible=context.roster.eligible(node_id),
        reason=reason or (said.reason if said is not None else ""),
        peer_key=_peer_key(context, node_id),
        role=_role(context, node_id, said, now),
        agent_version=said.agent_version if said is not None else "",
        feature_level=said.feature_level if said is not None else None,
        addresses=said.addresses if said is not None else (),
        incarnation=beat.incarnation if beat is not None else 0,
        last_heard_ms=beat.heard_at.wall_ms if beat is not None else 0,
        hardware=context.heartbeats.hardware_of(node_id),
        free=_free(said),
        load=said.load if said is not None else Load(),
        allocations=_running(state, node_id),
    )


def _why(context: Context, member: ChainMember, judged: NodeRecord | None, now: Now) -> str:
    """Why a node is in its state: by the chain, by the log, and by our own suspicion."""
    membership = _membership(context, member.node_id, judged)
    parts = [member.reason, view_reason(judged, membership) if judged is not None else ""]
    if member.node_id != context.me:
        parts.append(context.clocks.differs(member.node_id, now) or "")
    if _reachability(context, member.node_id, judged) is Reachability.SUSPECT:
        parts.append(context.suspects[member.node_id])
    parts.append(too_old(context, member.node_id) or "")
    return "; ".join(part for part in parts if part)


def _membership(context: Context, node_id: NodeId, judged: NodeRecord | None) -> Membership:
    """Our own view from finalized blocks and heartbeats counts at once; else the log's."""
    own = context.roster.membership(node_id)
    logged = judged.membership if judged is not None else Membership.APPLICANT
    told = logged in (Membership.ONBOARDING, Membership.STALLED, Membership.MEMBER)
    return logged if told and own in (Membership.ONBOARDING, Membership.STALLED) else own


def _reachability(context: Context, node_id: NodeId, judged: NodeRecord | None) -> Reachability:
    """The log's judgement; a suspicion is our own."""
    told = judged.reachability if judged is not None else Reachability.HEALTHY
    suspect = told is Reachability.HEALTHY and node_id in context.suspects
    return Reachability.SUSPECT if suspect else told


def _peer_key(context: Context, node_id: NodeId) -> PeerKey | None:
    return context.config.me.peer_key if node_id == context.me else context.bindings.key_of(node_id)


def _role(context: Context, node_id: NodeId, said: Heartbeat | None, now: Now) -> RaftRole:
    """Our own role; another's by its last heartbeat, but only one node leads."""
    if node_id == context.me:
        return context.pool_log.role
    role = said.role if said is not None else RaftRole.IDLE
    leads = context.leader(now) == node_id
    return RaftRole.FOLLOWER if role is RaftRole.LEADER and not leads else role


def _free(said: Heartbeat | None) -> FreeResources | None:
    return said.free if said is not None else None


def _running(state: PoolState | None, node_id: NodeId) -> int:
    if state is None:
        return 0
    return sum(copy.holds for copy in state.on_node(node_id))


Live = dict[tuple[NodeId, AllocationId, int], AllocationStatus]


def live_statuses(context: Context) -> Live:
    """What heartbeats, not the log, say of copies: health, and the progress of a pull."""
    return {
        (node_id, status.allocation, status.attempt): status
        for node_id, beat in context.heartbeats.newest.items()
        for status in beat.heartbeat.allocations
        if status.health is not Health.NONE or status.pull_total_bytes
    }


def task_view(state: PoolState, task: Task, live: Live) -> TaskView:
    """One task with its copies."""
    copies = tuple(_copy_view(copy, live) for copy in state.of_task(task.task_id))
    runs = {copy.node_id for copy in copies if copy.state is AllocationState.RUNNING}
    return TaskView(
        task_id=task.task_id,
        spec=task.spec,
        signer=task.record.signer,
        state=summary(state, task),
        submitted_at_ms=task.record.submitted_at_ms,
        allocations=copies,
        stop_requested=task.stop_requested,
        refusals=tuple(
            RefusalView(
                node_id=row.node_id,
                reason=row.reason,
                times=row.times,
                lasting=row.kind is StartRefusal.LASTING,
                until_ms=row.until_ms,
            )
            for row in state.set_aside.of_task(task.task_id)
            if row.node_id not in runs
        ),
    )


def _copy_view(copy: Allocation, live: Live) -> AllocationView:
    said = None
    if copy.node_id is not None and copy.holds:
        said = live.get((copy.node_id, copy.allocation, copy.attempt))
    # The log may be ahead of a heartbeat: what runs no longer pulls.
    fetches = copy.state in (AllocationState.ASSIGNED, AllocationState.PULLING)
    return AllocationView(
        allocation=copy.allocation,
        attempt=copy.attempt,
        state=copy.state,
        node_id=copy.node_id,
        gpus=copy.gpus,
        reason=copy.reason,
        exit_code=copy.exit_code,
        oom_killed=copy.oom_killed,
        image_digest=copy.image_digest,
        changed_at_ms=copy.changed_at_ms,
        health=said.health if said is not None else Health.NONE,
        pulled_bytes=said.pulled_bytes if said is not None and fetches else 0,
        pull_total_bytes=said.pull_total_bytes if said is not None and fetches else 0,
    )


def build_view(
    context: Context,
    revision: int,
    leader_since_ms: int,
    problems: tuple[str, ...],
    warnings: tuple[str, ...],
    evidence: tuple[LieProof, ...],
    now: Now,
) -> View:
    """Everything this node knows now."""
    pool_log, roster, me = context.pool_log, context.roster, context.config.me
    state = pool_log.state
    tasks = state.tasks.values() if state is not None else ()
    live = live_statuses(context)
    return View(
        revision=revision,
        as_of_ms=now.wall_ms,
        pool=context.config.pool,
        node_id=me.node_id,
        peer_key=me.peer_key,
        store_id=me.store_id,
        role=pool_log.role,
        epoch=pool_log.epoch,
        log_id=pool_log.raft.state.log_id if pool_log.raft is not None else None,
        term=pool_log.term,
        leader=context.leader(now),
        leader_since_ms=leader_since_ms,
        commit_index=pool_log.commit_index,
        applied_index=pool_log.applied_index,
        configuration=pool_log.configuration,
        roster=roster.latest,
        roster_final=roster.final,
        roster_age_ms=roster.age_ms(now),
        nodes=tuple(
            node_view(context, state, member, now)
            for member in (*roster.members(), *roster.outside())
        ),
        tasks=tuple(task_view(state, task, live) for task in tasks if state is not None),
        problems=problems,
        warnings=warnings,
        settings=tuple(state.settings.items()) if state is not None else (),
        peers_connected=len(context.bindings.connected),
        proof=leader_proof(context, now),
        certificate=context.leader_certificates.fresh(now),
        evidence=evidence,
        feature_level=pool_level(context),
        lagging=lagging(context, now),
    )
