"""The port to a container runtime: a Docker Engine, or local processes on development chains.

A runtime is built for one scope (pool and node) and an agent's data directory. It sees and touches
only containers with the whole label set of its scope, so several agents can share an engine. The
listing is the truth; `watch` only hints that a new listing is worthwhile.

Invariants: `start` is idempotent by (allocation, attempt) and never runs a second copy of it; an
attempt that ended stays ended until `restart` or `remove`; cancelling any call leaves the engine in
a working state and a repeated call does the rest. Restart policies are the agent's, never the
engine's.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from typing import Protocol

import attrs

from p2pool.model.ids import AllocationId, Digest, NodeId, PoolRef, Token
from p2pool.model.messages.task_streams import LogChunks
from p2pool.model.ports.volumes import Retention, TaskEnded, VolumeKeeper
from p2pool.model.states import Health
from p2pool.model.tasks.secrets import RegistryAuth, SecretValue
from p2pool.model.tasks.spec import PullPolicy, TaskSpec


class RuntimeKind(StrEnum):
    """The kinds of runtimes."""

    DOCKER = "docker"
    PROCESS = "process"


class ContainerState(StrEnum):
    """A container's state. `dead`: it is gone, and its end is unknown."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    DEAD = "dead"


ENDED_STATES = frozenset({ContainerState.EXITED, ContainerState.DEAD})


@attrs.frozen
class RuntimeScope:
    """The owner of a set of containers: chain id, contract, pool and node id together."""

    pool: PoolRef
    node_id: NodeId


@attrs.frozen
class Unsupported:
    """Something that this runtime cannot do, such as `disk-quota`, and why not."""

    feature: str
    reason: str


@attrs.frozen
class RuntimeInfo:
    """A runtime's report on itself. `warnings` are sentences for the operator; `unsupported` lists
    what a task may ask for but cannot get here."""

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
    """One attempt of one allocation to run, under the token of the order for it.

    `environment` are the reserved `P2POOL_*` names, added after hashing; they win over the spec's.
    `gpus` are the UUIDs leased to this allocation; exactly these are visible inside.
    `metrics_directory`: on this machine, with a socket for the task's own metrics. `secrets`: the
    opened values, which are no part of any hash and are written nowhere. `image_digest`: what
    `pull` said the image's name stands for, so that no other image starts; "": whatever is there.
    """

    allocation: AllocationId
    attempt: int
    token: Token
    spec: TaskSpec
    spec_hash: Digest
    gpus: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    metrics_directory: str = ""
    secrets: tuple[SecretValue, ...] = attrs.field(default=(), repr=False)
    image_digest: str = ""


@attrs.frozen
class ContainerStatus:
    """A container as found. `token` is the one it was started under.

    `exit_code` is None while it runs and if it is unknown; 128 + signal if a signal ended it.
    `image_digest` is `sha256:...` (the registry's if there is one, else the engine's id).
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
    """A pull's progress. `total_bytes` is an estimate until every layer's size is known."""

    done_bytes: int
    total_bytes: int


@attrs.frozen
class RuntimeChanged:
    """A hint: something happened to this attempt's container; a listing says what."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class RunningCopy:
    """A copy that runs here, and the disk that it asked for."""

    allocation: AllocationId
    attempt: int
    spec: TaskSpec


@attrs.frozen
class Overuse:
    """A copy that takes more of the disk than it asked for; `reason` says so in a sentence."""

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
        """The kind of this runtime."""
        ...

    async def probe(self) -> RuntimeInfo:
        """Probe the runtime. RuntimeUnavailable, with a hint: it does not answer."""
        ...

    async def probe_directories(self) -> None:
        """Whether containers get the agent's directories; cheap, except now and then.
        RuntimeUnavailable, Misconfigured: they do not, and why."""
        ...

    async def list(self) -> tuple[ContainerStatus, ...]:
        """All containers of the scope, ended ones too, sorted by (allocation, attempt)."""
        ...

    async def pull(
        self,
        image: str,
        on_progress: OnProgress | None = None,
        policy: PullPolicy = PullPolicy.IF_NOT_PRESENT,
        auth: RegistryAuth | None = None,
    ) -> str:
        """Make the image local as the policy says, and return its digest. `auth`: the task's own
        credentials, for the registry in the image's name alone; they are kept nowhere.

        Raises ImageNotFound, ImageRefused, WrongPlatform, RegistryDenied, DiskFull or
        RegistryUnavailable.
        """
        ...

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """Start the attempt, or return the container that it already has, even an ended one.

        Raises CannotStart (spec: bad command, port taken, mount refused), ImageNotFound,
        NoGpuSupport, DiskFull, or Conflict if the attempt's container has another spec hash.
        A start that raised one of these leaves nothing behind.
        """
        ...

    async def restart(
        self, allocation: AllocationId, attempt: int, secrets: tuple[SecretValue, ...] = ()
    ) -> ContainerStatus:
        """Start an ended container again, keeping its files and log lines. Raises NotFound.
        `secrets`: opened anew, since what it had of them went with its end.

        Returns a running container as it is. Other errors are those of `start`.
        """
        ...

    async def stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        """Ask it to end, kill it after `grace_ms`, return once it ended. Unknown: does nothing."""
        ...

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """Remove an ended container and its log lines. Unknown: does nothing.

        Raises Conflict while it runs: stop it first.
        """
        ...

    async def read_file(
        self, allocation: AllocationId, attempt: int, path: str, most_bytes: int
    ) -> bytes:
        """A regular file that an ended container left behind, whole.

        Raises NotFound (no such container, or no such file), or Malformed: something else is there,
        or more than `most_bytes`.
        """
        ...

    @property
    def volumes(self) -> VolumeKeeper:
        """The volumes that tasks keep on this machine."""
        ...

    async def overused(self, held: Sequence[RunningCopy]) -> tuple[Overuse, ...]:
        """The copies that hold more of the disk than they asked for."""
        ...

    async def tidy(self, over: TaskEnded, keep: Retention) -> tuple[str, ...]:
        """Delete what has outlived its keep time: volumes of ended tasks, images over the limit.

        Returns the names of what it deleted.
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
        """Log lines in order, as `LogOptions` says, as many at a time as are available.

        Raises NotFound. Following ends when the container ends. Reads on demand: a slow reader
        delays nobody.
        """
        ...
