"""An agent of a development pool: its directory, its process, its API."""

from pathlib import Path

import attrs
import trio

from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.discovery import agent_in
from p2pool.dev.processes import Child
from p2pool.model.ids import Address


@attrs.define
class DevAgent:
    """One agent: its directory, its process, its node id (0x hex)."""

    number: int
    directory: Path
    node_id: str
    provider: Address
    child: Child | None = None

    @property
    def name(self) -> str:
        """Its readable name."""
        return f"agent-{self.number}"

    def client(self) -> AgentClient:
        """A client of its API. `Unavailable` if it does not run."""
        return AgentClient.of(agent_in(self.directory), timeout_s=15)

    async def get(self, path: str, **query: str) -> Answer:
        """A read of its API."""
        return await trio.to_thread.run_sync(lambda: self.client().get(path, **query))
