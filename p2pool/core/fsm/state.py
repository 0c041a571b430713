"""The replicated state: tasks, allocations, nodes, settings, revocations, applied requests.

Intuition: the state is what the log says, nothing else. One owner holds it and changes it only
through `core.fsm.apply`; everyone else reads. Its records are frozen, so a reader keeps what it
saw.

Invariants: a GPU has at most one holder (`holders`); a lost allocation keeps its GPUs until it is
replaced, and the copy it leaves behind (`Stray`) keeps them until its node reports it gone. Every
table keeps the log's order, even through a snapshot: equal logs give equal bytes
(`core.fsm.storage`).
Source: docs/design/consensus.md, "The log and the state".
"""

from collections.abc import Iterator
from heapq import heappop, heappush

import attrs

from p2pool.codec.cbor.structs import encode_struct, lowest_level
from p2pool.codec.digests import digest
from p2pool.codec.rows import RowCache
from p2pool.core.fsm.sizes import StateSizes, task_size
from p2pool.model import limits
from p2pool.model.access.delegates import GRANT_ID_BYTES, Delegates, GrantPlace
from p2pool.model.access.delegations import Delegation
from p2pool.model.access.quotas import usage_of
from p2pool.model.access.requests import RequestId, SignedRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel, since
from p2pool.model.field_bounds import GpuIds
from p2pool.model.ids import (
    ADDRESS_BYTES,
    ZERO_TOKEN,
    Address,
    AllocationId,
    Digest,
    NodeId,
    PoolRef,
    StateDigest,
    TaskId,
    Token,
)
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import Revocation
from p2pool.model.log.raft import Entry
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Intent,
    Membership,
    Reachability,
)
from p2pool.model.tasks.index import TaskIndex
from p2pool.model.tasks.secrets import TaskSecrets
from p2pool.model.tasks.set_aside import SetAsideNodes
from p2pool.model.tasks.spec import Resources, TaskSpec

NO_HISTORY = Digest(bytes(32))
NOBODY = Address(bytes(ADDRESS_BYTES))
"""The zero address: how the chain says that there is no account."""


def history_after(history: Digest, entry: Entry) -> Digest:
    """The hash over a log up to an entry, from the hash over all before it: with that hash from a
    trusted source, a node can accept the entries from anybody."""
    return digest(history + encode_struct(entry))


@attrs.frozen
class SecretsRenewed:
    """The latest request that set a task's secrets. `index`: of its entry. `restart`: copies that
    began with earlier ones are replaced, one after the other. `judged_at`: as in
    `model.log.entries.RequestApplied`."""

    signed: SignedRequest
    signer: Address
    grantor: Address | None
    index: int
    restart: bool
    judged_at: FinalBlock | None = since(2, default=None)


@attrs.frozen
class TaskRecord:
    """What a snapshot keeps of a task. `finished_at_ms` 0: it has not ended. `judged_at`: as in
    `model.log.entries.RequestApplied`. `secrets`: who set its secrets since it was submitted."""

    task_id: TaskId
    signed: SignedRequest
    signer: Address
    grantor: Address | None
    index: int
    submitted_at_ms: int
    stop_requested: bool = False
    finished_at_ms: int = 0
    judged_at: FinalBlock | None = since(2, default=None)
    secrets: SecretsRenewed | None = since(2, default=None)


@attrs.frozen
class Task:
    """A task with its parsed specification. `renewed`: its secrets, if they were set since."""

    record: TaskRecord
    spec: TaskSpec
    renewed: TaskSecrets | None = None

    @property
    def secrets(self) -> TaskSecrets:
        """The secrets that its copies get from now on."""
        return self.spec.secrets if self.renewed is None else self.renewed

    @property
    def secrets_index(self) -> int:
        """Index of the entry that set them; 0: its submission did."""
        return 0 if self.record.secrets is None else self.record.secrets.index

    @property
    def secrets_from(self) -> tuple[SignedRequest, Address]:
        """The request that set them, and who signed it."""
        renewed = self.record.secrets
        if renewed is None:
            return self.record.signed, self.record.signer
        return renewed.signed, renewed.signer

    @property
    def task_id(self) -> TaskId:
        """The task's name."""
        return self.record.task_id

    @property
    def index(self) -> int:
        """Index of the entry that added it: the smaller, the older."""
        return self.record.index

    @property
    def stop_requested(self) -> bool:
        """Whether an account with the right to do so asked for its end."""
        return self.record.stop_requested

    @property
    def finished(self) -> bool:
        """Whether all of its copies have ended for good."""
        return self.record.finished_at_ms != 0

    @property
    def grantor(self) -> Address:
        """Who gave the right to a delegate's task; the zero address where a log says nobody."""
        return self.record.grantor or NOBODY

    @property
    def delegation(self) -> Delegation | None:
        """The delegation under which it was submitted, if under one."""
        given = self.record.signed.delegation
        return given.delegation if given is not None else None


@attrs.frozen
class Allocation:
    """One copy of a task. `attempt` 0 and no node: not placed yet.

    `token` is (epoch, term, index) of the entry that placed it. `failing`: it has to stop because
    of a deadline or its gang, so its end counts as a failure. `given_up`: the latest attempt that
    was begun to replace this one and was taken back; no later one has its number. `secrets_index`:
    of the entry whose secrets it was placed with (`Task.secrets_index`).
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
    given_up: int = since(DISTRUST_LEVEL, default=0)
    secrets_index: int = since(DISTRUST_LEVEL, default=0)

    @property
    def next_attempt(self) -> int:
        """The number of the attempt after this one."""
        return max(self.attempt, self.given_up) + 1

    @property
    def terminal(self) -> bool:
        """Whether it ended (or was lost)."""
        return self.state in TERMINAL_ALLOCATION_STATES

    @property
    def holds(self) -> bool:
        """Whether it may still use its node's resources: a lost copy may."""
        placed = self.node_id is not None
        return placed and (not self.terminal or self.state is AllocationState.LOST)


@attrs.frozen
class Stray:
    """A copy that was replaced while its node was out of reach: it holds its GPUs until that node
    reports it gone."""

    allocation: AllocationId
    attempt: int
    node_id: NodeId
    gpus: GpuIds
    resources: Resources
    placed_at_ms: int = since(DISTRUST_LEVEL, default=0)
    image_digest: str = since(DISTRUST_LEVEL, default="")


@attrs.frozen
class NodeRecord:
    """The pool's judgement of a node: three fields, each with its reason. `changed_at_ms` (of the
    reachability) and `membership_at_ms` say since when, in log time. `eject`: why the manager
    should eject it, or ""."""

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
    """A request that was applied, kept until no leader could accept it any more.

    `kept_until_s`: until then, in log time, if log time was ahead of the clocks; else 0.
    """

    request_id: RequestId
    task_id: TaskId
    index: int
    not_after_s: int
    kept_until_s: int = since(2, default=0)


@attrs.frozen
class Holder:
    """Something that uses a node's resources."""

    allocation: AllocationId
    attempt: int
    gpus: tuple[str, ...]
    resources: Resources


StrayKey = tuple[AllocationId, int]


@attrs.define
class PoolState:
    """The state after the entry at `applied_index`. `log_time_ms` is that entry's time.

    `recovered_at_ms`: when this epoch began from another's log; 0 for a log that began empty.
    `held_until_ms`: until then no copy on a vanished node is replaced; 0: no hold. `history`: the
    hash over all applied entries (`history_after`). `level`: the pool's feature level; nothing
    above it is written (`model.features`); `level_version`: the version of the leader that raised
    it, "" if none did. `set_aside`: which nodes refused which task. `sizes`: what the tasks take,
    counted as they change, and `delegates` what those of delegates use. `index`: finds tasks for
    readers. `forgotten_s`: the latest end of a
    request that was forgotten. `_named`: the unended tasks of each name, several only from below
    `DISTRUST_LEVEL`. `_secret`: by the digest of a blob, the unended tasks that need it; `renewed`:
    those whose copies may have to be replaced for it; `released`: blobs that no task needs now,
    until `core.secrets.distribution` has dropped them. `row_cache` and `known_digest` serve
    `core.fsm.storage`, which turns the state into bytes.
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
    level: FeatureLevel = BASE_LEVEL
    level_version: str = ""
    forgotten_s: int = 0
    set_aside: SetAsideNodes = attrs.field(factory=SetAsideNodes)
    sizes: StateSizes = attrs.field(factory=StateSizes, eq=False, repr=False)
    index: TaskIndex = attrs.field(factory=TaskIndex, eq=False, repr=False)
    delegates: Delegates = attrs.field(factory=Delegates, eq=False, repr=False)
    _on_node: dict[NodeId, dict[AllocationId, None]] = attrs.field(factory=dict)
    _named: dict[str, dict[TaskId, None]] = attrs.field(factory=dict)
    _secret: dict[Digest, dict[TaskId, None]] = attrs.field(factory=dict, eq=False)
    renewed: dict[TaskId, None] = attrs.field(factory=dict, eq=False)
    released: dict[Digest, None] = attrs.field(factory=dict, eq=False)
    row_cache: RowCache = attrs.field(factory=RowCache, eq=False, repr=False)
    known_digest: tuple[int, StateDigest] | None = attrs.field(default=None, eq=False, repr=False)
    _expiring: list[tuple[int, bytes]] = attrs.field(factory=list, eq=False)
    """A heap of (time to forget it, request id)."""

    # --- reading --------------------------------------------------------------------------------

    def node(self, node_id: NodeId) -> NodeRecord:
        """A node's record; one never judged is healthy and eligible."""
        return self.nodes.get(node_id) or NodeRecord(node_id)

    def living(self, name: str) -> TaskId | None:
        """The oldest task of that name that has not ended, or None."""
        return next(iter(self._named.get(name, ())), None)

    def needs_secrets(self, digest: Digest) -> bool:
        """Whether a task that has not ended needs the blob of that digest."""
        return digest in self._secret

    @property
    def has_secrets(self) -> bool:
        """Whether any task that has not ended needs a blob."""
        return bool(self._secret)

    def needing(self, digest: Digest) -> tuple[TaskId, ...]:
        """The tasks that need the blob of that digest: one, unless somebody copied a name."""
        return tuple(self._secret.get(digest, ()))

    def secret_digests(self) -> tuple[Digest, ...]:
        """The digests of all blobs that tasks need."""
        return tuple(self._secret)

    def allocation(self, allocation: AllocationId) -> Allocation | None:
        """A task's copy of that name, or None."""
        return self.allocations.get(allocation.task_id, {}).get(allocation.replica)

    def of_task(self, task_id: TaskId) -> tuple[Allocation, ...]:
        """All copies of a task, oldest first."""
        return tuple(self.allocations.get(task_id, {}).values())

    def all_allocations(self) -> Iterator[Allocation]:
        """Every copy of every task, oldest task first."""
        for copies in self.allocations.values():
            yield from copies.values()

    def on_node(self, node_id: NodeId) -> tuple[Allocation, ...]:
        """The copies placed on a node and not replaced, by name."""
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
        """All that uses a node's resources, copies left behind included."""
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

    def put_task(self, task: Task) -> None:
        """Store a task."""
        old = self.tasks.get(task.task_id)
        before = self._forget_secrets(task.task_id)
        self.tasks[task.task_id] = task
        self._note_delegate(old, task)
        self._note_secrets(task)
        self._release(before)
        if task.finished:
            self._forget_name(task)
        else:
            self._named.setdefault(task.spec.name, {})[task.task_id] = None
        self.index.put(task.task_id, task.index, task.spec.name)
        self._weigh(task)

    def _note_secrets(self, task: Task) -> None:
        if task.finished or not task.secrets.sealed:
            return
        digest = Digest(bytes.fromhex(task.secrets.digest))
        self._secret.setdefault(digest, {})[task.task_id] = None
        if task.record.secrets is not None and task.record.secrets.restart:
            self.renewed[task.task_id] = None

    def _note_earlier_secrets(self, task: Task, copy: Allocation) -> None:
        """A copy runs with earlier secrets than its task has now: the leader has to see it."""
        given = task.record.secrets
        replaces = given is not None and given.restart and not task.finished
        runs = copy.state is AllocationState.RUNNING and copy.secrets_index < task.secrets_index
        if replaces and runs:
            self.renewed[task.task_id] = None

    def none_runs_with_earlier_secrets(self, task_id: TaskId) -> None:
        """The leader need not look at this task's copies again until one of them changes."""
        self.renewed.pop(task_id, None)

    def _release(self, digest: Digest | None) -> None:
        if digest is not None and digest not in self._secret:
            self.released[digest] = None

    def _forget_secrets(self, task_id: TaskId) -> Digest | None:
        """The digest that a task needed, which it no longer counts for."""
        old = self.tasks.get(task_id)
        self.renewed.pop(task_id, None)
        if old is None or not old.secrets.sealed:
            return None
        digest = Digest(bytes.fromhex(old.secrets.digest))
        users = self._secret.get(digest, {})
        users.pop(task_id, None)
        if not users:
            self._secret.pop(digest, None)
        return digest

    def _forget_name(self, task: Task) -> None:
        same = self._named.get(task.spec.name, {})
        same.pop(task.task_id, None)
        if not same:
            self._named.pop(task.spec.name, None)

    def _note_delegate(self, old: Task | None, task: Task) -> None:
        """Count a delegate's task. When it has ended, what it lost uses nothing any more."""
        given = task.delegation
        if given is None:
            return
        place = self.delegates.place_of(task.task_id)
        if place is None:
            named = digest(encode_struct(given, lowest_level(given)))[:GRANT_ID_BYTES]
            place = GrantPlace(task.record.signer, task.grantor, named)
        self.delegates.put_task(task.task_id, place, given, finished=task.finished)
        if old is not None and task.finished and not old.finished:
            for copy in self.allocations.get(task.task_id, {}).values():
                self._count(old, copy, None)

    def _count(self, task: Task, old: Allocation | None, new: Allocation | None) -> None:
        """Count what a copy of a delegate's task uses. The copies that it left behind count for
        nobody: that their nodes cannot be asked is the pool's matter, and what replaces them has
        their share."""
        if task.delegation is None or task.finished:
            return
        before, after = (copy is not None and copy.holds for copy in (old, new))
        if before != after:
            pair = task.grantor, task.record.signer
            self.delegates.count(pair, usage_of(task.spec.resources), 1 if after else -1)

    def _weigh(self, task: Task) -> None:
        """Count what a task takes: all copies that it asks for, or has."""
        record, copies = task.record, len(self.allocations.get(task.task_id, {}))
        if not task.spec.system:
            copies = max(copies, task.spec.replicas)
        renewed = record.secrets.signed.request.spec_json if record.secrets is not None else ""
        size = task_size(
            record.signed.request.spec_json + renewed,
            copies,
            delegated=record.signed.delegation is not None,
            finished=task.finished,
        )
        self.sizes.count(task.task_id, size)

    def put(self, allocation: Allocation) -> None:
        """Store a copy and update the index by node."""
        name = allocation.allocation
        copies = self.allocations.setdefault(name.task_id, {})
        old = copies.get(name.replica)
        if old is not None and old.node_id is not None and old.node_id != allocation.node_id:
            self._forget_on(old.node_id, name)
        if allocation.node_id is not None:
            self._on_node.setdefault(allocation.node_id, {})[name] = None
        copies[name.replica] = allocation
        task = self.tasks.get(name.task_id)
        if task is not None:
            self._count(task, old, allocation)
            self._note_earlier_secrets(task, allocation)
        if old is None and task is not None and task.spec.system:
            self._weigh(task)

    def drop_task(self, task_id: TaskId) -> None:
        """Forget a finished task; a lost copy of it stays as a stray."""
        self._release(self._forget_secrets(task_id))
        task = self.tasks.pop(task_id)
        self._forget_name(task)
        self.index.drop(task_id)
        self.set_aside.drop_task(task_id)
        self.sizes.count(task_id, None)
        self.delegates.drop_task(task_id)
        for copy in self.allocations.pop(task_id, {}).values():
            self._count(task, copy, None)
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
        if self.level >= DISTRUST_LEVEL:
            stray = attrs.evolve(
                stray, placed_at_ms=copy.placed_at_ms, image_digest=copy.image_digest
            )
        self.strays[(copy.allocation, copy.attempt)] = stray

    def revoke(self, revocation: Revocation) -> None:
        """Note that an account's delegations are void."""
        self.revocations[revocation.delegate] = revocation
        self.delegates.note_revoked(revocation.delegate)

    def note_applied(self, request: AppliedRequest) -> None:
        """Remember that a request was applied, until it expires."""
        self.applied[request.request_id] = request
        until_s = max(request.not_after_s, request.kept_until_s)
        heappush(self._expiring, (until_s, request.request_id))

    def forget_applied(self, before_ms: int) -> None:
        """Forget the requests that expired before a time."""
        while self._expiring and self._expiring[0][0] * 1000 < before_ms:
            gone = self.applied.pop(heappop(self._expiring)[1], None)
            if gone is not None and self.level >= DISTRUST_LEVEL:
                self.forgotten_s = max(self.forgotten_s, gone.not_after_s)

    def _forget_on(self, node_id: NodeId, name: AllocationId) -> None:
        names = self._on_node[node_id]
        del names[name]
        if not names:
            del self._on_node[node_id]

    def turn_back(self, at_ms: int) -> None:
        """Turn log time back, and all that is later than that: for `core.log.epoch_recovery`
        alone, where a log's time was ahead of the clocks. What lies before keeps its age."""
        self.log_time_ms, self.known_digest = at_ms, None
        self.held_until_ms = min(self.held_until_ms, at_ms + limits.MASS_LOSS_HOLD_MS)
        for name, task in self.tasks.items():
            old = task.record
            record = attrs.evolve(
                old,
                submitted_at_ms=min(old.submitted_at_ms, at_ms),
                finished_at_ms=min(old.finished_at_ms, at_ms),
            )
            self.tasks[name] = attrs.evolve(task, record=record)
        for copies in self.allocations.values():
            for replica, copy in copies.items():
                copies[replica] = attrs.evolve(
                    copy,
                    placed_at_ms=min(copy.placed_at_ms, at_ms),
                    changed_at_ms=min(copy.changed_at_ms, at_ms),
                )
        self.set_aside.turn_back(at_ms)
        for node_id, node in self.nodes.items():
            self.nodes[node_id] = attrs.evolve(
                node,
                changed_at_ms=min(node.changed_at_ms, at_ms),
                membership_at_ms=min(node.membership_at_ms, at_ms),
            )

    def begin_epoch(self, epoch: int, at_ms: int) -> None:
        """Turn into the first state of another epoch: for `core.log.epoch_recovery` alone."""
        self.epoch, self.recovered_at_ms, self.known_digest = epoch, at_ms, None
