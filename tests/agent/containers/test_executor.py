"""What comes back of effects, in which order: with a runtime that answers when the test says so."""

from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import SOCKET_NAME, TaskMetrics
from p2pool.core.inputs import RuntimeObserved
from p2pool.core.worker import events as ev
from p2pool.model.ids import AllocationId, Digest, TaskId, Token
from p2pool.model.ports.runtime import ContainerPlan, ContainerState, ContainerStatus
from p2pool.model.tasks.spec import TaskSpec

COPY = AllocationId(TaskId(b"1" * 16), 0)
ENDED = ContainerStatus(
    COPY, 1, Token(1, 1, 1), Digest(b"h" * 32), ContainerState.EXITED, exit_code=0
)


class SlowLister:
    """A runtime whose listings are of when they were asked for, and come when they are let."""

    def __init__(self, *containers: ContainerStatus) -> None:
        self.containers = list(containers)
        self.asked, self.let = trio.Event(), trio.Event()
        self.started: list[ContainerPlan] = []

    async def list(self) -> tuple[ContainerStatus, ...]:
        """What was there when it was asked."""
        found = tuple(self.containers)
        self.asked.set()
        await self.let.wait()
        return found

    async def pull(self, image: str, on_progress: Any, policy: Any, auth: Any = None) -> str:
        """It is there."""
        return ""

    async def start(self, plan: ContainerPlan) -> ContainerStatus:
        """At once; what it was to be is kept."""
        self.started.append(plan)
        return attrs.evolve(ENDED, state=ContainerState.RUNNING, exit_code=None)

    async def remove(self, allocation: AllocationId, attempt: int) -> None:
        """At once."""
        self.containers.clear()

    async def probe(self) -> None:
        """It is there."""

    async def probe_directories(self) -> None:
        """They are seen."""

    async def watch(self) -> Any:
        """Nothing happens."""
        await trio.Event().wait()
        yield


class Inbox:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[ev.WorkerInput | RuntimeObserved] = []

    async def put(self, event: ev.WorkerInput | RuntimeObserved) -> None:
        """Keep it."""
        self.told.append(event)

    def offer(self, event: ev.WorkerInput) -> bool:
        """Keep it."""
        self.told.append(event)
        return True


async def test_a_listing_from_before_a_removal_does_not_bring_it_back(tmp_path: Path) -> None:
    """Else it would be taken for a container that nobody knows, and told as ended once more."""
    runtime, inbox = SlowLister(ENDED), Inbox()
    metrics = Metrics(lambda: 0, lambda: 0)
    executor = ContainerExecutor(runtime, inbox, TaskMetrics(tmp_path), metrics)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.run)
        await trio.testing.wait_all_tasks_blocked()
        executor.list_containers(ev.ListContainers())
        await runtime.asked.wait()
        executor.remove_container(ev.RemoveContainer(COPY, 1))
        await trio.testing.wait_all_tasks_blocked()
        runtime.let.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    told = [e for e in inbox.told if not isinstance(e, RuntimeObserved)]
    assert told == [ev.ContainerRemoved(COPY, 1), ev.ContainersListed(())]


async def test_what_a_copy_left_is_taken_before_it_goes(tmp_path: Path) -> None:
    """At each listing that shows its end, and a last time before its container is removed."""
    runtime, inbox = SlowLister(ENDED), Inbox()
    metrics = Metrics(lambda: 0, lambda: 0)
    executor = ContainerExecutor(runtime, inbox, TaskMetrics(tmp_path), metrics)  # type: ignore[arg-type]
    taken: list[ContainerStatus] = []
    let = trio.Event()

    async def take(status: ContainerStatus) -> None:
        assert runtime.containers == [ENDED]
        taken.append(status)
        await let.wait()

    executor.at_end = take
    runtime.let.set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(executor.run)
        await trio.testing.wait_all_tasks_blocked()
        executor.list_containers(ev.ListContainers())
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [ENDED]
        executor.remove_container(ev.RemoveContainer(COPY, 1))
        await trio.testing.wait_all_tasks_blocked()
        assert taken == [ENDED, ENDED]
        assert ev.ContainerRemoved(COPY, 1) not in inbox.told
        let.set()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ev.ContainerRemoved(COPY, 1) in inbox.told


async def test_a_listing_from_before_a_start_leaves_it_its_socket(tmp_path: Path) -> None:
    """Else the directory that is mounted is gone before the engine looks; the next listing, which
    knows, takes it away."""
    runtime, inbox = SlowLister(), Inbox()
    sockets = TaskMetrics(tmp_path)
    executor = ContainerExecutor(runtime, inbox, sockets, Metrics(lambda: 0, lambda: 0))  # type: ignore[arg-type]
    plan = ContainerPlan(COPY, 1, Token(1, 1, 1), TaskSpec("t", "i"), Digest(b"h" * 32))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sockets.run)
        nursery.start_soon(executor.run)
        await trio.testing.wait_all_tasks_blocked()
        executor.list_containers(ev.ListContainers())
        await runtime.asked.wait()
        executor.start_container(ev.StartContainer(plan))
        await trio.testing.wait_all_tasks_blocked()
        runtime.let.set()
        await trio.testing.wait_all_tasks_blocked()
        mounted = Path(runtime.started[0].metrics_directory)
        assert mounted.is_dir()
        with trio.fail_after(10):
            while not (mounted / SOCKET_NAME).exists():  # It is made in a thread.
                await trio.lowlevel.checkpoint()
        executor.list_containers(ev.ListContainers())
        await trio.testing.wait_all_tasks_blocked()
        assert not mounted.exists()
        nursery.cancel_scope.cancel()
