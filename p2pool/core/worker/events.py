"""What happens to containers, and what the worker wants done with them.

The agent carries the effects out with a `ContainerRuntime` and brings their outcome back as these
inputs, exactly one for each effect. A listing is the truth; everything else is news between two.
"""

import attrs

from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import ContainerPlan, ContainerStatus, PullProgress

# --- inputs -------------------------------------------------------------------------------------


@attrs.frozen
class ContainersListed:
    """All containers of this node, ended ones too.

    `interrupted`: those that ended with their engine or their machine, not by themselves.
    """

    statuses: tuple[ContainerStatus, ...]
    interrupted: tuple[tuple[AllocationId, int], ...] = ()


@attrs.frozen
class PullProgressed:
    """The image of an allocation is being fetched, and is this far."""

    allocation: AllocationId
    attempt: int
    progress: PullProgress


@attrs.frozen
class ContainerStarted:
    """A container runs, or ran already and has ended: its status says which."""

    status: ContainerStatus


@attrs.frozen
class StartFailed:
    """A start failed; `code` is of `model.errors`. `retry`: it may pass if tried again."""

    allocation: AllocationId
    attempt: int
    code: str
    message: str
    retry: bool


@attrs.frozen
class ContainerStopped:
    """A container that was told to stop has ended."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class StopFailed:
    """A container could not be stopped (yet)."""

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
    """An allocation holds more of the disk than its specification lets it; `reason` says what."""

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
    """Fetch the image, then start this attempt; answered by ContainerStarted or StartFailed."""

    plan: ContainerPlan


@attrs.frozen
class CancelPull:
    """Stop fetching the image of a start that is no longer wanted. It has no answer of its own: the
    start is answered by StartFailed, or as ever where its image is there already."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class RestartContainer:
    """Start an ended container anew; answered by ContainerStarted or StartFailed."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class StopContainer:
    """End a container; answered by ContainerStopped or StopFailed."""

    allocation: AllocationId
    attempt: int
    grace_ms: int


@attrs.frozen
class RemoveContainer:
    """Forget an ended container; answered by ContainerRemoved (or not at all: asked again)."""

    allocation: AllocationId
    attempt: int


@attrs.frozen
class ListContainers:
    """Look what is there; answered by ContainersListed."""


WorkerEffect = (
    StartContainer
    | CancelPull
    | RestartContainer
    | StopContainer
    | RemoveContainer
    | ListContainers
)
