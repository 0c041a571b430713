"""The view that a node gives its own API: the pool, its nodes and tasks as this node knows them.

A view is built on request, from what the node holds at that moment. Its tables make a task or a
node when somebody reads it: what a reader pays follows what it reads, not what the pool holds. They
refuse to be read once the node has taken its next step. Nothing here changes anything.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import overload

import attrs

from p2pool.core.context import Context
from p2pool.core.feature_levels import lagging, pool_level, too_old
from p2pool.core.follower.leader_proof import leader_proof
from p2pool.core.fsm.nodes import view_reason
from p2pool.core.fsm.state import Allocation, NodeRecord, PoolState, Task
from p2pool.core.fsm.tasks import summary
from p2pool.model.access.delegates import Grant, GrantPlace
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import Address, AllocationId, NodeId, PeerKey, TaskId
from p2pool.model.log.certificates import LieProof
from p2pool.model.machine.hardware import FreeResources, Load
from p2pool.model.messages.gossip import AllocationStatus, Heartbeat
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.access import AccessTable, GrantView
from p2pool.model.ports.evidence import VerdictPlace, VerdictTable, VerdictView
from p2pool.model.ports.view import (
    AllocationView,
    NodeTable,
    NodeView,
    RefusalView,
    TaskTable,
    TaskView,
    View,
)
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Health,
    Intent,
    Membership,
    RaftRole,
    Reachability,
    StartRefusal,
)
from p2pool.model.tasks.index import TaskPlace
from p2pool.model.timing import Now
from p2pool.model.validation.verdict import SignedVerdict


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
        known=_is_known(context, node_id, judged, now),
        binding=_binding(context, node_id),
    )


def _is_known(context: Context, node_id: NodeId, judged: NodeRecord | None, now: Now) -> bool:
    """Whether anything tells how a node is: it was judged gone, or was heard, and if there is no
    leader that would have judged it, of late."""
    gone = judged is not None and judged.reachability is not Reachability.HEALTHY
    if gone or node_id == context.me:
        return True
    if context.leader(now) is None:
        return context.heartbeats.fresh(node_id, context.roster.size(), now) is not None
    return node_id in context.heartbeats.newest


def _why(context: Context, member: ChainMember, judged: NodeRecord | None, now: Now) -> str:
    """Why a node is in its state: by the chain, by the log, and by our own suspicion."""
    membership = _membership(context, member.node_id, judged)
    parts = [member.reason, view_reason(judged, membership) if judged is not None else ""]
    if member.node_id != context.me:
        parts.append(context.clocks.differs(member.node_id, now) or "")
    if _reachability(context, member.node_id, judged) is Reachability.SUSPECT:
        parts.append(context.suspects[member.node_id])
    parts.append(too_old(context, member.node_id) or "")
    if not _is_known(context, member.node_id, judged, now):
        heard = member.node_id in context.heartbeats.newest
        parts.append("no leader says whether it is well" if heard else "this agent never heard it")
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


def _binding(context: Context, node_id: NodeId) -> PeerBinding | None:
    found = context.bindings.known.get(node_id)
    return found.binding if found is not None else None


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


CopyKey = tuple[NodeId, AllocationId, int]
Live = Mapping[CopyKey, AllocationStatus]


class _Live(Live):
    """What heartbeats, not the log, say of copies: health, and the progress of a pull. A node's
    heartbeat is read when somebody asks for the first copy on it."""

    def __init__(self, context: Context) -> None:
        """From the newest heartbeats."""
        self._newest = context.heartbeats.newest
        self._read: dict[NodeId, dict[CopyKey, AllocationStatus]] = {}

    def __getitem__(self, key: CopyKey) -> AllocationStatus:
        node_id = key[0]
        if node_id not in self._read:
            beat = self._newest.get(node_id)
            said = beat.heartbeat.allocations if beat is not None else ()
            self._read[node_id] = {(node_id, one.allocation, one.attempt): one for one in said}
        return self._read[node_id][key]

    def __iter__(self) -> Iterator[CopyKey]:
        for node_id, beat in self._newest.items():
            yield from (
                (node_id, one.allocation, one.attempt) for one in beat.heartbeat.allocations
            )

    def __len__(self) -> int:
        return sum(len(beat.heartbeat.allocations) for beat in self._newest.values())


@attrs.frozen
class Heard:
    """From which nodes, and when, this agent knows what runs there. `ended`: whether the pool has,
    so that each node stops what it runs, and nobody has to say so."""

    me: NodeId
    nodes: NodeTable
    ended: bool = False

    def tells(self, node_id: NodeId) -> bool:
        """Whether the log's word on a copy there still holds, as far as we can tell."""
        if node_id == self.me:
            return True
        seen = self.nodes.get(node_id)
        return seen is not None and seen.tells and not self.ended


def task_view(state: PoolState, task: Task, live: Live, heard: Heard) -> TaskView:
    """One task with its copies."""
    copies = tuple(_copy_view(copy, live, heard) for copy in state.of_task(task.task_id))
    runs = {copy.node_id for copy in copies if copy.state is AllocationState.RUNNING}
    word = summary(state, task)
    if heard.ended and not task.finished:
        word = "stopping" if any(c.node_id and not _is_over(c.state) for c in copies) else "stopped"
    return TaskView(
        task_id=task.task_id,
        spec=task.spec,
        signer=task.record.signer,
        state=word,
        submitted_at_ms=task.record.submitted_at_ms,
        allocations=copies,
        stop_requested=task.stop_requested,
        index=task.index,
        grantor=task.record.grantor,
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


def _is_over(state: AllocationState) -> bool:
    return state in TERMINAL_ALLOCATION_STATES


def _copy_view(copy: Allocation, live: Live, heard: Heard) -> AllocationView:
    said = None
    at = heard.nodes.get(copy.node_id) if copy.node_id is not None else None
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
        known=copy.node_id is None or copy.terminal or heard.tells(copy.node_id),
        heard_ms=at.last_heard_ms if at is not None else 0,
    )


Fresh = Callable[[], bool]


class _Tasks(TaskTable):
    """A state's tasks, each made when it is read."""

    def __init__(self, state: PoolState, live: Live, heard: Heard, fresh: Fresh) -> None:
        self._state, self._live, self._heard, self._fresh = state, live, heard, fresh

    def _now(self) -> PoolState:
        assert self._fresh(), "the node has gone on: take another view"
        return self._state

    def _made(self, names: Iterable[TaskId]) -> Iterator[TaskView]:
        for name in names:
            state = self._now()
            yield task_view(state, state.tasks[name], self._live, self._heard)

    def __len__(self) -> int:
        return len(self._now().tasks)

    @overload
    def __getitem__(self, at: int) -> TaskView: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[TaskView, ...]: ...

    def __getitem__(self, at: int | slice) -> TaskView | tuple[TaskView, ...]:
        state, names = self._now(), tuple(self._state.tasks)
        if isinstance(at, slice):
            return tuple(self._made(names[at]))
        return task_view(state, state.tasks[names[at]], self._live, self._heard)

    def __iter__(self) -> Iterator[TaskView]:
        return self._made(tuple(self._now().tasks))

    def get(self, task_id: TaskId) -> TaskView | None:
        """See the base."""
        task = self._now().tasks.get(task_id)
        return None if task is None else task_view(self._state, task, self._live, self._heard)

    def before(self, place: TaskPlace | None) -> Iterator[TaskView]:
        """See the base."""
        return self._made(self._now().index.before(place))

    def named(self, name: str) -> Iterator[TaskView]:
        """See the base."""
        return self._made(self._now().index.named(name))

    def starting(self, digits: str, most: int) -> tuple[TaskView, ...]:
        """See the base."""
        return tuple(self._made(islice(self._now().index.starting(digits), most)))

    def on_node(self, node_id: NodeId) -> tuple[TaskView, ...]:
        """See the base."""
        state = self._now()
        names = dict.fromkeys(copy.allocation.task_id for copy in state.on_node(node_id))
        newest = sorted(names, key=lambda name: (state.tasks[name].index, name), reverse=True)
        return tuple(self._made(newest))

    def states(self) -> Counter[str]:
        """See the base."""
        state = self._now()
        return Counter(summary(state, task) for task in state.tasks.values())


class _Access(AccessTable):
    """A state's delegations, each made when it is read."""

    def __init__(self, state: PoolState, fresh: Fresh) -> None:
        super().__init__()
        self._state, self._fresh = state, fresh

    def behind(self, place: GrantPlace | None) -> Iterator[GrantView]:
        """See the base."""
        return map(self._made, self._state.delegates.behind(place))

    def of_account(self, delegate: Address) -> Iterator[GrantView]:
        """See the base."""
        return map(self._made, self._state.delegates.of_account(delegate))

    def _made(self, grant: Grant) -> GrantView:
        assert self._fresh(), "the node has gone on: take another view"
        state, place = self._state, grant.place
        revocation = state.revocations.get(place.delegate)
        return GrantView(
            grant,
            state.delegates.used(place.grantor, place.delegate),
            None if revocation is None else revocation.before_s,
        )


class _Verdicts(VerdictTable):
    """The validators' verdicts that this node holds, each made when it is read."""

    def __init__(self, context: Context, now: Now, fresh: Fresh) -> None:
        super().__init__()
        self._context, self._at, self._fresh = context, now, fresh

    def behind(self, place: VerdictPlace | None) -> Iterator[VerdictView]:
        """See the base."""
        return self._made(self._context.validations.behind(place))

    def of_node(self, node_id: NodeId) -> Iterator[VerdictView]:
        """See the base."""
        return self._made(self._context.validations.of_node(node_id))

    def _made(self, found: Iterable[SignedVerdict]) -> Iterator[VerdictView]:
        """What counts no more is told to nobody, though its turn to be forgotten has not come."""
        knows, counts = self._context.validator_roles.knows, self._context.validations.counts
        for signed in found:
            assert self._fresh(), "the node has gone on: take another view"
            if counts(signed, self._at):
                yield VerdictView(signed, knows(signed.verdict.validator))


class _Nodes(NodeTable):
    """The nodes that this one knows, each made when it is read."""

    def __init__(self, context: Context, state: PoolState | None, now: Now, fresh: Fresh) -> None:
        self._context, self._state, self._at, self._fresh = context, state, now, fresh
        self._known: dict[NodeId, ChainMember] | None = None
        self._views: dict[NodeId, NodeView] = {}

    def _members(self) -> dict[NodeId, ChainMember]:
        """By id, sorted."""
        assert self._fresh(), "the node has gone on: take another view"
        if self._known is None:
            roster = self._context.roster
            found = {one.node_id: one for one in (*roster.members(), *roster.outside())}
            self._known = dict(sorted(found.items()))
        return self._known

    def _made(self, member: ChainMember) -> NodeView:
        """Made once: each copy on a node asks for it, and it counts the copies there."""
        made = self._views.get(member.node_id)
        if made is None:
            made = node_view(self._context, self._state, member, self._at)
            self._views[member.node_id] = made
        return made

    def __len__(self) -> int:
        return len(self._members())

    @overload
    def __getitem__(self, at: int) -> NodeView: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[NodeView, ...]: ...

    def __getitem__(self, at: int | slice) -> NodeView | tuple[NodeView, ...]:
        found = tuple(self._members().values())[at]
        return (
            self._made(found) if isinstance(found, ChainMember) else tuple(map(self._made, found))
        )

    def __iter__(self) -> Iterator[NodeView]:
        return map(self._made, tuple(self._members().values()))

    def ids(self) -> Sequence[NodeId]:
        """See the base."""
        return tuple(self._members())

    def get(self, node_id: NodeId) -> NodeView | None:
        """See the base."""
        member = self._members().get(node_id)
        return None if member is None else self._made(member)


def build_view(
    context: Context,
    revision: int,
    fresh: Fresh,
    leader_since_ms: int,
    problems: tuple[str, ...],
    warnings: tuple[str, ...],
    evidence: tuple[LieProof, ...],
    now: Now,
) -> View:
    """Everything this node knows now; `fresh`: whether that is so still."""
    pool_log, roster, me = context.pool_log, context.roster, context.config.me
    state = pool_log.state
    nodes = _Nodes(context, state, now, fresh)
    heard = Heard(me.node_id, nodes, roster.ended)
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
        nodes=nodes,
        tasks=_Tasks(state, _Live(context), heard, fresh) if state is not None else (),
        access=_Access(state, fresh) if state is not None else AccessTable(),
        verdicts=_Verdicts(context, now, fresh),
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
