"""A pool whose every link can be broken: agents behind proxies, each with a chain of its own.

It is a development pool as `p2pool dev up` makes one, of real processes; what is added is between
them. Tasks run as plain processes, which need no engine and outlive their agents as containers do.
"""

import random
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.client.agent_client import Answer
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.cleanup import runtime_of
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.dev.processes import Child
from p2pool.drivers.config.schema import AgentConfig
from p2pool.model.errors import P2poolError
from p2pool.model.ports.runtime import ContainerState
from tests.chaos.faults.rpc_proxy import View
from tests.chaos.faults.tcp_proxy import Links, Proxies, direct, running_proxies
from tests.chaos.user import User

PORTS = range(20_000, 32_000)
"""Below those that the system gives to connections: a port is still free when an agent is back."""
HEALED_DEADLINE_S = 150.0
STOP_DEADLINE_S = 30.0


@attrs.define
class ChaosPool(DevPool):
    """A pool, its proxies, and what can be done to it."""

    proxies: Proxies = attrs.field(factory=Proxies)
    views: dict[str, View] = attrs.field(factory=dict)
    ports: dict[int, str] = attrs.field(factory=dict)
    chain_port: int = 0

    # --- how it is brought up ---------------------------------------------------------------------

    async def start_chain(self, *arguments: str, port: int = 0) -> Anvil:
        """A chain that is there again after it was stopped, at the same port."""
        state = str(self.directory / "chain" / "state.json")
        anvil = await DevPool.start_chain(
            self,
            "--state",
            state,
            "--preserve-historical-states",
            *arguments,
            port=port or self.chain_port,
        )
        self.chain_port = anvil.port
        return anvil

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """Listen where nobody is told, announce the proxy, read the chain through one's own."""
        target = unused_port()
        front = self.proxies.front(name, target)
        view, port = self.proxies.chain_view(name, self.chain_port)
        self.views[name], self.ports[target] = view, name
        network = attrs.evolve(
            config.network,
            listen=(f"/ip4/127.0.0.1/tcp/{target}",),
            announce=(f"/ip4/127.0.0.1/tcp/{front.port}",),
        )
        chain = attrs.evolve(config.chain, endpoints=(f"http://127.0.0.1:{port}",))
        return attrs.evolve(config, network=network, chain=chain)

    def _adopt(self, child: Child) -> None:
        """Let the proxies know whose connections are whose."""
        self.proxies.pids[child.name] = child.pid
        DevPool._adopt(self, child)

    # --- who is who -------------------------------------------------------------------------------

    @property
    def links(self) -> Links:
        """What passes between the agents."""
        return self.proxies.links

    @property
    def names(self) -> tuple[str, ...]:
        """All agents, by number."""
        return tuple(agent.name for agent in self.agents)

    def named(self, name: str) -> DevAgent:
        """An agent by its name, or by its node id."""
        return next(a for a in self.agents if name in (a.name, a.node_id))

    def child(self, name: str) -> Child:
        """The newest process of a name."""
        return next(c for c in reversed(self.children) if c.name == name)

    async def leader(self) -> str | None:
        """The agent that leads as most agents that answer say; None where they know of none."""
        said: list[str] = []

        async def ask(agent: DevAgent) -> None:
            with trio.move_on_after(3):
                try:
                    found = (await self.ask(agent, "/v1/leader"))["leader"]["node_id"]
                except P2poolError:
                    return
                if found is not None:
                    said.append(found)

        async with trio.open_nursery() as nursery:
            for agent in self.agents:
                nursery.start_soon(ask, agent)
        most = max(sorted(set(said)), key=said.count, default=None)
        return None if most is None else self.named(most).name

    async def ask(self, agent: DevAgent, path: str, **query: str) -> Answer:
        """A read of its API that is given up with its caller: an agent may be stopped."""
        return await trio.to_thread.run_sync(
            lambda: agent.client().get(path, **query), abandon_on_cancel=True
        )

    async def tasks(self, agent: DevAgent, *, consistent: bool = False) -> Answer:
        """All tasks that it knows, page after page, with what the last page says of itself."""

        def read() -> Answer:
            client = agent.client()
            return {"tasks": client.tasks(consistent=consistent), "meta": client.meta}

        return await trio.to_thread.run_sync(read, abandon_on_cancel=True)

    def bypasses(self) -> list[tuple[str, str]]:
        """Connections between agents that are not through the proxies: there must be none."""
        return direct(self.ports, {n: p for n, p in self.proxies.pids.items() if n in self.names})

    async def containers(self, agent: DevAgent) -> dict[str, tuple[int, int]]:
        """What runs on one agent, by its runtime's own account: allocation -> attempt, start."""
        path = self.directory / f"{agent.name}.toml"
        found = await runtime_of(path, agent.directory, agent.node_id).list()
        running = [s for s in found if s.state is ContainerState.RUNNING]
        return {str(s.allocation): (s.attempt, s.started_at_ms) for s in running}

    # --- what is done to it -----------------------------------------------------------------------

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a process and wait until it is gone."""
        child = self.child(name)
        child.signal(number)
        if number == signal.SIGKILL:
            child.signal(signal.SIGCONT)
        with trio.move_on_after(STOP_DEADLINE_S):
            await child.wait_gone()
            return
        child.signal(signal.SIGKILL)
        await child.wait_gone()

    def pause(self, name: str) -> None:
        """Stop a process where it is."""
        self.child(name).signal(signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """Let a stopped process go on."""
        self.child(name).signal(signal.SIGCONT)

    async def restart_bootstrap(self) -> None:
        """Start the bootstrap node where it was."""
        config = self._config
        assert config is not None
        await self.start_bootstrap(config.network.bootstrap[0].partition("/p2p/")[0])

    # --- what is waited for -----------------------------------------------------------------------

    async def wait_healed(self, deadline_s: float = HEALED_DEADLINE_S) -> None:
        """All agents run, follow one leader, are judged healthy, and hold the same log."""
        self.links.mend()
        for view in self.views.values():
            view.show("pass")
        last = "nothing"
        with trio.move_on_after(deadline_s):
            while True:
                try:
                    last = await self._unhealed()
                except P2poolError as error:
                    last = str(error)
                if not last:
                    return
                await trio.sleep(0.5)
        raise TimeoutError(f"after {deadline_s:.0f} s the pool is not whole: {last}")

    async def _unhealed(self) -> str:
        """What is not well yet, empty when all is."""
        metas: list[Any] = []
        for agent in self.agents:
            answer = await self.ask(agent, "/v1/nodes", consistent="true")
            metas.append(answer["meta"])
            ill = [n["node_id"] for n in answer["nodes"] if n["reachability"] != "healthy"]
            if ill or len(answer["nodes"]) != len(self.agents):
                return f"{agent.name} has {len(answer['nodes'])} nodes, not healthy: {ill}"
        leaders = {m["leader"] for m in metas}
        terms = {m["term"] for m in metas}
        if len(leaders) != 1 or None in leaders or len(terms) != 1:
            return f"leaders {leaders} in terms {terms}"
        committee = await self.ask(self.agents[0], "/v1/committee")
        voters = [m for m in committee["committee"]["members"] if m["voter"]]
        return "" if len(voters) == len(self.agents) else f"{len(voters)} voters"


def unused_port() -> int:
    """A port that nobody listens at just now; OSError: none was found."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


@contextmanager
def chaos_pool(directory: Path, nodes: int = 5) -> Iterator[ChaosPool]:
    """A pool for the length of a block; all its processes are ended, its directory stays."""
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(f"{time.strftime('%H:%M:%S')} {text}")

    with running_proxies() as proxies:
        pool = ChaosPool(directory, say, "process", proxies=proxies)
        try:
            trio.run(_up, pool, nodes)
            yield pool
        finally:
            trio.run(end, pool)


async def _up(pool: ChaosPool, nodes: int) -> None:
    await pool.up(nodes)
    await pool.wait_heartbeats()
    await pool.wait_elected(pool.agents)
    await trio.to_thread.run_sync(User.of(pool).set, pool.agents[0], "committee", str(nodes))
    await pool.wait_committee(nodes)


async def end(pool: ChaosPool) -> None:
    """End all processes and tasks; keep logs and data for who wants to look."""
    pool.links.mend()
    await _stop(pool, [c for c in pool.children if c.name.startswith("agent-")])
    for agent in pool.agents:
        config = pool.directory / f"{agent.name}.toml"
        if not config.exists():
            continue  # It was not brought up so far.
        runtime = runtime_of(config, agent.directory, agent.node_id)
        for status in await runtime.list():
            await runtime.stop(status.allocation, status.attempt, 100)
    await _stop(pool, pool.children)


async def _stop(pool: ChaosPool, children: Sequence[Child]) -> None:
    async with trio.open_nursery() as nursery:
        for child in children:
            child.signal(signal.SIGCONT)
            nursery.start_soon(child.stop)
