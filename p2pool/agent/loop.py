"""The one loop of an agent: inputs in, effects out, the disk in between.

Intuition: one task owns the `Node`. It takes all queued inputs, makes one step for all of them,
waits until the step's writes are on disk, then carries out the rest in order. Inputs queue up while
it waits for the disk, so under load steps grow and share writes.

Invariants: nothing is sent before what it promises is durable; a full queue makes drivers wait
(they have bounds of their own); the core learns when the loop itself ran late.
Source: docs/ARCHITECTURE.md, "One step".
"""

from collections.abc import Callable

import trio

from p2pool.agent.clock import read_clock
from p2pool.core import effects as fx
from p2pool.core.effects import AnyEffect
from p2pool.core.inputs import LoopLagged, PersistFailed, Ticked
from p2pool.core.node import AnyInput, Node
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.errors import StoreFailed

log = get_logger(__name__)

RunEffect = Callable[[AnyEffect], None]
"""Carries out one effect, and never waits."""


class Loop:
    """Drives one node."""

    def __init__(self, node: Node, store: Store) -> None:
        """Nothing runs yet."""
        self.node = node
        self.steps = 0
        self.lagged_ms = 0
        self._done_ms = read_clock().mono_ms
        self._store = store
        self._send, self._receive = trio.open_memory_channel[AnyInput](limits.INPUT_QUEUE_MAX)
        self._stepped = trio.Event()
        self.store_failed = trio.Event()

    async def put(self, event: AnyInput) -> None:
        """Queue an input; waits for room."""
        await self._send.send(event)

    async def feed(self, event: AnyInput) -> None:
        """Queue an input from the network; waits until the next step has room for it. So whoever
        floods is held back where peers have lines of their own, and not in the one queue of all."""
        while self.queued >= limits.INPUTS_PER_STEP_MAX:
            await self._stepped.wait()
        await self.put(event)

    def offer(self, event: AnyInput) -> bool:
        """Queue an input if there is room."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            return False
        return True

    @property
    def queued(self) -> int:
        """How many inputs wait."""
        return self._receive.statistics().current_buffer_used

    async def wait_stepped(self) -> None:
        """Wait until the node has made another step."""
        await self._stepped.wait()

    async def run(self, run_effect: RunEffect) -> None:
        """Step until cancelled."""
        self._done_ms = read_clock().mono_ms
        while True:
            batch = await self._next_batch()
            now = read_clock()
            effects = self.node.step(batch, now)
            rest = await self._persist(effects)
            for effect in rest:
                run_effect(effect)
            self.steps += 1
            stepped, self._stepped = self._stepped, trio.Event()
            stepped.set()
            self._done_ms = read_clock().mono_ms
            await trio.lowlevel.checkpoint()

    async def _next_batch(self) -> list[AnyInput]:
        """Everything queued, or a tick when something is due."""
        began_ms = read_clock().mono_ms
        due_ms = max(began_ms, self.node.next_wakeup_ms)
        wait_ms = due_ms - began_ms
        batch: list[AnyInput] = []
        with trio.move_on_after(wait_ms / 1000):
            batch.append(await self._receive.receive())
        # Two things count as late: inputs after the deadline, and a loop that was kept from
        # looking. This task yields once between two steps, and another task may hold the scheduler
        # for long.
        late_ms = max(began_ms - self._done_ms, read_clock().mono_ms - due_ms)
        while batch and len(batch) < limits.INPUTS_PER_STEP_MAX:
            try:
                batch.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                break
        if late_ms > limits.LOOP_LAG_MAX_MS:
            self.lagged_ms = max(self.lagged_ms, late_ms)
            batch.append(LoopLagged(late_ms))
        return batch or [Ticked()]

    async def _persist(self, effects: list[AnyEffect]) -> list[AnyEffect]:
        """Make the first effect durable if it asks for that; return the effects that remain."""
        if not effects or not isinstance(effects[0], fx.Persist):
            return effects
        try:
            await self._store.write(effects[0].operations)
        except StoreFailed as error:
            # The step promised nothing yet: only the node's report of the failure goes out.
            self.store_failed.set()
            return self.node.step(PersistFailed(error.message), read_clock())
        return effects[1:]
