"""The pool that is attacked: three agents, a bootstrap node, a chain, each a process."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from p2pool.codec.text.peer_id import peer_id, peer_key_of
from p2pool.dev.pool import DevAgent, DevPool
from p2pool.dev.processes import Child
from p2pool.drivers.config.schema import AgentConfig
from p2pool.model.ids import NodeId, PoolRef
from tests.chaos.pool import unused_port
from tests.chaos.user import User

AGENTS = 3
"""So many that run; one more is a member, and away."""


@attrs.define
class Target:
    """A process that is attacked, and where it is reached."""

    name: str
    child: Child
    address: str
    agent: DevAgent | None = None


@attrs.define
class AttackedPool(DevPool):
    """A development pool whose agents listen at ports that are known."""

    ports: dict[str, int] = attrs.field(factory=dict)
    peers: dict[str, str] = attrs.field(factory=dict)

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """Listen at a port of its own."""
        self.ports[name] = unused_port()
        listen = (f"/ip4/127.0.0.1/tcp/{self.ports[name]}",)
        return attrs.evolve(config, network=attrs.evolve(config.network, listen=listen))

    def child(self, name: str) -> Child:
        """The newest process of a name."""
        return next(c for c in reversed(self.children) if c.name == name)

    async def target(self, agent: DevAgent) -> Target:
        """An agent as an attacker sees it."""
        about = (await agent.get("/v1/agent"))["agent"]
        port = self.ports[agent.name]
        address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id(peer_key_of(about['peer_id']))}"
        return Target(agent.name, self.child(agent.name), address, agent)

    @property
    def bootstrap(self) -> Target:
        """The bootstrap node."""
        assert self._config is not None
        (address,) = self._config.network.bootstrap
        return Target("bootstrap", self.child("bootstrap"), address)

    async def leader(self) -> DevAgent:
        """Who leads."""
        found = await self.wait_elected(self.agents)
        return next(agent for agent in self.agents if agent.node_id == found["node_id"])


@attrs.define
class Grounds:
    """The pool, somebody who uses it, and who of it is attacked: the leader, whom it hurts most."""

    pool: AttackedPool
    user: User
    victim: Target
    beside: DevAgent
    """Another agent, through which the pool is watched."""
    absent: str
    """The node id of a member that is away all the time."""
    addresses: dict[NodeId, str]
    """Where each member truly listens."""

    @property
    def ref(self) -> PoolRef:
        """The pool's name on the chain."""
        return self.user.ref

    @property
    def there(self) -> set[NodeId]:
        """The members that run."""
        return {NodeId(bytes.fromhex(agent.node_id[2:])) for agent in self.pool.agents}


@contextmanager
def grounds(keep: bool = False) -> Iterator[Grounds]:
    """A pool for the length of a block; all its processes end. `keep`: its logs stay."""
    where = Path(tempfile.mkdtemp(prefix="p2attack-", dir="/tmp"))
    lines: list[str] = []
    pool = AttackedPool(where / "pool", lines.append, "process")
    try:
        yield trio.run(_up, pool)
    finally:
        trio.run(_end, pool)
        if keep:
            print(f"logs of the agents: {where / 'pool' / 'logs'}")
        else:
            shutil.rmtree(where)


async def _up(pool: AttackedPool) -> Grounds:
    await pool.up(AGENTS + 1)
    await pool.wait_heartbeats()
    await pool.wait_elected(pool.agents)
    await trio.to_thread.run_sync(User.of(pool).set, pool.agents[0], "committee", str(AGENTS))
    await pool.wait_committee(AGENTS)
    addresses = {
        NodeId(bytes.fromhex(agent.node_id[2:])): f"/ip4/127.0.0.1/tcp/{pool.ports[agent.name]}"
        for agent in pool.agents
    }
    absent = await _leave(pool)
    await pool.wait_elected(pool.agents)
    return await chosen(pool, absent, addresses)


async def _leave(pool: AttackedPool) -> str:
    """One that is no voter ends, and stays a member; its node id."""
    committee = (await pool.agents[0].get("/v1/committee"))["committee"]
    voters = {member["node_id"] for member in committee["members"] if member["voter"]}
    away = next(agent for agent in pool.agents if agent.node_id not in voters)
    await pool.child(away.name).stop()
    pool.agents.remove(away)
    return away.node_id


async def chosen(pool: AttackedPool, absent: str, addresses: dict[NodeId, str]) -> Grounds:
    """Who is attacked: who leads now."""
    leader = await pool.leader()
    beside = next(agent for agent in pool.agents if agent is not leader)
    return Grounds(pool, User.of(pool), await pool.target(leader), beside, absent, addresses)


async def _end(pool: AttackedPool) -> None:
    async with trio.open_nursery() as nursery:
        for child in pool.children:
            nursery.start_soon(child.stop)
