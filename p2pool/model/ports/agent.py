"""The ports between layers: what the API may ask of an agent, as protocols.

The API never touches the core: it reads a frozen view, asks with a deadline, and opens log streams
under a grant. Errors are those of `model.errors`; a missed deadline is `Unavailable`.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import attrs

from p2pool.model.access.grants import SignedGrant
from p2pool.model.access.requests import SignedRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import Address, AllocationId, NodeId, PeerKey, PoolRef, TaskId
from p2pool.model.log.raft import LogEnd
from p2pool.model.messages.task_streams import FullReason, LogChunks, MetricsAnswered
from p2pool.model.ports.evidence import EvidenceKeeper
from p2pool.model.ports.runtime import RuntimeInfo
from p2pool.model.ports.view import Event, EventId, View
from p2pool.model.ports.volumes import VolumeKeeper


@attrs.frozen
class SubmitCommand:
    """A signed request of any action, with the account recovered from its signature. `secrets`: the
    blob of encrypted secrets that the request names, if it names any."""

    signed: SignedRequest
    signer: Address
    secrets: bytes | None = attrs.field(default=None, repr=False)


@attrs.frozen
class ReadIndexCommand:
    """Wait until this agent has applied what the leader had committed at the time of asking."""


@attrs.frozen
class InviteOffered:
    """An invite to keep and hand to the node it names; checked against the manager's key."""

    invite: Invite


Ask = SubmitCommand | ReadIndexCommand | InviteOffered


@attrs.frozen
class LogEndsCommand:
    """Asks which logs the agents within reach hold."""


@attrs.frozen
class LogHolder:
    """A node, and the log that it says it holds."""

    node_id: NodeId
    peer_key: PeerKey
    end: LogEnd


@attrs.frozen
class LogEnds:
    """The held logs, by node id, and the connected members that did not answer in time."""

    found: tuple[LogHolder, ...]
    silent: tuple[NodeId, ...]


@attrs.frozen
class Accepted:
    """A request is committed: its index, and whether its acknowledgement is replicated."""

    task_id: TaskId
    index: int
    leader: NodeId | None
    replicated: bool = True
    duplicate: bool = False


@attrs.frozen
class LogOptions:
    """The requested part of a log: `tail_lines` -1 for all, `since_ms` 0 from the start."""

    follow: bool = False
    tail_lines: int = -1
    since_ms: int = 0


@attrs.frozen
class EventStream:
    """Events behind a place, without an end: who comes back names that, or the last event."""

    begins: EventId
    events: AsyncIterator[Event]


@attrs.frozen(kw_only=True)
class WebhookStatus:
    """How deliveries to one receiver go. `url`: scheme, host and port. `kinds`: none for all.
    `failed` counts attempts, `given_up` messages. `read_up_to`: the id of the last event that it
    got or that was given up; empty before the first. `failing_since_ms`, `next_attempt_ms`: 0 where
    it does not fail, or no attempt waits. `problem`: why the last attempt failed; empty: it did
    not."""

    name: str
    url: str
    kinds: tuple[str, ...]
    delivered: int
    failed: int
    given_up: int
    read_up_to: str
    failing_since_ms: int
    next_attempt_ms: int
    problem: str


@attrs.frozen
class JoinStatus:
    """Where a node is on its way into the pool. `progress`: waiting or doing. `waiting_on`: who has
    to act, by which `command`; empty where nobody has to, or no command does it. `since_ms`: since
    when the agent has been at this step."""

    step: str
    progress: str
    finding: str
    waiting_on: str
    command: str
    since_ms: int


@attrs.frozen
class ProviderStatus:
    """What the chain said of a node's provider at `read_at_ms`. Amounts in wei; None: unknown.
    `stake_needed_wei`: what its nodes need. `unbonding_wei`: on its way back, of which
    `withdrawable_wei` has arrived; `next_due_s`: when more does, 0: nothing more comes."""

    account: Address
    registered: bool | None
    whitelisted: bool | None
    coin_wei: int | None
    tokens_wei: int | None
    stake_wei: int | None
    stake_needed_wei: int | None
    unbonding_wei: int | None
    withdrawable_wei: int | None
    next_due_s: int
    read_at_ms: int
    problem: str = ""


@attrs.frozen(kw_only=True)
class WorkPiece:
    """A piece of work of a copy here. `source`: the copy, its attempt, and a time of it. `state`:
    waiting, submitted, refused, invalidated. `transaction`: the one that submitted it; empty: none
    did, or it stood on the chain already. `why`: what was wrong, or who took it back."""

    source: str
    key: bytes
    units: int
    state: str
    at_ms: int
    transaction: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class WorkStatus:
    """What the copies here have done for the chain. `submits`: whether the owner lets the agent
    submit it. `judged`: whether the pool's domain names a judge; None: nobody has asked yet.
    `units`: of what is submitted and stands. `dropped`: lines beyond what is kept. `problem`: what
    keeps the next one from the chain; empty: nothing. `pieces`: the latest, the newest first."""

    submits: bool
    judged: bool | None
    waiting: int
    submitted: int
    refused: int
    invalidated: int
    dropped: int
    units: int
    problem: str
    pieces: tuple[WorkPiece, ...]


NO_WORK = WorkStatus(
    submits=False,
    judged=None,
    waiting=0,
    submitted=0,
    refused=0,
    invalidated=0,
    dropped=0,
    units=0,
    problem="",
    pieces=(),
)
"""Of an agent whose parts are not all there yet."""


@attrs.frozen
class ChallengeStatus:
    """How validators' challenges of this node have gone since the agent's start. `off`: why none is
    taken; empty: they are. `declined`: how many, by code. The last verdict that a validator told
    this node: `last_at_ms` 0 where none did."""

    off: str
    running: bool
    served: int
    declined: tuple[tuple[str, int], ...] = ()
    last_validator: Address | None = None
    last_conclusion: str = ""
    last_at_ms: int = 0


class Logs(Protocol):
    """Log lines of any allocation, wherever it runs."""

    def open(
        self, allocation: AllocationId, options: LogOptions, grant: SignedGrant
    ) -> AsyncIterator[LogChunks]:
        """Chunks in order, as many at a time as are available. Raises NotAllowed, NotFound or
        Unavailable before the first."""
        ...


class AgentPort(Protocol):
    """The API's requirements of an agent."""

    @property
    def logs(self) -> Logs:
        """The log streams."""
        ...

    @property
    def volumes(self) -> VolumeKeeper:
        """The volumes that tasks keep on this agent's machine."""
        ...

    @property
    def evidence(self) -> EvidenceKeeper:
        """The documents behind validators' verdicts."""
        ...

    async def runtime_info(self) -> RuntimeInfo:
        """The runtime of this agent's containers. RuntimeUnavailable: it does not answer."""

    @property
    def pool(self) -> PoolRef:
        """The agent's pool."""
        ...

    def view(self) -> View:
        """The latest view, built on demand: writes do not need one."""
        ...

    async def ask(self, request: Ask, deadline_ms: int) -> Accepted:
        """Carry a request out, here or at the leader; raises the errors of `model.errors`."""
        ...

    async def log_ends(self, deadline_ms: int) -> LogEnds:
        """The logs within reach: candidates for a recovery to continue from."""
        ...

    async def events(self, after: EventId | None) -> EventStream:
        """Events after an id (None: from now on), with a `gap` where some are lost. Stale: the id
        is of the future; what comes drops a slow reader with Overloaded."""
        ...

    async def task_metrics(self, allocation: AllocationId) -> MetricsAnswered:
        """The latest metrics of a copy, wherever it runs. Raises NotFound or Unavailable."""
        ...

    async def full_reasons(self, task_id: TaskId, where: NodeId) -> tuple[FullReason, ...]:
        """Why a node's copies of a task ended or did not start, in full. Raises Unavailable."""
        ...

    def webhooks(self) -> tuple[WebhookStatus, ...]:
        """How deliveries of events go, to each receiver that the configuration names."""
        ...

    def joining(self) -> JoinStatus | None:
        """Where this node is on its way into the pool; None: it is in."""
        ...

    def provider(self) -> ProviderStatus | None:
        """What the chain last said of this node's provider; None: none is known yet."""
        ...

    def work(self) -> WorkStatus:
        """What the copies here have done, on its way to the chain."""
        ...

    def challenges(self) -> ChallengeStatus:
        """How validators' challenges of this node go."""
        ...

    def metrics(self) -> bytes:
        """The Prometheus exposition text."""
        ...
