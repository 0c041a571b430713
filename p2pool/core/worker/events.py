"""What happens to containers, and what the worker wants done with them.

The agent carries out the effects with a `ContainerRuntime` and returns their outcomes as these
inputs. A listing is the truth; everything else is news between two listings.
"""

import attrs

from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import ContainerPlan, ContainerStatus, PullProgress
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.tasks.faults import Fault

# --- inputs -------------------------------------------------------------------------------------


@attrs.frozen
class ContainersListed:
    """All containers of this node, ended ones too.

    `interrupted`: those that their engine or machine ended, not they themselves.
    """

    statuses: tuple[ContainerStatus, ...]
    interrupted: tuple[tuple[AllocationId, int], ...] = ()


@attrs.frozen
class PullProgressed:
    """The pull of an allocation's image has come this far."""

    allocation: AllocationId
    attempt: int
    progress: PullProgress


@attrs.frozen
class ContainerStarted:
    """A container runs, or ran already and has ended: its status says which."""

    status: ContainerStatus


@attrs.frozen
class StartFailed:
    """A start failed; `code` is from `model.errors`, `fault` says whose fault it is."""

    allocation: AllocationId
    attempt: int
    code: str
    message: str
    fault: Fault


@attrs.frozen
class ContainerStopped:
    """A container has ended after a stop."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class StopFailed:
    """A stop failed (for now)."""

    allocation: AllocationId
    attempt: int
    message: str


@attrs.frozen
class ContainerRemoved:
    """An ended container and its log lines are gone."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class QuotaExceeded:
    """An allocation uses more disk than its specification allows; `reason` says which."""

    allocation: AllocationId
    attempt: int
    reason: str


WorkerInput = (
    ContainersListed
    | PullProgressed
    | ContainerStarted
    | StartFailed
    | ContainerStopped
    | StopFailed
    | ContainerRemoved
    | QuotaExceeded
)

# --- effects ------------------------------------------------------------------------------------


@attrs.frozen
class StartContainer:
    """Pull the image, then start this attempt; answered by ContainerStarted or StartFailed.
    `secrets`: what the agent opens for it, if the task has any."""

    plan: ContainerPlan
    secrets: SealedSecret | None = None


@attrs.frozen
class CancelPull:
    """Stop the pull of a start that is no longer wanted. It has no answer of its own: StartFailed
    answers the start, or its usual answer if the image is there already."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class RestartContainer:
    """Restart an ended container; answered by ContainerStarted or StartFailed. `secrets`: as for
    its start."""

    allocation: AllocationId
    attempt: int
    secrets: SealedSecret | None = None


@attrs.frozen
class StopContainer:
    """Stop a container; answered by ContainerStopped or StopFailed."""

    allocation: AllocationId
    attempt: int
    grace_ms: int


@attrs.frozen
class RemoveContainer:
    """Remove an ended container; answered by ContainerRemoved (or not at all: asked again)."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class ListContainers:
    """List all containers; answered by ContainersListed."""


WorkerEffect = (
    StartContainer
    | CancelPull
    | RestartContainer
    | StopContainer
    | RemoveContainer
    | ListContainers
)
