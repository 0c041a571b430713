"""One agent's knowledge, frozen: the answer to every read of the local API.

A view is built from the core at one revision and never changes afterwards. Its tasks and nodes are
made as they are read, so that one costs the same in any pool; an agent's own tables refuse to be
read after the node has gone on. It states its own age:
the roster's block, the leader's term, the applied index. Times are wall clock milliseconds since
the Unix epoch; 0 means never.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import attrs

from p2pool.model.chain.roster import ChainRoster
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import (
    Address,
    AllocationId,
    Digest,
    NodeId,
    PeerKey,
    PoolRef,
    StoreId,
    TaskId,
)
from p2pool.model.log.certificates import LeaderCertificate, LeaderProof, LieProof
from p2pool.model.log.raft import Configuration
from p2pool.model.machine.hardware import FreeResources, Hardware, Load
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.access import AccessTable
from p2pool.model.ports.evidence import VerdictTable
from p2pool.model.states import (
    AllocationState,
    Health,
    Intent,
    Membership,
    RaftRole,
    Reachability,
)
from p2pool.model.tasks.index import TaskPlace
from p2pool.model.tasks.spec import TaskSpec


@attrs.frozen
class NodeView:
    """One node as this agent knows it: from the chain, the pool and its own heartbeat. `known`:
    whether anything tells its reachability; it may never have been heard. `binding`: proves its
    peer key."""

    node_id: NodeId
    provider: Address
    membership: Membership
    reachability: Reachability
    intent: Intent
    eligible: bool
    reason: str = ""
    peer_key: PeerKey | None = None
    role: RaftRole = RaftRole.IDLE
    agent_version: str = ""
    feature_level: FeatureLevel | None = None
    addresses: tuple[str, ...] = ()
    incarnation: int = 0
    last_heard_ms: int = 0
    hardware: Hardware | None = None
    free: FreeResources | None = None
    load: Load = Load()
    allocations: int = 0
    known: bool = True
    binding: PeerBinding | None = None

    @property
    def tells(self) -> bool:
        """Whether the pool hears it, so that what it said last holds."""
        return self.known and self.reachability in (Reachability.HEALTHY, Reachability.SUSPECT)


@attrs.frozen
class LaggingView:
    """A participant that keeps the pool from the next feature level. `feature_level` None: it was
    not heard of late, and `agent_version` is what it said last."""

    node_id: NodeId
    agent_version: str
    feature_level: FeatureLevel | None


@attrs.frozen
class AllocationView:
    """One copy of a task on one node, with the reason for its state.

    Health and pull progress come from its node's last heartbeat, the rest from the log. `known`:
    whether the state still holds, as far as this agent can tell; a node that nobody hears may have
    ended it. `heard_ms`: when its node was heard last.
    """

    allocation: AllocationId
    attempt: int
    state: AllocationState
    node_id: NodeId | None
    gpus: tuple[str, ...] = ()
    reason: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    image_digest: str = ""
    changed_at_ms: int = 0
    health: Health = Health.NONE
    pulled_bytes: int = 0
    pull_total_bytes: int = 0
    known: bool = True
    heard_ms: int = 0


@attrs.frozen
class RefusalView:
    """A node that refused to start a task: it is not tried again before `until_ms`. `lasting`: only
    its owner can change that."""

    node_id: NodeId
    reason: str
    times: int
    lasting: bool
    until_ms: int


@attrs.frozen
class TaskView:
    """A task with its allocations. `state`: pending, running, stopping or how it ended;
    `refusals`: the nodes that refused to start it; `grantor`: in whose name its signer acted, if in
    another's."""

    task_id: TaskId
    spec: TaskSpec
    signer: Address
    state: str
    submitted_at_ms: int
    allocations: tuple[AllocationView, ...]
    stop_requested: bool = False
    refusals: tuple[RefusalView, ...] = ()
    index: int = 0
    grantor: Address | None = None

    @property
    def place(self) -> TaskPlace:
        """Where it stands among the tasks: the later, the newer."""
        return self.index, self.task_id


class TaskTable(Sequence[TaskView]):
    """Tasks, oldest first, with what finds some of them. This one holds them ready; an agent's own
    makes each when it is read."""

    def __init__(self, tasks: Iterable[TaskView] = ()) -> None:
        """All tasks, in any order."""
        self._tasks = tuple(sorted(tasks, key=lambda one: one.place))

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, at: int) -> TaskView: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[TaskView, ...]: ...

    def __getitem__(self, at: int | slice) -> TaskView | tuple[TaskView, ...]:
        return self._tasks[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskTable) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(one.task_id for one in self))

    def get(self, task_id: TaskId) -> TaskView | None:
        """The task with this id, or None."""
        return next((one for one in self if one.task_id == task_id), None)

    def before(self, place: TaskPlace | None) -> Iterator[TaskView]:
        """Tasks that are older than a place, the newest first; None: all."""
        return (one for one in reversed(self._tasks) if place is None or one.place < place)

    def named(self, name: str) -> Iterator[TaskView]:
        """Tasks of that name, the newest first."""
        return (one for one in reversed(self._tasks) if one.spec.name == name)

    def starting(self, digits: str, most: int) -> tuple[TaskView, ...]:
        """At most so many tasks whose id begins with these lower-case hex digits."""
        found = (one for one in self._tasks if one.task_id.hex().startswith(digits))
        return tuple(islice(found, most))

    def on_node(self, node_id: NodeId) -> tuple[TaskView, ...]:
        """Tasks that have a copy on a node, the newest first."""
        return tuple(
            one
            for one in reversed(self._tasks)
            if any(copy.node_id == node_id for copy in one.allocations)
        )

    def states(self) -> Counter[str]:
        """How many tasks are in which state."""
        return Counter(one.state for one in self)


class NodeTable(Sequence[NodeView]):
    """Nodes by id. This one holds them ready; an agent's own makes each when it is read."""

    def __init__(self, nodes: Iterable[NodeView] = ()) -> None:
        """All nodes, in the order of their ids if a reader is to page through them."""
        self._nodes = tuple(nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, at: int) -> NodeView: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[NodeView, ...]: ...

    def __getitem__(self, at: int | slice) -> NodeView | tuple[NodeView, ...]:
        return self._nodes[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeTable) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(one.node_id for one in self))

    def ids(self) -> Sequence[NodeId]:
        """All ids, in order."""
        return tuple(one.node_id for one in self)

    def get(self, node_id: NodeId) -> NodeView | None:
        """The node with this id, or None."""
        return next((one for one in self if one.node_id == node_id), None)


EventId = tuple[int, int, int]
"""Epoch, index, and the number within the entry."""

AFTER_ENTRY = 999_999
"""The number of a place behind all events of an entry, which has fewer."""


EVENT_KINDS = (
    "allocation",
    "committee",
    "leader",
    "node",
    "pool",
    "revocation",
    "setting",
    "task",
)
"""What events are about, beside `gap`."""


@attrs.frozen
class Event:
    """Something that happened; ids are (epoch, index, number), so a reader can resume. `text` is
    for people; `details` say the same by names, those that the API's answers have. One of the kind
    `gap` says that events up to its id are missing."""

    epoch: int
    index: int
    number: int
    at_ms: int
    kind: str
    subject: str
    text: str
    details: tuple[tuple[str, str | int | None], ...] = ()

    @property
    def id(self) -> EventId:
        """The place after which a reader resumes."""
        return self.epoch, self.index, self.number


def _tasks(given: Iterable[TaskView]) -> TaskTable:
    return given if isinstance(given, TaskTable) else TaskTable(given)


def _nodes(given: Iterable[NodeView]) -> NodeTable:
    return given if isinstance(given, NodeTable) else NodeTable(given)


@attrs.frozen
class View:
    """Everything that one agent knows at a revision.

    `feature_level` is the pool's; `lagging` are the participants that keep it from the next
    one, where any of them knows one. `problems` keep it from taking part; `warnings` do not, and
    people have to see to them.
    """

    revision: int
    as_of_ms: int
    pool: PoolRef
    node_id: NodeId
    peer_key: PeerKey
    store_id: StoreId
    role: RaftRole
    epoch: int
    log_id: Digest | None
    term: int
    leader: NodeId | None
    leader_since_ms: int
    commit_index: int
    applied_index: int
    configuration: Configuration
    roster: ChainRoster | None
    roster_final: ChainRoster | None
    roster_age_ms: int
    nodes: NodeTable = attrs.field(factory=NodeTable, converter=_nodes)
    tasks: TaskTable = attrs.field(factory=TaskTable, converter=_tasks)
    access: AccessTable = attrs.field(factory=AccessTable)
    verdicts: VerdictTable = attrs.field(factory=VerdictTable)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    peers_connected: int = 0
    proof: LeaderProof | None = None
    certificate: LeaderCertificate | None = None
    evidence: tuple[LieProof, ...] = ()
    feature_level: FeatureLevel = BASE_LEVEL
    lagging: tuple[LaggingView, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether this agent takes part: it has a roster and a leader, and nothing stops it."""
        return self.roster is not None and self.leader is not None and not self.problems

    def task(self, task_id: TaskId) -> TaskView | None:
        """The task with this id, or None."""
        return self.tasks.get(task_id)

    def node(self, node_id: NodeId) -> NodeView | None:
        """The node with this id, or None."""
        return self.nodes.get(node_id)
