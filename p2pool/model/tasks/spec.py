"""A task's specification, as its owner states it.

A specification is JSON in RFC 8785 form inside a signed `access.requests.TaskRequest`, so that a
wallet shows what is signed. Parsing it is `codec.spec`, signing is `wire.typed_data`.
"""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import since
from p2pool.model.field_bounds import bounded
from p2pool.model.tasks.secrets import NO_SECRETS, TaskSecrets

SpecText = Annotated[str, bounded(text=limits.SPEC_JSON_MAX_BYTES)]
"""A text bounded only by the specification as a whole."""

Arguments = Annotated[tuple[SpecText, ...], bounded(items=limits.COMMAND_ARGUMENTS_MAX)]
"""The words of a command."""


class RestartMode(StrEnum):
    """When an ended container is started again."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class PullPolicy(StrEnum):
    """When an image is pulled: only if it is missing, at each start, or never."""

    IF_NOT_PRESENT = "if-not-present"
    ALWAYS = "always"
    NEVER = "never"


class OnDisconnect(StrEnum):
    """What a node does with an allocation when it hears no leader for the reconnect window."""

    KEEP = "keep"
    STOP = "stop"


@attrs.frozen
class RestartPolicy:
    """Restart policy with a cap on attempts in a row; back-off doubles from min to max (limits). A
    run of `limits.RESTARTS_FORGIVEN_MS` ends the row.

    `on_unhealthy`: a container whose image's health check fails is ended, and counts as failed.
    """

    mode: RestartMode = RestartMode.NEVER
    attempts: int = 3
    backoff_ms: int = limits.RESTART_BACKOFF_MIN_MS
    on_unhealthy: bool = False


@attrs.frozen
class GpuRequest:
    """How many GPUs, of which model (substring, lower case; empty: any), with how much memory."""

    count: int = 0
    model: str = ""
    memory_min_bytes: int = 0


@attrs.frozen
class Resources:
    """The resources of one replica, as a limit and as a reservation.

    `swap_bytes` comes on top of the memory; `disk_bytes` is the limit for writes outside mounts.
    """

    cpu_milli: int = 1000
    memory_bytes: int = 256 * 1024 * 1024
    shm_bytes: int = 64 * 1024 * 1024
    disk_bytes: int = 0
    gpu: GpuRequest = GpuRequest()
    swap_bytes: int = 0
    pids: int = limits.TASK_PIDS_DEFAULT


class MountKind(StrEnum):
    """Where a mount's data lives."""

    TASK = "task"
    POOL = "pool"
    TMPFS = "tmpfs"
    BIND = "bind"


@attrs.frozen
class Mount:
    """A directory inside the container. `source`: name of a volume, or a host path for bind.

    `size_bytes`: the size of a tmpfs, the quota of a volume; 0: none given. `keep_s`: how long
    a task's volume is kept after the task has ended; -1: as the node's owner decides.
    """

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    size_bytes: int = 0
    keep_s: int = -1


@attrs.frozen
class PublishedPort:
    """A published TCP or UDP port. `host` 0: the engine chooses."""

    container: int
    host: int = 0
    protocol: str = "tcp"


@attrs.frozen
class WorkRequest:
    """What a node submits to the chain as work done, where its owner lets it: for each copy that
    succeeds a file of it, or for each line that a copy writes one of its metrics.

    `key` names the piece, 0x and 64 hex digits; empty: a digest, so that each piece has its own.
    `units`: how much a piece is; 0: as the file or the line says.
    """

    file: SpecText = ""
    metric: SpecText = ""
    key: SpecText = ""
    units: int = 0

    @property
    def is_asked(self) -> bool:
        """Whether anything is to be submitted."""
        return bool(self.file or self.metric)


@attrs.frozen
class Constraint:
    """The scheduler uses a node only if its attribute equals (or differs from) the value.

    `attribute`: node, provider, gpu.model, cpu.model, runtime, architecture.
    """

    attribute: str
    value: str
    equals: bool = True


@attrs.frozen
class TaskSpec:
    """A task to run. Defaults are those of an absent key. `init`: a first process that takes in
    orphans and passes signals on; nodes of 0.2.0 know none, whatever it says. `requirements`: what
    a node's whole machine must have, as a pool says it in its data URI; empty: nothing."""

    name: str
    image: str
    command: Arguments = ()
    entrypoint: Arguments = ()
    environment: Annotated[
        tuple[tuple[SpecText, SpecText], ...], bounded(items=limits.ENVIRONMENT_MAX)
    ] = ()
    secrets: TaskSecrets = NO_SECRETS
    resources: Resources = Resources()
    replicas: int = 1
    system: bool = False
    gang: bool = False
    constraints: Annotated[tuple[Constraint, ...], bounded(items=limits.CONSTRAINTS_MAX)] = ()
    mounts: Annotated[tuple[Mount, ...], bounded(items=limits.MOUNTS_MAX)] = ()
    ports: Annotated[tuple[PublishedPort, ...], bounded(items=limits.PORTS_MAX)] = ()
    restart: RestartPolicy = RestartPolicy()
    deadline_s: int = 0
    stop_grace_s: int = limits.STOP_GRACE_DEFAULT_S
    reconnect_window_s: int = limits.RECONNECT_WINDOW_DEFAULT_S
    on_disconnect: OnDisconnect = OnDisconnect.KEEP
    run_until_s: int = limits.RUN_UNTIL_DEFAULT_S
    priority: int = 50
    labels: Annotated[tuple[tuple[str, str], ...], bounded(items=limits.LABELS_MAX)] = ()
    pull: PullPolicy = PullPolicy.IF_NOT_PRESENT
    read_only: bool = False
    init: bool = since(2, default=True)
    requirements: SpecText = since(2, default="")
    work: WorkRequest = since(2, default=WorkRequest())
