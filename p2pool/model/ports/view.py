"""One agent's knowledge, frozen: the answer to every read of the local API.

A view is built from the core at one revision and never changes afterwards. It states its own age:
the roster's block, the leader's term, the applied index. Times are wall clock milliseconds since
the Unix epoch; 0 means never.
"""

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
from p2pool.model.states import (
    AllocationState,
    Health,
    Intent,
    Membership,
    RaftRole,
    Reachability,
)
from p2pool.model.tasks.spec import TaskSpec


@attrs.frozen
class NodeView:
    """One node as this agent knows it: from the chain, the pool and its own heartbeat."""

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

    Health and pull progress come from its node's last heartbeat, the rest from the log.
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


@attrs.frozen
class TaskView:
    """A task with its allocations. `state`: pending, running, stopping or how it ended."""

    task_id: TaskId
    spec: TaskSpec
    signer: Address
    state: str
    submitted_at_ms: int
    allocations: tuple[AllocationView, ...]
    stop_requested: bool = False


@attrs.frozen
class Event:
    """Something that happened; ids are (epoch, index, number), so a reader can resume. `text` is
    for people; `details` say the same by names, those that the API's answers have."""

    epoch: int
    index: int
    number: int
    at_ms: int
    kind: str
    subject: str
    text: str
    details: tuple[tuple[str, str | int | None], ...] = ()


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
    nodes: tuple[NodeView, ...] = ()
    tasks: tuple[TaskView, ...] = ()
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
        return next((t for t in self.tasks if t.task_id == task_id), None)

    def node(self, node_id: NodeId) -> NodeView | None:
        """The node with this id, or None."""
        return next((n for n in self.nodes if n.node_id == node_id), None)
