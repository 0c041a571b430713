"""A pool of real agents, processes all, on the foreign contracts: made and kept by commands."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.agent import DevAgent
from p2pool.dev.chain.contracts import fund, new_account
from p2pool.dev.pool import DevPool
from p2pool.drivers.config.schema import AgentConfig, ResourcesConfig, WorkConfig
from p2pool.model.errors import Unavailable
from p2pool.model.ids import NodeId
from tests.cli.output.held import held
from tests.contracts.foreign.harness.deployment import ForeignNetwork, deploy_foreign
from tests.e2e.conftest import p2pool

ADMISSION_S = 300
POLL_S = 0.3


@attrs.define
class ForeignPool(DevPool):
    """A development pool on contracts that others deployed."""

    network: ForeignNetwork | None = None

    @property
    def there(self) -> ForeignNetwork:
        """The contracts, once they are deployed."""
        assert self.network is not None
        return self.network

    def command(self, key: str, *words: str, at: DevAgent | None = None) -> Any:
        """What a command says that has to succeed, by a key of the pool's directory."""
        done = self.tried(key, *words, at=at)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return held(done.stdout)

    def tried(
        self, key: str, *words: str, at: DevAgent | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command's end."""
        own = words.index("--") if "--" in words else len(words)
        return p2pool(*words[:own], "--json", *words[own:], **self.environment(key, at))

    def environment(self, key: str, at: DevAgent | None = None) -> dict[str, str]:
        """Where a command finds the pool, and a key of its directory."""
        keys = self.directory / "keys"
        agent = at or (self.agents[0] if self.agents else None)
        return {
            "P2POOL_CONFIG": str(self._config_path("bootstrap")),
            "P2POOL_KEY": str(keys / f"{key}.json"),
            "P2POOL_PASSPHRASE_FILE": str(keys / "passphrase"),
            "P2POOL_AGENT": str(agent.directory if agent is not None else self.directory),
        }

    def configured(self, name: str, config: AgentConfig) -> AgentConfig:
        """Agents of owners who let them submit work."""
        return attrs.evolve(config, work=WorkConfig(submit=True))

    # --- what differs on the way up -----------------------------------------------------------

    async def _chain(self) -> None:
        anvil = await self.start_chain()
        self.network = await deploy_foreign(anvil.rpc())
        self._deployment = self.there.deployment
        self._manager = new_account()
        rpc = self._deployment.chain.rpc
        await fund(rpc, self.manager.address)
        self._keep_key("manager", bytes(self._manager.key))
        self._keep_key("validator", bytes(self.there.validator_account.key))
        self._keep_key("federator", bytes(self.there.federator_account.key))
        self.pool_id = 1

    async def _create_pool(self, bootstrap: str) -> None:
        words = ("--name", "training", "--domain", "1", "--bootstrap", bootstrap)
        manager = ("--manager", address_text(self.manager.address))
        made = await trio.to_thread.run_sync(
            lambda: self.command("federator", "pool", "create", *words, *manager)
        )
        assert made["pool_id"] == self.pool_id
        self._config = self._agent_config(ResourcesConfig(), (bootstrap,))
        self.save()

    async def _root(self) -> None:
        words = ("pool", "start", str(self.pool_id))
        started = await trio.to_thread.run_sync(lambda: self.command("manager", *words))
        assert started["root_written"]

    async def _admit(self) -> None:
        with trio.move_on_after(ADMISSION_S) as scope:
            await self.admit(self.agents)
        if scope.cancelled_caught:
            raise Unavailable("The agents did not get into the pool in time.")
        self.save()

    async def admit(self, agents: list[DevAgent]) -> None:
        """The validator whitelists and validates; the manager invites by the command line."""
        chain, judge = self.there.chain, self.there.validator
        waiting, invited = list(agents), set[str]()
        while waiting:
            for agent in tuple(waiting):
                node_id = NodeId(bytes.fromhex(agent.node_id[2:]))
                if await chain.in_pool(self.pool_id, node_id):
                    waiting.remove(agent)
                elif not await chain.whitelisted(agent.provider):
                    # A whitelisting before the registration would be lost.
                    if await chain.provider_exists(agent.provider):
                        await chain.whitelist(judge, agent.provider)
                elif (node := await chain.node(node_id)) is None:
                    continue
                elif not node.validated:
                    await chain.validate_node(judge, agent.provider, node_id)
                elif agent.node_id not in invited:
                    invited.add(agent.node_id)
                    await trio.to_thread.run_sync(
                        lambda one=agent: self.command(  # type: ignore[misc]
                            "manager", "pool", "invite", one.node_id, at=one
                        )
                    )
            await trio.sleep(POLL_S)

    # --- what the tests ask -------------------------------------------------------------------

    async def members(self, by: DevAgent) -> set[str]:
        """The members as an agent reads them on the chain."""
        roster = (await by.get("/v1/roster"))["roster"]
        return {member["node_id"] for member in roster["members"]}

    async def wait_final(self, block: int, agents: Sequence[DevAgent] = ()) -> None:
        """Wait until agents, all without `agents`, have read a final block that is not older."""

        async def read() -> bool:
            found = [
                (await one.get("/v1/roster"))["roster"]["final_block"]
                for one in agents or self.agents
            ]
            return all(final is not None and final >= block for final in found)

        await self.wait(f"block {block} read as final", read)


@contextmanager
def foreign_pool() -> Iterator[ForeignPool]:
    """Three agents in a committee; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="p2f", dir="/tmp"))
    pool = ForeignPool(directory / "pool", lambda text: None, "process")

    async def up() -> None:
        await pool.up(3)
        await pool.wait_elected(pool.agents)
        await pool.wait_committee(3)

    try:
        trio.run(up)
        yield pool
    finally:
        trio.run(pool.down)
        directory.rmdir()
