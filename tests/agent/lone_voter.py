"""A voter alone with its disk and its event hub, of which tests make things happen."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import attrs
import trio

from p2pool.agent.api_port import AgentApi
from p2pool.core.context import NodeConfig
from p2pool.core.log.pool_log import PoolLog
from p2pool.drivers.store.store import Store
from p2pool.model.ports.view import Event, EventId
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME, POOL, ROOT, setting

STEP = Now(20_000, 20_000)


@attrs.define
class Agent:
    """A voter alone, its disk, and its API."""

    pool_log: PoolLog
    store: Store
    api: AgentApi
    stepped: trio.Event = attrs.field(factory=trio.Event)

    async def settle(self) -> None:
        """What a step ends with: the write, then what it tells."""
        log = self.pool_log
        told, log.events = log.events, []
        log.applied, log.send, log.seal = [], [], []
        if written := log.take_persist():
            await self.store.write(tuple(written))
        for event in told:
            self.api.event_hub.emit(event)
        self.stepped.set()
        self.stepped = trio.Event()

    async def happen(self, count: int) -> None:
        """So many entries, each with an event."""
        for number in range(count):
            self.pool_log.propose(*setting(f"{number}"), STEP)
            await self.settle()

    async def read(self, after: EventId | None, count: int) -> list[Event]:
        """So many events after an id."""
        found: list[Event] = []
        events = cast(Any, (await self.api.events(after)).events)
        with trio.fail_after(5):
            async with aclosing(events):
                while len(found) < count:
                    found.append(await anext(events))
        return found


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[Agent]:
    """An agent over the disk in a directory, which leads."""
    async with Store.open(path, POOL) as store:
        pool_log = PoolLog(ME, POOL, Random(1))
        pool_log.restore(store.restored, Now(0, 0))
        pool_log.events.clear()
        pool_log.follow_root(ROOT, Now(0, 0))
        config = cast(NodeConfig, SimpleNamespace(pool=POOL))
        node = SimpleNamespace(context=SimpleNamespace(pool_log=pool_log, config=config))
        loop = cast(Any, SimpleNamespace(node=node))
        agent: Agent

        async def stepped() -> None:
            await agent.stepped.wait()

        loop.wait_stepped = stepped
        agent = Agent(pool_log, store, AgentApi(loop, Mock(), Mock(), Mock(), Mock(), Mock()))
        pool_log.tick(Now(10_000, 10_000))
        await agent.settle()
        yield agent
