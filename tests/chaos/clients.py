"""Clients: each does one thing after the other, through any agent, and writes down what it heard.

They submit tasks, stop them, drain and resume a node, and read with `?consistent=true`. What is
not answered in time is sent again, the same request, through another agent; some requests are sent
again though they were answered. Where nobody answers they go on and leave it unknown.
"""

import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import agent_in
from p2pool.client.transport import NoAgent
from p2pool.dev.pool import DevAgent
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.errors import Conflict, NotFound, P2poolError, Unavailable
from tests.chaos.history.events import NOT_SENT, Event, History
from tests.chaos.history.models import ABSENT, DONE, DRAINED, ELIGIBLE, LIVE, REFUSED, STOPPED
from tests.chaos.user import User

TIMEOUT_S = 6.0
ATTEMPTS = 4
RETRY_S = 0.4
LIVING_MAX = 6
THREADS = 60


@attrs.define
class Load:
    """What all clients share: the history, and what there is to be asked about."""

    user: User
    agents: Sequence[DevAgent]
    history: History
    drainable: str
    limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(THREADS))
    tasks: list[str] = attrs.field(factory=list)
    living: list[str] = attrs.field(factory=list)
    signed: dict[str, tuple[str, str, SignedRequest]] = attrs.field(factory=dict)
    unexpected: list[str] = attrs.field(factory=list)
    count: int = 0

    async def read_task(self, process: str, task: str, agent: DevAgent) -> None:
        """A consistent read of one task."""

        def ask(client: AgentClient) -> str:
            try:
                found = client.task(task, consistent=True)
            except NotFound:
                return ABSENT
            return STOPPED if found["stop_requested"] else LIVE

        await self._read(process, f"task/{task}", agent, ask)

    async def read_intent(self, process: str, agent: DevAgent) -> None:
        """A consistent read of a node's intent."""

        def ask(client: AgentClient) -> str:
            path = f"/v1/nodes/{self.drainable}"
            intent = client.get(path, consistent="true")["node"]["intent"]
            return ELIGIBLE if intent == "eligible" else DRAINED

        await self._read(process, f"node/{self.drainable}", agent, ask)

    async def read_all(self, process: str, agent: DevAgent) -> None:
        """A consistent read of everything: an operation on each task."""
        keys = tuple(self.tasks)
        begun = [self.history.invoke(process, "read", f"task/{t}", agent=agent.name) for t in keys]
        try:
            found = await self._away(agent, lambda client: client.tasks(consistent=True))
        except P2poolError as error:
            for one in begun:
                self.history.end(one, "fail", NOT_SENT, str(error))
            return
        seen = {t["task_id"]: STOPPED if t["stop_requested"] else LIVE for t in found}
        for one, task in zip(begun, keys, strict=True):
            self.history.end(one, "ok", seen.get(task, ABSENT))

    async def _read(
        self, process: str, key: str, agent: DevAgent, ask: Callable[[AgentClient], str]
    ) -> None:
        begun = self.history.invoke(process, "read", key, agent=agent.name)
        try:
            value = await self._away(agent, ask)
        except P2poolError as error:
            self.history.end(begun, "fail", NOT_SENT, f"{error.code}: {error}")
            if not isinstance(error, Unavailable):
                self.unexpected.append(f"read of {key} at {agent.name}: {error!r}")
        else:
            self.history.end(begun, "ok", value)

    async def send(self, process: str, request: str, agent: DevAgent) -> Event:
        """Send a request (again); what came of this attempt."""
        kind, key, signed = self.signed[request]
        begun = self.history.invoke(process, kind, key, request, agent.name)
        try:
            answer = await self._away(agent, functools.partial(_send, signed))
        except NoAgent as error:
            return self.history.end(begun, "fail", NOT_SENT, str(error))
        except (NotFound, Conflict) as error:
            return self.history.end(begun, "fail", REFUSED, f"{error.code}: {error}")
        except P2poolError as error:
            if not isinstance(error, Unavailable):
                self.unexpected.append(f"{kind} of {key} at {agent.name}: {error!r}")
            return self.history.end(begun, "info", None, f"{error.code}: {error}")
        return self.history.end(begun, "ok", {"result": DONE, "index": answer["index"]})

    async def _away(self, agent: DevAgent, act: Callable[[AgentClient], Any]) -> Any:
        def run() -> Any:
            found = agent_in(agent.directory)
            return act(AgentClient(found.url, found.token, timeout_s=TIMEOUT_S))

        return await trio.to_thread.run_sync(run, limiter=self.limiter)

    def sign(self, kind: str, key: str, signed: SignedRequest) -> str:
        """Keep a request to be sent; its name."""
        name = signed.request.request_id.hex()[:16]
        self.signed[name] = (kind, key, signed)
        return name


def _send(signed: SignedRequest, client: AgentClient) -> Any:
    return client.send(signed, patience_ms=0)


@attrs.define
class Client:
    """One client; what it does is a matter of its seed, what it is told is not."""

    name: str
    load: Load
    rng: random.Random
    pause_s: tuple[float, float] = (0.2, 0.8)

    async def run(self, until_s: float) -> None:
        """Go on until a moment of trio's clock."""
        while trio.current_time() < until_s:
            await self._something()
            await trio.sleep(self.rng.uniform(*self.pause_s))

    async def _something(self) -> None:
        load, dice = self.load, self.rng.random()
        if dice < 0.22:
            if len(load.living) >= LIVING_MAX:
                await self._stop(load.living[0])
            else:
                await self._submit()
        elif dice < 0.32 and load.living:
            await self._stop(self.rng.choice(load.living))
        elif dice < 0.45:
            await self._intent()
        elif dice < 0.60:
            await load.read_intent(self.name, self._agent())
        elif load.tasks:
            recent = load.tasks[-8:] if self.rng.random() < 0.8 else load.tasks
            await load.read_task(self.name, self.rng.choice(recent), self._agent())

    async def _submit(self) -> None:
        load = self.load
        load.count += 1
        signed, task = load.user.submission(f"{self.name}-{load.count}")
        load.tasks.append(task)
        load.living.append(task)
        await self._insist(load.sign("submit", f"task/{task}", signed))

    async def _stop(self, task: str) -> None:
        load = self.load
        if task in load.living:
            load.living.remove(task)
        await self._insist(load.sign("stop", f"task/{task}", load.user.signed(Action.STOP, task)))

    async def _intent(self) -> None:
        load = self.load
        kind = self.rng.choice(("drain", "resume"))
        signed = load.user.signed(Action(kind), load.drainable)
        await self._insist(load.sign(kind, f"node/{load.drainable}", signed))

    async def _insist(self, request: str) -> None:
        """Send it until it is answered or hope is given up; now and then once more for good."""
        agent = self._agent()
        for _ in range(ATTEMPTS):
            end = await self.load.send(self.name, request, agent)
            if end.type == "ok" or end.value == REFUSED:
                break
            await trio.sleep(RETRY_S)
            agent = self._agent(other_than=agent)
        else:
            return
        if end.type == "ok" and self.rng.random() < 0.1:
            await self.load.send(self.name, request, self._agent(other_than=agent))

    def _agent(self, other_than: DevAgent | None = None) -> DevAgent:
        return self.rng.choice([a for a in self.load.agents if a is not other_than])
