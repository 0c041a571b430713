"""Carries out the worker's container effects, each in a trio task of its own.

Every effect comes back as exactly one input, whatever the engine does: the worker waits for it. An
error's class decides whose fault it is (`model.tasks.faults`), and with that what the worker does.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVarTuple, Unpack

import attrs
import psutil
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.containers.engine_restarts import EngineRestarts
from p2pool.agent.containers.secret_opener import NOTHING_OPENS, SecretOpener
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.core.inputs import RuntimeObserved
from p2pool.core.worker import events as ev
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import P2poolError, Unavailable
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import (
    ContainerPlan,
    ContainerRuntime,
    ContainerStatus,
    PullProgress,
)
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.tasks.faults import fault_of
from p2pool.model.tasks.secrets import RegistryAuth

log = get_logger(__name__)

Given = TypeVarTuple("Given")

MakesWay = Callable[[Sequence[str]], Awaitable[None]]
"""Ends what has one of these GPUs and is no task, and waits until it has."""


async def nobody_has_any(gpus: Sequence[str]) -> None:
    """GPUs are tasks' alone."""


class Inbox(Protocol):
    """Receives the outcomes for containers: an agent's loop."""

    async def put(self, event: ev.WorkerInput | RuntimeObserved) -> None:
        """Queue an input; waits for room."""
        ...

    def offer(self, event: ev.WorkerInput) -> bool:
        """Queue an input if there is room."""
        ...


AtEnd = Callable[[ContainerStatus], Awaitable[None]]
"""Takes what a copy left behind; the second time for the same end it does nothing."""


async def _leave_it(_: ContainerStatus) -> None:
    """Nobody wants anything of it."""


class ContainerExecutor:
    """The container side of one agent. `at_end`: asked for each container that has ended, and again
    before anything of it goes; it ends by itself in bounded time."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        loop: Inbox,
        task_metrics: TaskMetrics,
        metrics: Metrics,
        opener: SecretOpener = NOTHING_OPENS,
        make_way: MakesWay = nobody_has_any,
    ) -> None:
        """`loop` receives the outcomes, `metrics` how long calls took; `opener` opens secrets;
        `make_way` frees GPUs of what is no task."""
        self._make_way = make_way
        self._opener = opener
        self.at_end: AtEnd = _leave_it
        self._ended: dict[tuple[AllocationId, int], ContainerStatus] = {}
        self.runtime = runtime
        self._said: RuntimeObserved | None = None
        self._listing = trio.Lock()
        self._removed: dict[tuple[AllocationId, int], None] = {}
        self._starting: dict[tuple[AllocationId, int], None] = {}
        self._unlisted: dict[tuple[AllocationId, int], None] = {}
        self._engine_restarts = EngineRestarts(int(psutil.boot_time() * 1000))
        self._task_metrics = task_metrics
        self._metrics = metrics
        self._loop = loop
        self._pulls: dict[tuple[AllocationId, int], trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self.handlers: dict[type[object], Callable[[Any], None]] = {
            ev.StartContainer: self.start_container,
            ev.CancelPull: self.cancel_pull,
            ev.RestartContainer: self.restart_container,
            ev.StopContainer: self.stop_container,
            ev.RemoveContainer: self.remove_container,
            ev.ListContainers: self.list_containers,
        }

    @property
    def kind(self) -> str:
        """The runtime's kind, as hardware records name it."""
        return self.runtime.kind.value

    async def stop_all(self) -> None:
        """Stop every container of this node, all at once, each within its own grace period."""
        statuses = [s for s in await self.runtime.list() if not s.ended]
        async with trio.open_nursery() as nursery:
            for status in statuses:
                grace_ms = limits.STOP_GRACE_DEFAULT_S * 1000
                nursery.start_soon(self.runtime.stop, status.allocation, status.attempt, grace_ms)

    async def run(self) -> None:
        """Carry out effects, and watch the engine and its health, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._observe)
            nursery.start_soon(self._watch)
            await trio.sleep_forever()

    # --- effects: each is begun, and goes on in a task of its own ---------------------------------

    def start_container(self, effect: ev.StartContainer) -> None:
        """Pull the image and start a container."""
        self._begin(self._start, effect.plan, effect.secrets)

    def cancel_pull(self, effect: ev.CancelPull) -> None:
        """Stop pulling an image; does nothing if no pull is running (any longer)."""
        if (scope := self._pulls.get((effect.allocation, effect.attempt))) is not None:
            scope.cancel()

    def restart_container(self, effect: ev.RestartContainer) -> None:
        """Start an ended container again."""
        self._begin(self._restart, effect.allocation, effect.attempt, effect.secrets)

    def stop_container(self, effect: ev.StopContainer) -> None:
        """Stop a container within its grace period."""
        self._begin(self._stop, effect.allocation, effect.attempt, effect.grace_ms)

    def remove_container(self, effect: ev.RemoveContainer) -> None:
        """Remove an ended container."""
        self._begin(self._remove, effect.allocation, effect.attempt)

    def list_containers(self, _: ev.ListContainers) -> None:
        """List the containers that exist."""
        self._begin(self._list)

    def _begin(self, work: Callable[[Unpack[Given]], Awaitable[None]], *given: *Given) -> None:
        assert self._nursery is not None, "an effect before `run`"
        self._nursery.start_soon(work, *given)

    # --- one effect each --------------------------------------------------------------------------

    async def _start(self, plan: ContainerPlan, sealed: SealedSecret | None) -> None:
        allocation, attempt = plan.allocation, plan.attempt
        try:
            await self._make_way(plan.gpus)
            opened = self._opener.open(sealed)
            plan = attrs.evolve(plan, secrets=opened.values)
            with self._metrics.timed("pull"):
                digest = await self._pull(plan, opened.registry_auth)
            with self._begun(allocation, attempt), self._metrics.timed("start"):
                directory = self._task_metrics.open(allocation, attempt)
                plan = attrs.evolve(plan, metrics_directory=directory, image_digest=digest)
                status = await self.runtime.start(plan)
        except P2poolError as error:
            await self._failed(allocation, attempt, error)
        else:
            await self._loop.put(ev.ContainerStarted(status))

    @contextmanager
    def _begun(self, allocation: AllocationId, attempt: int) -> Iterator[None]:
        """Mark a start as in progress: a listing from before it does not show the container."""
        key = (allocation, attempt)
        self._starting[key] = self._unlisted[key] = None
        try:
            yield
        finally:
            del self._starting[key]

    async def _pull(self, plan: ContainerPlan, auth: RegistryAuth | None) -> str:
        """Pull the image, reporting progress at most once a second; returns its digest."""
        said_s = 0.0

        def progressed(progress: PullProgress) -> None:
            nonlocal said_s
            if trio.current_time() - said_s >= 1:
                said_s = trio.current_time()
                self._loop.offer(ev.PullProgressed(plan.allocation, plan.attempt, progress))

        # Only the pull can be cut off: we wait for a start in progress, then stop the container.
        key = (plan.allocation, plan.attempt)
        with trio.move_on_after(limits.PULL_DEADLINE_MS / 1000) as scope:
            self._pulls[key] = scope
            try:
                return await self.runtime.pull(plan.spec.image, progressed, plan.spec.pull, auth)
            finally:
                del self._pulls[key]
        late = trio.current_time() >= scope.deadline
        why = "could not be fetched in an hour" if late else "is no longer waited for"
        raise Unavailable(f"The image {plan.spec.image} {why}.")

    async def _restart(
        self, allocation: AllocationId, attempt: int, sealed: SealedSecret | None
    ) -> None:
        await self._before_it_goes(allocation, attempt)
        try:
            opened = self._opener.open(sealed)
            with self._begun(allocation, attempt), self._metrics.timed("restart"):
                self._task_metrics.open(allocation, attempt)
                status = await self.runtime.restart(allocation, attempt, opened.values)
        except P2poolError as error:
            await self._failed(allocation, attempt, error)
        else:
            await self._loop.put(ev.ContainerStarted(status))

    async def _failed(self, allocation: AllocationId, attempt: int, error: P2poolError) -> None:
        fault = fault_of(error)
        log.warning(
            "a container failed to start",
            allocation=str(allocation),
            attempt=attempt,
            code=error.code,
            reason=str(error),
            fault=fault.value,
        )
        await self._loop.put(
            ev.StartFailed(
                allocation=allocation,
                attempt=attempt,
                code=error.code,
                message=str(error),
                fault=fault,
            )
        )

    async def _stop(self, allocation: AllocationId, attempt: int, grace_ms: int) -> None:
        try:
            with trio.fail_after((grace_ms + 2 * limits.KILL_DEADLINE_MS) / 1000):
                with self._metrics.timed("stop"):
                    await self.runtime.stop(allocation, attempt, grace_ms)
        except P2poolError as error:
            await self._loop.put(ev.StopFailed(allocation, attempt, str(error)))
        except trio.TooSlowError:
            await self._loop.put(ev.StopFailed(allocation, attempt, "it does not end"))
        else:
            await self._loop.put(ev.ContainerStopped(allocation, attempt))
            await self._list()

    async def _before_it_goes(self, allocation: AllocationId, attempt: int) -> None:
        if (status := self._ended.pop((allocation, attempt), None)) is not None:
            await self.at_end(status)

    async def _remove(self, allocation: AllocationId, attempt: int) -> None:
        await self._before_it_goes(allocation, attempt)
        try:
            await self.runtime.remove(allocation, attempt)
        except P2poolError as error:
            log.info("a container is not removed", allocation=str(allocation), reason=str(error))
        else:
            self._task_metrics.forget(allocation, attempt)
            self._removed[allocation, attempt] = None
            await self._loop.put(ev.ContainerRemoved(allocation, attempt))

    async def _list(self) -> None:
        """List and report, one listing at a time, so reports come in the order of the listings."""
        async with self._listing:
            began_ms = read_clock().wall_ms
            self._removed.clear()
            self._unlisted = dict(self._starting)
            try:
                with trio.fail_after(limits.ENGINE_CALL_TIMEOUT_MS / 1000):
                    with self._metrics.timed("list"):
                        statuses = await self.runtime.list()
            except (P2poolError, trio.TooSlowError) as error:
                await self._observed(self._away(str(error) or "it does not answer"))
            else:
                await self._listed(statuses, began_ms)

    async def _listed(self, found: tuple[ContainerStatus, ...], began_ms: int) -> None:
        # Reported after its removal, a container would look like one that nobody has reported.
        statuses = tuple(s for s in found if (s.allocation, s.attempt) not in self._removed)
        judged = self._engine_restarts.judge(statuses, began_ms, read_clock().wall_ms)
        if judged.held and self._nursery is not None:
            self._nursery.start_soon(self._look_again)
        self._metrics.containers = Counter(status.state.value for status in statuses)
        self._task_metrics.keep(
            [(s.allocation, s.attempt) for s in statuses if not s.ended],
            [*((s.allocation, s.attempt) for s in statuses), *self._unlisted],
        )
        self._ended = {(s.allocation, s.attempt): s for s in judged.statuses if s.ended}
        for ended in self._ended.values():
            self._begin(self.at_end, ended)
        await self._loop.put(ev.ContainersListed(judged.statuses, judged.interrupted))

    async def _look_again(self) -> None:
        """A container was killed a moment ago: see whether the engine is still there."""
        await trio.sleep(limits.KILLED_HOLD_MS / 1000)
        await self._list()

    # --- the engine itself ------------------------------------------------------------------------

    async def _observe(self) -> None:
        """Report whether the engine answers, at once when that changes."""
        while True:
            try:
                with trio.fail_after(limits.ENGINE_CALL_TIMEOUT_MS / 1000):
                    await self.runtime.probe()
            except P2poolError as error:
                found = self._away(str(error))
            except trio.TooSlowError:
                found = self._away("The container engine does not answer.")
            else:
                found = await self._mounts()
            await self._observed(found)
            await trio.sleep(limits.RUNTIME_PROBE_INTERVAL_MS / 1000)

    def _away(self, reason: str) -> RuntimeObserved:
        """The engine does not answer."""
        self._engine_restarts.went_away(read_clock().wall_ms)
        return RuntimeObserved(False, reason)

    async def _mounts(self) -> RuntimeObserved:
        """An engine that answers and gives containers nothing of this agent's is not away."""
        try:
            await self.runtime.probe_directories()
        except P2poolError as error:
            return RuntimeObserved(False, str(error))
        return RuntimeObserved(True)

    async def _observed(self, found: RuntimeObserved) -> None:
        """The latest call to the engine decides whether it answers; the core hears of changes."""
        said, self._said = self._said, found
        if found == said:
            return
        if not found.well and (said is None or said.well):
            log.warning("the container engine cannot run tasks", reason=found.reason)
        elif found.well and said is not None:
            log.info("the container engine can run tasks again")
        await self._loop.put(found)

    async def _watch(self) -> None:
        """List again whenever an engine event hints that something happened."""
        while True:
            try:
                async for _ in self.runtime.watch():
                    await self._list()
            except P2poolError as error:
                log.debug("the engine's events ended", reason=str(error))
                # The engine may have gone and come back before anybody asked.
                self._engine_restarts.went_away(read_clock().wall_ms)
            await trio.sleep(limits.RECONCILE_INTERVAL_MS / 1000)
