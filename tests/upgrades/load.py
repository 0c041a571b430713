"""Somebody who submits tasks all along, one after the other, at whichever agent is there."""

from itertools import count

import attrs
import trio

from p2pool.dev.agent import DevAgent
from tests.e2e.harness.actions import Acting


@attrs.define
class Load:
    """Short tasks, submitted by the command line. `acknowledged`: what the pool said yes to. Agents
    in `away` are not asked: people wait for an agent that they stopped themselves."""

    acting: Acting
    acknowledged: list[str] = attrs.field(factory=list)
    away: list[DevAgent] = attrs.field(factory=list)

    async def submit(self) -> None:
        """Until cancelled."""
        for number in count():
            there = [agent for agent in self.acting.agents if agent not in self.away]
            agent = there[number % len(there)]
            await self.submit_one(agent, f"load-{number}")

    async def submit_one(self, agent: DevAgent, name: str) -> None:
        """One task; only what was acknowledged counts. No answer while leadership moves is one of
        the answers that people get."""

        def run() -> str | None:
            try:
                return self.acting.submit(agent, name, "true")
            except AssertionError:
                return None

        task = await trio.to_thread.run_sync(run)
        if task is not None:
            self.acknowledged.append(task)

    async def goes_on(self, more: int = 1) -> None:
        """Wait until the pool has said yes again."""
        wanted = len(self.acknowledged) + more

        async def said() -> bool:
            return len(self.acknowledged) >= wanted

        await self.acting.pool.wait(f"{more} more tasks to be taken", said)

    async def check(self, at: DevAgent) -> None:
        """Wait until all that was acknowledged has run to its end, as an agent knows it."""
        for task in self.acknowledged:
            await self.acting.wait_states(at, task, "succeeded")
