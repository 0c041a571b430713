"""One chain with the foreign contracts for all tests here; each test gets its state back."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.dev.chain.contracts import fund, new_account
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.ids import NodeId
from tests.chain.conftest import World
from tests.chain.harness import acts
from tests.contracts.foreign.harness.deployment import ForeignNetwork, deploy_foreign


@pytest.fixture(scope="package")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A real chain, stopped by its process id."""
    directory: Path = tmp_path_factory.mktemp("anvil")
    running = trio.run(start_anvil, directory)
    yield running
    trio.run(running.stop)


@pytest.fixture(scope="package")
def network(anvil: Anvil) -> ForeignNetwork:
    """The contracts, once."""

    async def run() -> ForeignNetwork:
        return await deploy_foreign(anvil.rpc())

    return trio.run(run)


@attrs.define
class ForeignWorld(World):
    """The world of the chain's tests, on the foreign contracts."""

    network: ForeignNetwork

    async def member(self, provider: KeyWriter | None = None) -> tuple[KeyWriter, NodeId]:
        """A provider with a node that is in the pool, by the whole flow."""
        provider, node_id = await self.candidate(provider)
        await self.join(provider, node_id)
        return provider, node_id

    async def join(self, provider: KeyWriter, node_id: NodeId) -> None:
        """The manager invites, and the provider joins."""
        domain = self.network.domain_id
        invite = self.manager.sign_invite(domain, self.pool_id, node_id, await self.soon())
        await acts.join_pool(self.chain, provider, self.pool_id, invite)


@pytest.fixture
async def world(anvil: Anvil, network: ForeignNetwork) -> AsyncIterator[ForeignWorld]:
    """An active pool of its own; the chain goes back to before it afterwards."""
    rpc = anvil.rpc()
    before = await rpc.request("evm_snapshot")
    chain = PoolContracts(rpc, network.chain.at)
    mine = attrs.evolve(network, chain=chain)
    manager_key = new_account()
    manager = KeyManager(manager_key)
    await fund(rpc, manager.address)
    creator = network.federator
    pool_id = await chain.create_pool(creator, mine.domain_id, manager.address, "test")
    await chain.start_pool(creator, pool_id)
    await rpc.request("anvil_mine", "0x3")
    writer = KeyWriter(rpc, manager_key)
    yield ForeignWorld(mine.deployment, chain, creator, manager, writer, pool_id, mine)
    await rpc.request("evm_revert", before)
