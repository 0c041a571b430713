"""Volumes: directories of an agent's that tasks write to, and the door to them for its owner.

A task's volume belongs to one of its copies (task id and replica) on this node, and is there again
for the next attempt; a pool's volume is shared by all tasks here that name it. They stay on the
machine that they are on. Names: `task/<task id>.<replica>/<name>` and `pool/<name>`.
"""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import attrs

from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.tasks.spec import MountKind


@attrs.frozen
class Volume:
    """One volume. `ended_at_ms`: since when its task is known to have ended, 0 while it has not.

    `keep_s` is what the task asked for (-1: nothing), `quota_bytes` what it last said it would hold
    at most (0: nothing). `used_bytes` is measured; with more than can be counted, a lower bound.
    """

    id: str
    kind: MountKind
    name: str
    allocation: AllocationId | None
    used_bytes: int
    quota_bytes: int
    keep_s: int
    made_at_ms: int
    used_at_ms: int
    ended_at_ms: int
    in_use: bool


@attrs.frozen
class Retention:
    """What an owner keeps of ended tasks: of so many that ended last, and for no longer than so
    many seconds."""

    keep_tasks: int
    keep_for_s: int


TaskEnded = Callable[[TaskId, int], bool]
"""Whether a task is known to have ended, by when something of it was last started here."""


class VolumeKeeper(Protocol):
    """The volumes of one agent, for the owner of its machine."""

    async def list(self) -> tuple[Volume, ...]:
        """All volumes, sorted by id, measured."""
        ...

    async def remove(self, volume_id: str) -> None:
        """Delete one. Raises NotFound, or Conflict while a container uses it."""
        ...

    def export(self, volume_id: str) -> AsyncIterator[bytes]:
        """What is in one, as a tar archive. Raises NotFound before the first piece."""
        ...
