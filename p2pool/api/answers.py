"""What the API answers, as attrs classes of plain values: they are the OpenAPI schema.

Accounts, contracts and node ids are `0x` and 40 hex digits; other names are hex. Times are Unix
milliseconds, 0 for never. States are lower-case words. Each answer carries `meta`: what it was read
from, so that a reader can tell how old it is.
"""

from typing import Any

import attrs

from p2pool.api.proofanswers import Certificate, Evidence
from p2pool.model.machine.hardware import FreeResources, Hardware, Load


@attrs.frozen
class Meta:
    """Which view an answer was read from, and how much of the log and chain it had seen."""

    as_of_ms: int
    revision: int
    node_id: str
    epoch: int
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    roster_block: int | None
    roster_age_ms: int


@attrs.frozen
class Node:
    """One node: the chain's word (membership), the pool's (reachability), its owner's (intent)."""

    node_id: str
    provider: str
    membership: str
    reachability: str
    intent: str
    eligible: bool
    reason: str
    role: str
    leader: bool
    peer_id: str
    agent_version: str
    addresses: tuple[str, ...]
    incarnation: int
    last_heard_ms: int
    hardware: Hardware | None
    free: FreeResources | None
    load: Load
    allocations: int


@attrs.frozen
class Metric:
    """The last value of something that a task says of itself."""

    name: str
    value: float
    at_ms: int


@attrs.frozen
class CopyMetrics:
    """What one copy said. `problem`: why its node was not heard, empty where it was.

    `refused_lines`: lines that were not taken, being no JSON, too many or too fast.
    """

    allocation: str
    node_id: str | None
    metrics: tuple[Metric, ...]
    refused_lines: int
    problem: str


@attrs.frozen
class Allocation:
    """One copy of a task; `id` is `<task id>.<replica>`.

    `health`: what the image's check says (none, starting, healthy, unhealthy). `pulled_bytes` of
    `pull_total_bytes` of its image are here, while it is being fetched; else both are 0.
    """

    id: str
    task_id: str
    task_name: str
    replica: int
    attempt: int
    state: str
    node_id: str | None
    gpus: tuple[str, ...]
    reason: str
    exit_code: int | None
    oom_killed: bool
    image_digest: str
    changed_at_ms: int
    health: str
    pulled_bytes: int
    pull_total_bytes: int


@attrs.frozen
class Task:
    """A task, its specification as it was signed, and its copies."""

    task_id: str
    name: str
    image: str
    signer: str
    state: str
    stop_requested: bool
    submitted_at_ms: int
    spec: dict[str, Any]
    allocations: tuple[Allocation, ...]


@attrs.frozen
class Leader:
    """Who leads. `node_id` null: nobody is known to.

    `certificate` null: nobody is certified now. `proof` holds all that leads from the chain's root
    record to that: the changes of the committee, the certificate and the votes as their signers
    sealed them (`p2pool verify leader` checks it); null: this agent follows no log.
    """

    node_id: str | None
    peer_id: str
    epoch: int
    term: int
    since_ms: int
    log_id: str | None
    certificate: Certificate | None
    proof: dict[str, Any] | None


@attrs.frozen
class CommitteeMember:
    """A voter or learner: the node, the key and the data directory that it votes with."""

    node_id: str
    peer_id: str
    store_id: str
    voter: bool
    leader: bool
    reachability: str


@attrs.frozen
class Committee:
    """Who keeps the log; `quorum` voters must agree."""

    quorum: int
    members: tuple[CommitteeMember, ...]


@attrs.frozen
class Member:
    """A node of the roster."""

    node_id: str
    provider: str
    eligible: bool
    reason: str


@attrs.frozen
class Roster:
    """Who belongs, read at one block of the chain; `final_block` is the newest final one."""

    block_number: int
    block_hash: str
    block_time_ms: int
    final_block: int | None
    age_ms: int
    members: tuple[Member, ...]


@attrs.frozen
class Pool:
    """The pool: its name on the chain, who runs it, what it has."""

    chain_id: int
    contract: str
    pool_id: int
    name: str
    status: str
    domain_id: int
    creator: str | None
    manager: str | None
    requirements: str
    members: int
    nodes_healthy: int
    nodes_eligible: int
    gpus: int
    gpus_free: int
    tasks: dict[str, int]
    settings: dict[str, str]
    leader: str | None


@attrs.frozen
class Readiness:
    """Whether this agent takes part, and what keeps it from it."""

    ready: bool
    problems: tuple[str, ...]


@attrs.frozen
class Agent:
    """This agent itself."""

    node_id: str
    peer_id: str
    store_id: str
    role: str
    ready: bool
    problems: tuple[str, ...]
    peers_connected: int


@attrs.frozen
class Health:
    """The process answers."""

    status: str


@attrs.frozen
class Accepted:
    """A request is committed; `duplicate`: the same one was already."""

    task_id: str
    index: int
    leader: str | None
    replicated: bool
    duplicate: bool


@attrs.frozen
class NodesAnswer:
    """Answer of `/v1/nodes`."""

    meta: Meta
    nodes: tuple[Node, ...]


@attrs.frozen
class NodeAnswer:
    """Answer of `/v1/nodes/{id}`, with the copies that the node runs."""

    meta: Meta
    node: Node
    allocations: tuple[Allocation, ...]


@attrs.frozen
class TasksAnswer:
    """Answer of `/v1/tasks`."""

    meta: Meta
    tasks: tuple[Task, ...]


@attrs.frozen
class TaskAnswer:
    """Answer of `/v1/tasks/{id}`."""

    meta: Meta
    task: Task


@attrs.frozen
class MetricsAnswer:
    """What a task says of itself, copy by copy."""

    meta: Meta
    copies: tuple[CopyMetrics, ...]


@attrs.frozen
class AllocationsAnswer:
    """Answer of `/v1/allocations`."""

    meta: Meta
    allocations: tuple[Allocation, ...]


@attrs.frozen
class AllocationAnswer:
    """Answer of `/v1/allocations/{id}`."""

    meta: Meta
    allocation: Allocation


@attrs.frozen
class LeaderAnswer:
    """Answer of `/v1/leader`."""

    meta: Meta
    leader: Leader


@attrs.frozen
class EvidenceAnswer:
    """Answer of `/v1/evidence`."""

    meta: Meta
    evidence: tuple[Evidence, ...]


@attrs.frozen
class CommitteeAnswer:
    """Answer of `/v1/committee`."""

    meta: Meta
    committee: Committee


@attrs.frozen
class RosterAnswer:
    """Answer of `/v1/roster`; null: the chain has not been read yet, which is not *empty*."""

    meta: Meta
    roster: Roster | None


@attrs.frozen
class PoolAnswer:
    """Answer of `/v1/pool`."""

    meta: Meta
    pool: Pool


@attrs.frozen
class HeldLog:
    """The log that a node says it holds; `log_id` null: none. What a recovery can go on from.

    `followed_epoch` is that of the root record it follows, `refusal` why it does not found it.
    """

    node_id: str
    peer_id: str
    store_id: str
    log_id: str | None
    epoch: int
    followed_epoch: int
    refusal: str
    base_index: int
    commit_index: int
    last_index: int
    last_term: int
    state_digest: str | None
    voters: tuple[str, ...]
    voter: bool


@attrs.frozen
class LogsHeldAnswer:
    """Answer of `/v1/logs-held`; `silent`: connected members that did not answer in time."""

    meta: Meta
    logs: tuple[HeldLog, ...]
    silent: tuple[str, ...]


@attrs.frozen
class AgentAnswer:
    """Answer of `/v1/agent`."""

    meta: Meta
    agent: Agent
