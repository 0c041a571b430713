"""A scene: a pool of real processes, a user of it, and what the scenarios ask of both."""

import http.client
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from p2pool.client.discovery import agent_in
from p2pool.codec.json.requests import request_json
from p2pool.dev.pool import DevAgent
from p2pool.model.access.requests import SignedRequest
from p2pool.model.errors import P2poolError
from tests.chaos.pool import ChaosPool
from tests.chaos.user import User

PATIENCE_S = 60.0
ANSWER_S = 30.0
POLL_S = 0.1


@attrs.frozen
class Said:
    """An answer of an agent, as HTTP has it."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@attrs.define
class Scene:
    """A pool, and a user of it."""

    pool: ChaosPool
    user: User

    # --- asking -----------------------------------------------------------------------------------

    async def http(self, agent: DevAgent, method: str, path: str, body: object = None) -> Said:
        """One request, and whatever is answered."""

        def ask() -> Said:
            found = agent_in(agent.directory)
            connection = http.client.HTTPConnection(urlsplit(found.url).netloc, timeout=ANSWER_S)
            try:
                headers = {"Authorization": f"Bearer {found.token}"}
                sent = None
                if body is not None:
                    sent, headers["Content-Type"] = json.dumps(body), "application/json"
                connection.request(method, path, sent, headers)
                answer = connection.getresponse()
                return Said(
                    answer.status,
                    {name.lower(): value for name, value in answer.getheaders()},
                    json.loads(answer.read() or b"{}"),
                )
            finally:
                connection.close()

        return await trio.to_thread.run_sync(ask)

    async def post(self, agent: DevAgent, signed: SignedRequest) -> Said:
        """Hand a signed request to an agent, once."""
        return await self.http(agent, "POST", "/v1/requests", request_json(signed))

    async def write(self, agent: DevAgent, signed: SignedRequest) -> dict[str, Any]:
        """Have it carried out, as patient clients do."""
        return await trio.to_thread.run_sync(
            lambda: agent.client().send(signed, patience_ms=int(PATIENCE_S * 1000))
        )

    async def task(self, agent: DevAgent, task: str) -> Said:
        """A consistent read of a task."""
        return await self.http(agent, "GET", f"/v1/tasks/{task}?consistent=true")

    # --- who is who -------------------------------------------------------------------------------

    async def leader(self) -> DevAgent:
        """Who leads, once somebody does."""
        return self.pool.named(str(await self.until("a leader", self.pool.leader)))

    def others(self, *agents: DevAgent) -> list[DevAgent]:
        """Everybody else."""
        return [a for a in self.pool.agents if a not in agents]

    async def elected(self, old: DevAgent, seen_by: list[DevAgent]) -> DevAgent:
        """Another leader than the old one, as these agents say."""

        async def another() -> str | None:
            said = {
                (await self.pool.ask(agent, "/v1/leader"))["leader"]["node_id"] for agent in seen_by
            }
            found = next(iter(said))
            return found if len(said) == 1 and found not in (None, old.node_id) else None

        return self.pool.named(str(await self.until("another leader", another)))

    async def term(self, agent: DevAgent) -> int:
        """The term that an agent is in."""
        return int((await self.pool.ask(agent, "/v1/leader"))["meta"]["term"])

    # --- waiting ----------------------------------------------------------------------------------

    async def until(
        self, what: str, done: Callable[[], Awaitable[Any]], patience_s: float = PATIENCE_S
    ) -> Any:
        """Ask until the answer is true."""
        last = ""
        with trio.move_on_after(patience_s):
            while True:
                try:
                    if answer := await done():
                        return answer
                except P2poolError as error:
                    last = str(error)
                await trio.sleep(POLL_S)
        raise TimeoutError(f"no {what} within {patience_s:.0f} s; {last}")

    async def places(self, task: str) -> list[str]:
        """Where copies of a task run, by the runtimes' own account."""
        return [
            agent.name
            for agent in self.pool.agents
            if f"{task}.0" in await self.pool.containers(agent)
        ]

    async def running(self, task: str) -> bool:
        """Whether one runs anywhere."""
        return bool(await self.places(task))

    async def is_said(self, agent: DevAgent, task: str, state: str = "running") -> bool:
        """Whether an agent's own view of a task has this state."""
        seen = await self.pool.ask(agent, f"/v1/tasks/{task}")
        return bool(seen["task"]["state"] == state)

    async def not_running(self, task: str) -> bool:
        """The opposite."""
        return not await self.running(task)
