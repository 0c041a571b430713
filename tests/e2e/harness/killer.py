"""Kills agents of a pool one after the other, each by SIGKILL, and starts each again."""

import attrs
import trio

from p2pool.dev.pool import DevAgent
from p2pool.model.errors import P2poolError, Unavailable
from tests.e2e.harness.actions import Acting


@attrs.define
class Killer:
    """`killed`: how often it did. The next one waits until the last is back, so that a majority of
    three is left."""

    acting: Acting
    killed: int = 0

    async def once(self, agent: DevAgent) -> None:
        """Kill one, and start it again. Once it is killed nobody breaks this off: a pool is left
        whole."""
        with trio.CancelScope(shield=True):
            await self.acting.kill(agent)
            self.killed += 1
            await self._start(agent)

    async def _start(self, agent: DevAgent) -> None:
        """Start it; on a machine that is busy it may be late, and is waited for while it lives."""
        try:
            await self.acting.start(agent)
        except Unavailable:
            while not await self._ready(agent):
                assert agent.child is not None
                assert agent.child.alive
                await trio.sleep(1)

    async def _ready(self, agent: DevAgent) -> bool:
        try:
            return await self.acting.is_ready(agent)
        except P2poolError:
            return False
