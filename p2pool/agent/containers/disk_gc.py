"""Periodic disk work for containers: check quotas, and delete what has outlived its keep time.

A volume goes only when the replicated state says that its task has ended. A missing state, or a
task that the state does not have yet, does not say so. Whatever fails is retried at the next look;
tasks keep running meanwhile.
"""

import time

import trio

from p2pool.agent.loop import Loop
from p2pool.core.worker import events as ev
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.config.schema import VolumesConfig
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import TaskId
from p2pool.model.ports.runtime import ContainerRuntime, RunningCopy
from p2pool.model.ports.volumes import Retention
from p2pool.model.states import AllocationState

log = get_logger(__name__)


class DiskCollector:
    """Looks after one agent's disk."""

    def __init__(self, runtime: ContainerRuntime, loop: Loop, volumes: VolumesConfig) -> None:
        """`volumes`: what the owner keeps, and for how long."""
        self._runtime, self._loop = runtime, loop
        self._keep = Retention(volumes.keep_tasks, volumes.keep_for_s)

    async def run(self) -> None:
        """Look periodically until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._quotas)
            nursery.start_soon(self._sweeps)

    async def _quotas(self) -> None:
        while True:
            await trio.sleep(limits.QUOTA_CHECK_INTERVAL_MS / 1000)
            try:
                await self.look()
            except P2poolError as error:
                log.info("cannot check quotas", reason=str(error))

    async def look(self) -> None:
        """Report to the worker every container that holds more than it asked for."""
        held = self.held()
        for over in await self._runtime.overused(held) if held else ():
            log.warning("a quota is exceeded", allocation=str(over.allocation), reason=over.reason)
            await self._loop.put(ev.QuotaExceeded(over.allocation, over.attempt, over.reason))

    def held(self) -> tuple[RunningCopy, ...]:
        """The copies that run here and declared how much they would write."""
        return tuple(
            RunningCopy(item.allocation, item.attempt, item.spec)
            for item in self._loop.node.parts.worker.items.values()
            if item.state is AllocationState.RUNNING and item.spec is not None
            if item.spec.resources.disk_bytes or any(m.size_bytes for m in item.spec.mounts)
        )

    async def _sweeps(self) -> None:
        while True:
            await trio.sleep(limits.VOLUME_SWEEP_INTERVAL_MS / 1000)
            try:
                for what in await self._runtime.tidy(self.has_ended, self._keep):
                    log.info("deleted", what=what)
            except P2poolError as error:
                log.info("cannot clean up the disk", reason=str(error))

    def has_ended(self, task_id: TaskId, used_at_ms: int) -> bool:
        """Whether a task is known to have ended. A task that the state does not know (any longer)
        has ended if nothing of it has started here for a while."""
        node = self._loop.node
        if any(
            i.allocation.task_id == task_id and not i.ended
            for i in node.parts.worker.items.values()
        ):
            return False
        state = node.context.pool_log.state
        if state is None:
            return False
        task = state.tasks.get(task_id)
        if task is not None:
            return task.finished
        return time.time_ns() // 1_000_000 - used_at_ms > limits.VOLUME_TASK_GRACE_MS
