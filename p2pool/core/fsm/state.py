"""The replicated state: tasks, allocations, nodes, settings, revocations, requests applied.

Intuition: the state is what the log says, nothing else. One owner holds it and changes it only
through `core.fsm.apply`; everybody else reads. Records in it are frozen, so a reader that took
one out keeps what it saw.

Invariants: a GPU has one holder at most (`holders`); an allocation that was lost keeps its GPUs
until it is replaced, and the copy it left behind (`Stray`) until its node says that it is gone.
The order of every table is that of the log, and survives a snapshot: equal logs give equal bytes.
Source: docs/design/consensus.md, "The log and the state".
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Annotated

import attrs

from p2pool.codec.cbor.structs import Pieces, decode_struct, encode_struct
from p2pool.codec.digests import digest
from p2pool.codec.spec.spec import parse_spec
from p2pool.model import limits
from p2pool.model.access.requests import RequestId, SignedRequest
from p2pool.model.field_bounds import GpuIds, bounded
from p2pool.model.ids import (
    ZERO_TOKEN,
    Address,
    AllocationId,
    Digest,
    NodeId,
    PoolRef,
    TaskId,
    Token,
)
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import Revocation, Setting
from p2pool.model.log.raft import Entry
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Intent,
    Membership,
    Reachability,
)
from p2pool.model.tasks.spec import Resources, TaskSpec

NO_HISTORY = Digest(bytes(32))


def history_after(history: Digest, entry: Entry) -> Digest:
    """The hash over a log up to an entry, from that over all before it: whoever has the first from
    somebody to be trusted can take the entries from anybody."""
    return digest(history + encode_struct(entry))


@attrs.frozen
class TaskRecord:
    """What of a task is kept in a snapshot. `finished_at_ms` 0: it has not ended."""

    task_id: TaskId
    signed: SignedRequest
    signer: Address
    grantor: Address | None
    index: int
    submitted_at_ms: int
    stop_requested: bool = False
    finished_at_ms: int = 0


@attrs.frozen
class Task:
    """A task with its parsed specification; `index` is that of its entry, hence its age."""

    record: TaskRecord
    spec: TaskSpec

    @property
    def task_id(self) -> TaskId:
        """The task's name."""
        return self.record.task_id

    @property
    def index(self) -> int:
        """Index of the entry that brought it: the smaller the older."""
        return self.record.index

    @property
    def stop_requested(self) -> bool:
        """Whether somebody with the right to it asked for its end."""
        return self.record.stop_requested

    @property
    def finished(self) -> bool:
        """Whether all of its copies have ended for good."""
        return self.record.finished_at_ms != 0


@attrs.frozen
class Allocation:
    """One copy of a task. `attempt` 0 and no node: not placed yet.

    `token` is (epoch, term, index) of the entry that placed it. `failing`: it was told to stop
    because of a deadline or its gang, so its end counts as a failure.
    """

    allocation: AllocationId
    state: AllocationState = AllocationState.PENDING
    attempt: int = 0
    node_id: NodeId | None = None
    gpus: GpuIds = ()
    token: Token = ZERO_TOKEN
    reason: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    image_digest: str = ""
    placed_at_ms: int = 0
    changed_at_ms: int = 0
    failing: bool = False

    @property
    def terminal(self) -> bool:
        """Whether it ended (or was lost)."""
        return self.state in TERMINAL_ALLOCATION_STATES

    @property
    def holds(self) -> bool:
        """Whether it may still use its node: a lost copy may."""
        placed = self.node_id is not None
        return placed and (not self.terminal or self.state is AllocationState.LOST)


@attrs.frozen
class Stray:
    """A copy that was replaced while nobody could ask its node: it holds its GPUs until that node
    says that it is gone."""

    allocation: AllocationId
    attempt: int
    node_id: NodeId
    gpus: GpuIds
    resources: Resources


@attrs.frozen
class NodeRecord:
    """What the pool judged of a node: three fields, each with its reason. `changed_at_ms` (of the
    reachability) and `membership_at_ms` are since when, in log time. `eject`: why its manager is to
    eject it, or ""."""

    node_id: NodeId
    reachability: Reachability = Reachability.HEALTHY
    intent: Intent = Intent.ELIGIBLE
    reason: str = ""
    changed_at_ms: int = 0
    intent_reason: str = ""
    membership: Membership = Membership.APPLICANT
    membership_reason: str = ""
    membership_at_ms: int = 0
    eject: str = ""


@attrs.frozen
class AppliedRequest:
    """A request that was applied. Kept until no leader could take it any more."""

    request_id: RequestId
    task_id: TaskId
    index: int
    not_after_s: int


@attrs.frozen
class Holder:
    """Something that takes of a node's resources."""

    allocation: AllocationId
    attempt: int
    gpus: tuple[str, ...]
    resources: Resources


@attrs.frozen
class PoolSnapshot:
    """The whole state as it is encoded."""

    pool: PoolRef
    epoch: int
    applied_index: int
    applied_term: int
    log_time_ms: int
    tasks: Annotated[tuple[TaskRecord, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    allocations: Annotated[tuple[Allocation, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    strays: Annotated[tuple[Stray, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    nodes: Annotated[tuple[NodeRecord, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    settings: Annotated[tuple[Setting, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    revocations: Annotated[tuple[Revocation, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    applied: Annotated[tuple[AppliedRequest, ...], bounded(items=limits.RECORD_ITEMS_MAX)]
    recovered_at_ms: int
    chain: CommitteeChain
    held_until_ms: int
    held_because: str
    history: Digest


StrayKey = tuple[AllocationId, int]


@attrs.define
class PoolState:
    """The state after the entry at `applied_index`. `log_time_ms` is that entry's time.

    `recovered_at_ms`: when this epoch began from another's log; 0 for a log that began empty.
    `held_until_ms`: no copy on a node that vanished is replaced before that, and why; 0: none is
    held. `history`: over all entries that were applied, as `history_after` says.
    """

    pool: PoolRef
    epoch: int
    applied_index: int = 0
    applied_term: int = 0
    log_time_ms: int = 0
    tasks: dict[TaskId, Task] = attrs.field(factory=dict)
    allocations: dict[TaskId, dict[int, Allocation]] = attrs.field(factory=dict)
    strays: dict[StrayKey, Stray] = attrs.field(factory=dict)
    nodes: dict[NodeId, NodeRecord] = attrs.field(factory=dict)
    settings: dict[str, str] = attrs.field(factory=dict)
    revocations: dict[Address, Revocation] = attrs.field(factory=dict)
    applied: dict[bytes, AppliedRequest] = attrs.field(factory=dict)
    recovered_at_ms: int = 0
    chain: CommitteeChain = CommitteeChain()
    held_until_ms: int = 0
    held_because: str = ""
    history: Digest = NO_HISTORY
    _on_node: dict[NodeId, dict[AllocationId, None]] = attrs.field(factory=dict)
    _digest: tuple[int, Digest] | None = None
    _pieces: Pieces = attrs.field(factory=lambda: Pieces(PoolSnapshot), eq=False, repr=False)
    _expiring: list[tuple[int, bytes]] = attrs.field(factory=list, eq=False)
    """A heap of when which request's id may be forgotten."""

    # --- reading --------------------------------------------------------------------------------

    def node(self, node_id: NodeId) -> NodeRecord:
        """What is judged of a node; one never judged is healthy and eligible."""
        return self.nodes.get(node_id) or NodeRecord(node_id)

    def allocation(self, allocation: AllocationId) -> Allocation | None:
        """One copy of a task, or None where there is none of that name."""
        return self.allocations.get(allocation.task_id, {}).get(allocation.replica)

    def of_task(self, task_id: TaskId) -> tuple[Allocation, ...]:
        """All copies of a task, in the order in which they came to be."""
        return tuple(self.allocations.get(task_id, {}).values())

    def all_allocations(self) -> Iterator[Allocation]:
        """Every copy of every task, oldest task first."""
        for copies in self.allocations.values():
            yield from copies.values()

    def on_node(self, node_id: NodeId) -> tuple[Allocation, ...]:
        """The current copies that were placed on a node and not replaced, by name."""
        names = sorted(self._on_node.get(node_id, {}))
        found = (self.allocation(name) for name in names)
        return tuple(a for a in found if a is not None)

    def occupied_nodes(self) -> tuple[NodeId, ...]:
        """Nodes on which copies were placed or left behind, sorted."""
        strays = (stray.node_id for stray in self.strays.values())
        return tuple(sorted(dict.fromkeys((*self._on_node, *strays))))

    def strays_on(self, node_id: NodeId) -> tuple[Stray, ...]:
        """The copies left behind on a node."""
        return tuple(s for s in self.strays.values() if s.node_id == node_id)

    def holders(self, node_id: NodeId) -> tuple[Holder, ...]:
        """All that takes of a node's resources, copies left behind included."""
        held = [
            Holder(a.allocation, a.attempt, a.gpus, self.tasks[a.allocation.task_id].spec.resources)
            for a in self.on_node(node_id)
            if a.holds
        ]
        strays = [
            Holder(s.allocation, s.attempt, s.gpus, s.resources) for s in self.strays_on(node_id)
        ]
        return tuple(held + strays)

    # --- changing: for `core.fsm.apply` alone --------------------------------------------------

    def put(self, allocation: Allocation) -> None:
        """Store a copy and keep the index by node true."""
        name = allocation.allocation
        copies = self.allocations.setdefault(name.task_id, {})
        old = copies.get(name.replica)
        if old is not None and old.node_id is not None and old.node_id != allocation.node_id:
            self._forget_on(old.node_id, name)
        if allocation.node_id is not None:
            self._on_node.setdefault(allocation.node_id, {})[name] = None
        copies[name.replica] = allocation

    def drop_task(self, task_id: TaskId) -> None:
        """Forget a finished task; a lost copy of it stays as a stray."""
        task = self.tasks.pop(task_id)
        for copy in self.allocations.pop(task_id, {}).values():
            if copy.node_id is None:
                continue
            self._forget_on(copy.node_id, copy.allocation)
            if copy.state is AllocationState.LOST:
                self.leave_behind(copy, task.spec.resources)

    def leave_behind(self, copy: Allocation, resources: Resources) -> None:
        """Remember a lost copy that may still run somewhere."""
        assert copy.node_id is not None
        stray = Stray(
            allocation=copy.allocation,
            attempt=copy.attempt,
            node_id=copy.node_id,
            gpus=copy.gpus,
            resources=resources,
        )
        self.strays[(copy.allocation, copy.attempt)] = stray

    def note_applied(self, request: AppliedRequest) -> None:
        """Remember that a request was applied, until it expires."""
        self.applied[request.request_id] = request
        heappush(self._expiring, (request.not_after_s, request.request_id))

    def forget_applied(self, before_ms: int) -> None:
        """Forget the requests that expired before a time."""
        while self._expiring and self._expiring[0][0] * 1000 < before_ms:
            self.applied.pop(heappop(self._expiring)[1], None)

    def _forget_on(self, node_id: NodeId, name: AllocationId) -> None:
        names = self._on_node[node_id]
        del names[name]
        if not names:
            del self._on_node[node_id]

    def begin_epoch(self, epoch: int, at_ms: int) -> None:
        """Become what another epoch begins with: for `core.log.epoch_recovery` alone."""
        self.epoch, self.recovered_at_ms, self._digest = epoch, at_ms, None

    # --- bytes ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The state as canonical bytes: `Snapshot.state`."""
        return self._pieces.encode(
            PoolSnapshot(
                pool=self.pool,
                epoch=self.epoch,
                applied_index=self.applied_index,
                applied_term=self.applied_term,
                log_time_ms=self.log_time_ms,
                tasks=tuple(task.record for task in self.tasks.values()),
                allocations=tuple(self.all_allocations()),
                strays=tuple(self.strays.values()),
                nodes=tuple(self.nodes.values()),
                settings=tuple(Setting(name, value) for name, value in self.settings.items()),
                revocations=tuple(self.revocations.values()),
                applied=tuple(self.applied.values()),
                recovered_at_ms=self.recovered_at_ms,
                chain=self.chain,
                held_until_ms=self.held_until_ms,
                held_because=self.held_because,
                history=self.history,
            )
        )

    def digest(self) -> Digest:
        """SHA-256 of the state's bytes; computed once for each applied index."""
        if self._digest is None or self._digest[0] != self.applied_index:
            self._digest = (self.applied_index, digest(self.to_bytes()))
        return self._digest[1]


def from_bytes(data: bytes) -> PoolState:
    """The state in a snapshot's bytes; `Malformed` (or `BadSpec`) for any others."""
    kept = decode_struct(PoolSnapshot, data)
    state = PoolState(
        pool=kept.pool,
        epoch=kept.epoch,
        applied_index=kept.applied_index,
        applied_term=kept.applied_term,
        log_time_ms=kept.log_time_ms,
    )
    for record in kept.tasks:
        state.tasks[record.task_id] = Task(record, parse_spec(record.signed.request.spec_json))
    for copy in kept.allocations:
        state.put(copy)
    state.strays = {(s.allocation, s.attempt): s for s in kept.strays}
    state.nodes = {n.node_id: n for n in kept.nodes}
    state.settings = {s.name: s.value for s in kept.settings}
    state.revocations = {r.delegate: r for r in kept.revocations}
    for request in kept.applied:
        state.note_applied(request)
    state.recovered_at_ms = kept.recovered_at_ms
    state.chain = kept.chain
    state.held_until_ms, state.held_because = kept.held_until_ms, kept.held_because
    state.history = kept.history
    return state
