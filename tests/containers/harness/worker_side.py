"""The container side of an agent without a pool: worker, disk rows, executor, a small loop.

The loop does what the agent's does: inputs in, rows kept before anything is carried out, effects
out. A test gives the orders and takes the reports, as a leader would.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import docker
import pytest
import trio
import trio.testing
from docker.errors import APIError

from p2pool.agent.clock import read_clock
from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.telemetry.prometheus import Metrics
from p2pool.agent.telemetry.task_metrics import TaskMetrics
from p2pool.core.inputs import RuntimeObserved
from p2pool.core.worker import events as ev
from p2pool.core.worker.worker import Worker
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.model import limits
from p2pool.model.ids import Token
from p2pool.model.log.entries import Outcome
from p2pool.model.messages.work import Desired, Order, ReportAnswered, Stop
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.ports.store import TABLES, Delete, Put
from p2pool.model.states import TERMINAL_ALLOCATION_STATES, AllocationState

Rows = dict[str, dict[bytes, bytes]]
TURN_MS = 200


@attrs.define
class Disk:
    """What outlives an agent: its rows, and what its leader knows of it."""

    rows: Rows = attrs.field(factory=lambda: {name: {} for name in TABLES})
    index: int = 0
    told: list[Outcome] = attrs.field(factory=list)


class Side:
    """One life of an agent's container side."""

    def __init__(self, scope: RuntimeScope, url: str, directory: Path, disk: Disk) -> None:
        """Takes up what is on the disk; `running` makes it go."""
        self.runtime = DockerRuntime(scope, directory, base_url=url)
        self.disk = disk
        self.observed: list[RuntimeObserved] = []
        self._scope = scope
        self.worker = Worker(scope, lambda d, s, t: None, disk.rows, keep_ms=0)
        self.worker.member(True)
        self._send, self._receive = trio.open_memory_channel[ev.WorkerInput | RuntimeObserved](
            limits.INPUT_QUEUE_MAX
        )
        self._turned = trio.Event()
        metrics = Metrics(lambda: 0, lambda: 0)
        self.work = ContainerExecutor(self.runtime, self, TaskMetrics(directory), metrics)

    # --- what a leader does -----------------------------------------------------------------------

    def order(self, *wanted: Desired, stops: tuple[Desired, ...] = ()) -> None:
        """Give a newer order."""
        self.disk.index += 1
        named = tuple(Stop(d.allocation, d.attempt) for d in stops)
        order = Order(self._scope.node_id, Token(1, 1, self.disk.index), wanted, named)
        assert self.worker.obey(order, (None,) * len(wanted), read_clock()).ok
        self._turn()

    def state(self, of: Desired) -> AllocationState | None:
        """How an attempt stands here."""
        item = self.worker.items.get((of.allocation, of.attempt))
        return item.state if item is not None else None

    async def wait(self, until: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something holds of the worker."""
        with trio.move_on_after(seconds) as scope:
            while not until():
                await self._turned.wait()
        if scope.cancelled_caught:
            items = [(k[1], i.state.name, i.reason, i.busy) for k, i in self.worker.items.items()]
            raise AssertionError(f"never came: {items} well={self.worker.well}")

    async def wait_turned(self) -> None:
        """Wait for another turn of the loop."""
        await self._turned.wait()

    # --- the inbox --------------------------------------------------------------------------------

    async def put(self, event: ev.WorkerInput | RuntimeObserved) -> None:
        """As the loop's."""
        await self._send.send(event)

    def offer(self, event: ev.WorkerInput) -> bool:
        """As the loop's."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            return False
        return True

    # --- life -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Step until cancelled."""
        while True:
            with trio.move_on_after(TURN_MS / 1000):
                event = await self._receive.receive()
                if isinstance(event, RuntimeObserved):
                    self.observed.append(event)
                    self.worker.runtime(event.well)
                else:
                    self.worker.step(event, read_clock())
            self._turn()

    def _turn(self) -> None:
        now = read_clock()
        self.worker.tick(now)
        report = self.worker.report(now)
        if report is not None:
            # A leader keeps the first end of an attempt; what is settled is not told again.
            self.disk.told += [o for o in report.outcomes if o.state in TERMINAL_ALLOCATION_STATES]
            self.worker.settle(ReportAnswered(report.token, report.outcomes))
        operations, effects = self.worker.take()
        for op in operations:
            if isinstance(op, Put):
                self.disk.rows[op.table][op.key] = op.value
            elif isinstance(op, Delete):
                self.disk.rows[op.table].pop(op.key, None)
        for effect in effects:
            self.work.handlers[type(effect)](effect)
        turned, self._turned = self._turned, trio.Event()
        turned.set()


@asynccontextmanager
async def _in_nursery(side: Side) -> AsyncIterator[Side]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.work.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(side.run)
        try:
            yield side
        finally:
            nursery.cancel_scope.cancel()


running = _in_nursery


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that no event tells of."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.02)


def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for is the same, and shorter."""
    monkeypatch.setattr(limits, "ENGINE_CALL_TIMEOUT_MS", 3_000)
    monkeypatch.setattr(limits, "RUNTIME_PROBE_INTERVAL_MS", 500)
    monkeypatch.setattr(limits, "RECONCILE_INTERVAL_MS", 500)
    monkeypatch.setattr(limits, "RESTART_BACKOFF_MAX_MS", 1_000)
    monkeypatch.setattr(limits, "KILL_DEADLINE_MS", 2_000)


def sweep(url: str) -> None:
    """Remove every container and volume that is on a private engine."""
    client = docker.APIClient(base_url=url, version="auto")
    for row in client.containers(all=True):
        with suppress(APIError):
            client.remove_container(row["Id"], v=True, force=True)
    for volume in client.volumes()["Volumes"] or ():
        with suppress(APIError):
            client.remove_volume(volume["Name"])
    client.close()
