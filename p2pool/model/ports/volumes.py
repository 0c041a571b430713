"""Volumes: an agent's directories that tasks write to, and the port to them for its owner.

A task's volume belongs to one of its copies (task id and replica) on this node, and the next
attempt finds it again; all tasks here that name a pool's volume share it. Volumes never leave their
machine. Names: `task/<task id>.<replica>/<name>` and `pool/<name>`.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import attrs

from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.tasks.spec import MountKind


@attrs.frozen
class Volume:
    """One volume. `ended_at_ms`: since when its task is known to have ended, 0 until then.

    `keep_s` is the task's request (-1: none), `quota_bytes` the size that it last declared (0:
    none). `used_bytes` is measured; if there is more than can be counted, it is a lower bound.
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
    """What an owner keeps of ended tasks: those of the tasks that ended last, up to a number, and
    for a maximum of seconds."""

    keep_tasks: int
    keep_for_s: int


TaskEnded = Callable[[TaskId, int], bool]
"""Whether a task is known to have ended, given when something of it last started here."""


class VolumeKeeper(Protocol):
    """The volumes of one agent, for the owner of its machine."""

    async def list(self) -> tuple[Volume, ...]:
        """All volumes, sorted by id, measured."""
        ...

    async def remove(self, volume_id: str) -> None:
        """Delete a volume. Raises NotFound, or Conflict while a container uses it."""
        ...

    def export(self, volume_id: str) -> AsyncGenerator[bytes, None]:
        """A volume's contents as a tar archive. Raises NotFound before the first piece; after the
        last, Conflict or RuntimeUnavailable if something is missing in it, with what it is."""
        ...
