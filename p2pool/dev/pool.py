"""A whole pool on one machine: chain, contracts, bootstrap node and agents, each its own process.

Everything is real except the worth of the coins: transactions on a development chain, libp2p
between processes, containers if an engine answers. All of it lies in one directory, with a file
that records its processes (`dev.state`); `down` ends exactly those and leaves nothing behind.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.client.agent_client import Answer
from p2pool.codec.text.peer_id import peer_key_of
from p2pool.dev import state as saved
from p2pool.dev.admission import admit
from p2pool.dev.agent import DevAgent as DevAgent
from p2pool.dev.chain.anvil import DEV_CHAIN_ID, Anvil, start_anvil
from p2pool.dev.chain.contracts import Deployment, deploy, fund, fund_tokens, new_account
from p2pool.dev.cleanup import remove_containers
from p2pool.dev.engine.runtime import NO_IMAGE, Image, choose, remove_image
from p2pool.dev.narrator import Say
from p2pool.dev.processes import Child, adopt, lock_holders, spawn, strays, wait_line
from p2pool.dev.shares import shares
from p2pool.dev.state import AgentEntry, State
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.consent import KeyManager, ManagerSigner
from p2pool.drivers.chain.founding import NewPool, create_pool, start_pool
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.schema import (
    AgentConfig,
    ApiConfig,
    ChainConfig,
    ContractAddresses,
    NetworkConfig,
    PoolConfig,
    ResourcesConfig,
    RuntimeConfig,
    write_config,
)
from p2pool.drivers.keys.keystore import import_key_file
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.data_dir import LOCK_FILE
from p2pool.model.errors import Conflict, P2poolError, Unavailable
from p2pool.model.ids import Address, NodeId, StoreId

PASSPHRASE = "development"
LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)
WAIT_S = 180.0
POLL_S = 0.1


@attrs.define
class DevPool:
    """A pool in a directory. `say` reports progress; `runtime` empty: whichever answers."""

    directory: Path
    say: Say
    runtime: str = ""
    image: Image = NO_IMAGE
    rpc_url: str = ""
    pool_id: int = 0
    agents: list[DevAgent] = attrs.field(factory=list)
    children: list[Child] = attrs.field(factory=list)
    claimed: bool = False
    """Whether the directory belongs to this pool and is removed with it."""
    wait_s: float = WAIT_S
    """How long anything is waited for."""
    _starter: Child | None = None
    _deployment: Deployment | None = None
    _manager: Any = None
    _config: AgentConfig | None = None

    # --- up ---------------------------------------------------------------------------------------

    async def up(self, nodes: int) -> None:
        """Start everything, one step after the other; `wait_*` says when it is ready."""
        await self._claim()
        if not self.runtime:
            self.runtime, self.image = await choose(self.directory, self.say)
            self.save()
        await self._chain()
        address = await self._bootstrap()
        await self._create_pool(address)
        async with trio.open_nursery() as nursery:
            for number, share in enumerate(await shares(nodes), start=1):
                nursery.start_soon(self._agent, number, share)
        self.agents.sort(key=lambda a: a.number)
        await self._root()
        await self._admit()
        self._starter = None
        self.save()

    async def _claim(self) -> None:
        """Take the directory. `Conflict`: a pool runs there, or it holds other files."""
        if saved.look(self.directory) is not None:
            self.say("removing what is left of a pool whose processes are gone")
            await self.load(self.directory, self.say).down()
        self._starter = adopt("starter", os.getpid(), Path())
        saved.claim(self.directory, self._starter)
        self.claimed = True

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """The configuration of one agent: a test may put something in between."""
        return config

    def provider_account(self, name: str) -> Any:
        """The account of an agent's provider: a test may give it to several agents."""
        return new_account()

    @property
    def manager(self) -> ManagerSigner:
        """Who manages the pool: the key that creates it, unless a test gives it a contract."""
        return KeyManager(self._manager)

    async def start_chain(self, *arguments: str, port: int = 0) -> Anvil:
        """Start (or restart) the chain, which ends with the rest of the pool."""

        def born(anvil: Anvil) -> None:
            self._adopt(adopt("chain", anvil.pid, anvil.log))

        anvil = await start_anvil(self.directory / "chain", self.say, port, arguments, born)
        anvil.process.returncode = 0  # Ended by identity, perhaps by another command.
        self.rpc_url = anvil.url
        return anvil

    async def _chain(self) -> None:
        self.say("starting a development chain")
        anvil = await self.start_chain()
        self.say("deploying the contracts")
        self._deployment = await deploy(anvil.rpc(), with_root=True)
        self._manager = new_account()
        rpc = self._deployment.chain.rpc
        await fund(rpc, KeyWriter(rpc, self._manager).address)
        self._keep_key("manager", bytes(self._manager.key))
        validator = self._deployment.federator_account
        assert validator is not None
        self._keep_key("validator", bytes(validator.key))

    def _keep_key(self, name: str, key: bytes) -> Path:
        keys = self.directory / "keys"
        keys.mkdir(exist_ok=True, mode=0o700)
        passphrase = keys / "passphrase"
        if not passphrase.exists():
            passphrase.touch(mode=0o600)
            passphrase.write_text(PASSPHRASE + "\n", encoding="utf-8")
        path = keys / f"{name}.json"
        import_key_file(path, key, PASSPHRASE, light=True, note=lambda text: None)
        return path

    async def _bootstrap(self) -> str:
        """Start the bootstrap node; returns its address."""
        self.say("starting a bootstrap node")
        # It needs the pool's number before the pool exists: fresh contracts give their first
        # number.
        config = self._agent_config(ResourcesConfig(), ())
        write_config(config, self._config_path("bootstrap"))
        return await self.start_bootstrap(LOOPBACK[0])

    async def start_bootstrap(self, listen: str) -> str:
        """Start (or restart) the bootstrap node at a multiaddr; returns its whole address."""
        directory = self.directory / "bootstrap"
        child, output = spawn(
            "bootstrap",
            [
                *("bootstrap", "run", "--data-dir", str(directory), "--json"),
                *("--listen", listen, "--config", str(self._config_path("bootstrap"))),
            ],
            self.directory / "logs",
            {},
        )
        self._adopt(child)
        line = await wait_line(child, output)
        address: str = line["addresses"][0]
        return address

    def _config_path(self, name: str) -> Path:
        return self.directory / f"{name}.toml"

    async def _create_pool(self, bootstrap: str) -> None:
        self.say("creating the pool")
        assert self._deployment is not None
        chain = self._deployment.chain
        writer = KeyWriter(chain.rpc, self._manager)
        asked = NewPool("development", f"p2pool:bootstrap={bootstrap}")
        domain_id, manager = self._deployment.domain_id, self.manager.address
        made = await create_pool(chain, writer, domain_id, manager, asked)
        if made != self.pool_id:
            raise Conflict(f"The contracts are not fresh: the pool is number {made}.")
        self._config = self._agent_config(ResourcesConfig(), (bootstrap,))
        self.save()

    def _agent_config(self, resources: ResourcesConfig, bootstrap: tuple[str, ...]) -> AgentConfig:
        assert self._deployment is not None
        at: Addresses = self._deployment.chain.at
        contracts = ContractAddresses(
            network=at.network,
            pool=at.pool,
            registry=at.registry,
            stake=at.stakes,
            domains=at.domains,
            token=at.token,
        )
        return AgentConfig(
            chain=ChainConfig(id=DEV_CHAIN_ID, endpoints=(self.rpc_url,), addresses=contracts),
            pool=PoolConfig(id=self.pool_id),
            network=NetworkConfig(listen=LOOPBACK, bootstrap=bootstrap),
            api=ApiConfig(bind="127.0.0.1:0"),
            resources=resources,
            # Written down, because whoever ends the pool may have another DOCKER_HOST.
            runtime=RuntimeConfig(
                kind=self.runtime, probe_image=self.image.name, docker_host=self.image.engine
            ),
        )

    async def _agent(self, number: int, share: ResourcesConfig) -> None:
        """Make an agent's keys and directory, and start it."""
        assert self._deployment is not None
        assert self._config is not None
        name = f"agent-{number}"
        node, provider = new_account(), self.provider_account(name)
        rpc = self._deployment.chain.rpc
        address = KeyWriter(rpc, provider).address
        await fund(rpc, address)
        await fund_tokens(self._deployment, address)
        self._keep_key(f"{name}-provider", bytes(provider.key))
        self._keep_key(f"{name}-node", bytes(node.key))
        config = self.configured(name, attrs.evolve(self._config, resources=share))
        write_config(config, self._config_path(name))
        agent = DevAgent(number, self.directory / name, node.address.lower(), address)
        self.agents.append(agent)
        self.say(f"starting {name}")
        await self.start_agent(agent)

    async def start_agent(self, agent: DevAgent, program: Sequence[str] = ()) -> None:
        """Start (or restart) an agent's process and wait for its API. `program`: see `spawn`."""
        keys = self.directory / "keys"
        child, output = spawn(
            agent.name,
            [
                *("agent", "run", "--data-dir", str(agent.directory), "--json"),
                *("--config", str(self._config_path(agent.name))),
                *("--node-key", str(keys / f"{agent.name}-node.json")),
                *("--provider-key", str(keys / f"{agent.name}-provider.json")),
                *("--passphrase-file", str(keys / "passphrase")),
            ],
            self.directory / "logs",
            {},
            program,
        )
        agent.child = child
        self._adopt(child)
        await wait_line(child, output)

    async def _root(self) -> None:
        """Start the pool with its root record: the first agent founds the log."""
        assert self._deployment is not None
        first = self.agents[0]
        self.say(f"starting the pool; {first.name} founds its log")
        about = (await first.get("/v1/agent"))["agent"]
        root = RootRecord(
            1,
            NodeId(bytes.fromhex(about["node_id"][2:])),
            peer_key_of(about["peer_id"]),
            StoreId(bytes.fromhex(about["store_id"])),
        )
        writer = KeyWriter(self._deployment.chain.rpc, self._manager)
        await start_pool(self._deployment.chain, writer, self.pool_id, root)

    async def _admit(self) -> None:
        """Act as validator and manager until all agents are in the pool."""
        self.say("taking the agents through stake, whitelist, registration, validation and invite")
        assert self._deployment is not None
        with trio.move_on_after(WAIT_S) as scope:
            await admit(self._deployment, self.manager, self.pool_id, self.agents)
        if scope.cancelled_caught:
            raise Unavailable("The agents did not get into the pool in time.", hint=self.where_logs)
        self.save()

    # --- waiting ----------------------------------------------------------------------------------

    @property
    def where_logs(self) -> str:
        """The hint that names the logs."""
        return f"The logs are in {self.directory / 'logs'}."

    async def wait(self, what: str, done: Callable[[], Awaitable[Any]]) -> Any:
        """Poll until the answer is true; at the deadline the error names what failed."""
        self.say(f"waiting for {what}")
        last = ""
        with trio.move_on_after(self.wait_s):
            while True:
                try:
                    answer = await done()
                    if answer:
                        return answer
                except P2poolError as error:
                    last = str(error)
                await trio.sleep(POLL_S)
        raise Unavailable(f"There is still no {what}. {last}".strip(), hint=self.where_logs)

    async def wait_elected(self, of: list[DevAgent], after_term: int = 0) -> Answer:
        """Wait until all these agents follow one leader of a later term; returns its
        description."""

        async def elected() -> Answer | None:
            seen = [(await agent.get("/v1/leader"))["leader"] for agent in of]
            first = seen[0]
            same = all(one["node_id"] == first["node_id"] for one in seen)
            alive = any(agent.node_id == first["node_id"] for agent in of)
            return first if same and alive and first["term"] > after_term else None

        return dict(await self.wait("an elected master", elected))

    async def wait_heartbeats(self) -> None:
        """Wait until each agent has heartbeats of every other."""

        async def heard() -> bool:
            for agent in self.agents:
                nodes = (await agent.get("/v1/nodes"))["nodes"]
                members = [n for n in nodes if n["membership"] == "member" and n["hardware"]]
                if len(members) < len(self.agents):
                    return False
            return True

        await self.wait("heartbeats of all nodes", heard)

    async def wait_committee(self, voters: int) -> None:
        """Wait until the committee has this many voters."""

        async def complete() -> bool:
            answer = await self.agents[0].get("/v1/committee")
            found = [m for m in answer["committee"]["members"] if m["voter"]]
            return len(found) >= voters

        await self.wait(f"a committee of {voters}", complete)

    # --- down -------------------------------------------------------------------------------------

    def _adopt(self, child: Child) -> None:
        self.children.append(child)
        self.save()

    def save(self) -> None:
        """Record everything that belongs to this pool."""
        agents = (AgentEntry(a.number, a.node_id, a.provider.hex()) for a in self.agents)
        saved.save(
            self.directory,
            State(
                starter=self._starter,
                rpc_url=self.rpc_url,
                pool_id=self.pool_id,
                runtime=self.runtime,
                image=attrs.asdict(self.image),
                children=tuple(self.children),
                agents=tuple(agents),
            ),
        )

    @classmethod
    def load(cls, directory: Path, say: Say) -> "DevPool":
        """The pool that an earlier command left running; NotFound if there is none."""
        state = saved.require(directory)
        image = Image(**state.image) if state.image else NO_IMAGE
        pool = cls(
            directory,
            say,
            state.runtime,
            image,
            rpc_url=state.rpc_url,
            pool_id=state.pool_id,
        )
        pool.children = list(state.children)
        pool.claimed = True
        by_name = {c.name: c for c in pool.children}
        for one in state.agents:
            provider = Address(bytes.fromhex(one.provider))
            place = directory / f"agent-{one.number}"
            agent = DevAgent(one.number, place, one.node_id, provider)
            agent.child = by_name.get(agent.name)
            pool.agents.append(agent)
        return pool

    async def down(self) -> None:
        """End all processes and containers of this pool, and remove its directory."""
        await self.stop()
        await self.remove()

    async def stop(self) -> None:
        """End all processes and containers of this pool, and remove the image that it brought."""
        agents = [c for c in self.children if c.name.startswith("agent-")]
        await _stop(agents)
        anew = self._started_anew()
        await _stop(anew)
        for agent in self.agents:
            await remove_containers(self._config_path(agent.name), agent.directory, agent.node_id)
        await trio.to_thread.run_sync(remove_image, self.image)
        await _stop([c for c in self.children if c not in agents])
        # From a command that was killed after a start and before recording it.
        left = [adopt("left", pid, Path()) for pid in strays(self.directory)]
        await _stop(left)
        _check_gone([*self.children, *anew, *left, *self._started_anew()])

    def _started_anew(self) -> list[Child]:
        """Agents that run on this pool's directories and that somebody else started."""
        return [
            adopt(f"an agent in {agent.directory}", pid, Path())
            for agent in self.agents
            for pid in lock_holders(agent.directory / LOCK_FILE)
        ]

    async def remove(self) -> None:
        """Remove the directory of a pool that has stopped. `Unavailable`: something stays."""
        await trio.to_thread.run_sync(saved.remove, self.directory)
        self.claimed = False


async def _stop(children: list[Child]) -> None:
    async with trio.open_nursery() as nursery:
        for child in children:
            nursery.start_soon(child.stop)


def _check_gone(children: list[Child]) -> None:
    """`Unavailable` names what runs on, and how to end it."""
    alive = {child.pid: child for child in children if child.alive}
    if alive:
        named = ", ".join(f"{child.name} (process {pid})" for pid, child in alive.items())
        numbers = " ".join(str(pid) for pid in alive)
        raise Unavailable(
            f"Not everything could be ended: {named} runs on, and the directory stays.",
            hint=f"End it, then repeat this: sudo kill -9 {numbers}",
        )
