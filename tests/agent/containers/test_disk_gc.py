"""The disk is looked after, and nothing goes whose task is not known to have ended."""

import time
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest

from p2pool.agent.containers.disk_gc import DiskCollector
from p2pool.agent.loop import Loop
from p2pool.core.worker.attempt import Attempt
from p2pool.core.worker.events import QuotaExceeded
from p2pool.drivers.config.schema import VolumesConfig
from p2pool.model import limits
from p2pool.model.ids import ZERO_TOKEN, AllocationId, TaskId
from p2pool.model.ports.runtime import ContainerRuntime, Overuse, RunningCopy
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import Mount, MountKind, Resources, TaskSpec

TASK = TaskId(b"t" * 16)
LONG_AGO_MS = 1


class FakeLoop:
    """A loop whose node is what a test says, and that keeps what it is told."""

    def __init__(self, state: Any, *items: Attempt) -> None:
        worker = SimpleNamespace(items={item.key: item for item in items})
        context = SimpleNamespace(pool_log=SimpleNamespace(state=state))
        parts = SimpleNamespace(worker=worker)
        self.node = SimpleNamespace(parts=parts, context=context)
        self.told: list[Any] = []

    async def put(self, event: Any) -> None:
        self.told.append(event)


class FakeRuntime:
    """Everything that it is asked about is over its quota."""

    async def overused(self, held: tuple[RunningCopy, ...]) -> tuple[Overuse, ...]:
        return tuple(Overuse(one.allocation, one.attempt, "too much") for one in held)


def item(state: AllocationState, spec: TaskSpec | None, replica: int = 0) -> Attempt:
    return Attempt(AllocationId(TASK, replica), 1, ZERO_TOKEN, None, spec, state)


def tidy(loop: FakeLoop) -> DiskCollector:
    return DiskCollector(cast(ContainerRuntime, FakeRuntime()), cast(Loop, loop), VolumesConfig())


@pytest.mark.parametrize(
    ("tasks", "unused_ms", "over"),
    [
        (None, 2 * limits.VOLUME_TASK_GRACE_MS, False),
        ({TASK: False}, 2 * limits.VOLUME_TASK_GRACE_MS, False),
        ({TASK: True}, 0, True),
        ({}, 0, False),
        ({}, limits.VOLUME_TASK_GRACE_MS + 60_000, True),
    ],
    ids=["no state", "runs", "ended", "not known yet", "forgotten"],
)
def test_unknown_is_not_ended(tasks: dict[TaskId, bool] | None, unused_ms: int, over: bool) -> None:
    """Only what the replicated state says ended has, or what it has long forgotten."""
    state = None
    if tasks is not None:
        known = {name: SimpleNamespace(finished=done) for name, done in tasks.items()}
        state = SimpleNamespace(tasks=known)
    used_at_ms = time.time_ns() // 1_000_000 - unused_ms
    assert tidy(FakeLoop(state)).has_ended(TASK, used_at_ms) is over


def test_what_runs_here_has_not_ended() -> None:
    """Whatever the state says of its task."""
    state = SimpleNamespace(tasks={TASK: SimpleNamespace(finished=True)})
    running = item(AllocationState.RUNNING, None)
    assert not tidy(FakeLoop(state, running)).has_ended(TASK, LONG_AGO_MS)


async def test_only_what_runs_and_has_a_quota_is_looked_at() -> None:
    """And the worker hears of who is over it."""
    plain = TaskSpec(name="a", image="i")
    limited = attrs.evolve(plain, resources=Resources(disk_bytes=1))
    mounted = attrs.evolve(plain, mounts=(Mount(MountKind.TASK, "/d", "d", size_bytes=1),))
    loop = FakeLoop(
        None,
        item(AllocationState.RUNNING, plain, 0),
        item(AllocationState.RUNNING, limited, 1),
        item(AllocationState.RUNNING, mounted, 2),
        item(AllocationState.FAILED, limited, 3),
        item(AllocationState.RUNNING, None, 4),
    )
    await tidy(loop).look()
    assert [type(event) for event in loop.told] == [QuotaExceeded, QuotaExceeded]
    assert [event.allocation.replica for event in loop.told] == [1, 2]
