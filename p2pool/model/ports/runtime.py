"""The port to what runs containers: a Docker Engine, or local processes on development chains.

A runtime is built for one scope (pool and node) and an agent's data directory. It only ever sees
and touches containers that carry the whole label set of its scope, so several agents share an
engine without meeting. Listing is the truth; `watch` only hints that a listing is worth making.

Invariants: `start` is idempotent by (allocation, attempt) and never runs a second copy of it; an
attempt that ended stays ended until `restart` or `remove`; cancelling any call leaves the engine
working and a repeated call does the rest. Restart policies are the agent's, never the engine's.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from typing import Protocol

import attrs

from p2pool.model.ids import AllocationId, Digest, NodeId, PoolRef, Token
from p2pool.model.messages.task_streams import LogChunks
from p2pool.model.ports.volumes import Retention, TaskEnded, VolumeKeeper
from p2pool.model.states import Health
from p2pool.model.tasks.spec import PullPolicy, TaskSpec


class RuntimeKind(StrEnum):
    """What runs the containers."""

    DOCKER = "docker"
    PROCESS = "process"


class ContainerState(StrEnum):
    """Where a container stands. `dead`: it is gone without having told how it ended."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    DEAD = "dead"


ENDED_STATES = frozenset({ContainerState.EXITED, ContainerState.DEAD})


@attrs.frozen
class RuntimeScope:
    """Whose containers these are: all of chain id, contract, pool and node id."""

    pool: PoolRef
    node_id: NodeId


@attrs.frozen
class Unsupported:
    """Something that this runtime cannot do, such as `disk-quota`, and why not."""

    feature: str
    reason: str


@attrs.frozen
class RuntimeInfo:
    """What a runtime says of itself. `warnings` are sentences for the operator; `unsupported` is
    what a task may ask for and does not get here."""

    kind: RuntimeKind
    version: str
    api_version: str = ""
    gpu_support: bool = False
    operating_system: str = ""
    architecture: str = ""
    storage_driver: str = ""
    cgroup_version: str = ""
    warnings: tuple[str, ...] = ()
    unsupported: tuple[Unsupported, ...] = ()


@attrs.frozen
class ContainerPlan:
    """What is to run: one attempt of one allocation, under the token of the order that said so.

    `environment` are the reserved `P2POOL_*` names, added after hashing; they win over the spec's.
    `gpus` are the UUIDs leased to this allocation, exactly these are visible inside.
    `metrics_directory`: of this machine, with a socket in it for what the task says of itself.
    """

    allocation: AllocationId
    attempt: int
    token: Token
    spec: TaskSpec
    spec_hash: Digest
    gpus: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    metrics_directory: str = ""


@attrs.frozen
class ContainerStatus:
    """A container as it was found. `token` is the one it was started under.

    `exit_code` is None while it runs and where nobody knows it; 128 + signal if a signal ended it.
    `image_digest` is `sha256:...` (the registry's where there is one, else the engine's id).
    Times are Unix milliseconds, 0: not yet. `error` is a sentence of the engine's.
    """

    allocation: AllocationId
    attempt: int
    token: Token
    spec_hash: Digest
    state: ContainerState
    exit_code: int | None = None
    oom_killed: bool = False
    started_at_ms: int = 0
    finished_at_ms: int = 0
    image_digest: str = ""
    gpus: tuple[str, ...] = ()
    error: str = ""
    health: Health = Health.NONE

    @property
    def ended(self) -> bool:
        """Whether it ran and no longer does."""
        return self.state in ENDED_STATES


@attrs.frozen
class PullProgress:
    """How far a pull is. `total_bytes` is an estimate while not every layer's size is known."""

    done_bytes: int
    total_bytes: int


@attrs.frozen
class RuntimeChanged:
    """A hint: something happened to this attempt's container, a listing says what."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class RunningCopy:
    """A copy that runs here, and what it asked for."""

    allocation: AllocationId
    attempt: int
    spec: TaskSpec


@attrs.frozen
class Overuse:
    """A copy that takes more of the disk than it asked for; `reason` says what, in a sentence."""

    allocation: AllocationId
    attempt: int
    reason: str


OnProgress = Callable[[PullProgress], None]


class ContainerRuntime(Protocol):
    """Runs containers for one scope. Any call may raise RuntimeUnavailable: try again later."""

    @property
    def scope(self) -> RuntimeScope:
        """The scope that it was built for."""
        ...

    @property
    def kind(self) -> RuntimeKind:
        """What runs the containers."""
        ...

    async def probe(self) -> RuntimeInfo:
        """What runs here. Raises RuntimeUnavailable with what to do when nothing answers."""
        ...

    async def list(self) -> tuple[ContainerStatus, ...]:
        """All containers of the scope, ended ones too, sorted by (allocation, attempt)."""
        ...

    async def pull(
        self,
        image: str,
        on_progress: OnProgress | None = None,
        policy: PullPolicy = PullPolicy.IF_NOT_PRESENT,
    ) -> str:
        """Make the image local, as the policy says, and return its digest.

        Raises ImageNotFound, ImageRefused, WrongPlatform, RegistryDenied, DiskFull or
        RegistryUnavailable.
        """
        ...

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """Start the attempt, or return the container that it already has, even an ended one.

        Raises CannotStart (spec: bad command, port taken, mount refused), ImageNotFound,
        NoGpuSupport, DiskFull, or Conflict when the attempt's container has another spec hash.
        Nothing is left behind by a start that raised one of these.
        """
        ...

    async def restart(self, allocation: AllocationId, attempt: int) -> ContainerStatus:
        """Start an ended container anew, keeping its files and log lines. Raises NotFound.

        A container that runs is returned as it is. Other errors are those of `start`.
        """
        ...

    async def stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        """Ask it to end, kill it after `grace_ms`, return once it ended. Unknown: does nothing."""
        ...

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """Forget an ended container and its log lines. Unknown: does nothing.

        Raises Conflict while it runs: stop it first.
        """
        ...

    @property
    def volumes(self) -> VolumeKeeper:
        """What tasks keep on this machine."""
        ...

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """Which of these copies hold more of the disk than they asked for."""
        ...

    async def tidy(self, over: TaskEnded, keep: Retention) -> tuple[str, ...]:
        """Delete what is kept no longer: volumes of ended tasks, images over the owner's limit.

        What went, by name.
        """
        ...

    def watch(self) -> AsyncIterator[RuntimeChanged]:
        """Hints until cancelled or the engine goes away (RuntimeUnavailable). May lose some."""
        ...

    def logs(
        self,
        allocation: AllocationId,
        attempt: int,
        *,
        follow: bool = False,
        tail_lines: int = -1,
        since_ms: int = 0,
    ) -> AsyncIterator[LogChunks]:
        """Log lines in order, as `ports.agent.LogOptions` says, as many at a time as are there.

        Raises NotFound. Following ends when the container ends. Reads on demand: a slow reader
        delays nobody.
        """
        ...
