"""One development chain for all tests of this directory; each test gets its state back after it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio
from eth_account.signers.local import LocalAccount

from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.dev.chain.contracts import Deployment, deploy, fund, fund_tokens, new_account
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.ids import Address, NodeId
from tests.chain.harness import acts


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A real chain, stopped by its process id."""
    directory: Path = tmp_path_factory.mktemp("anvil")
    running = trio.run(start_anvil, directory)
    yield running
    trio.run(running.stop)


@attrs.define
class World:
    """A deployed network with an active pool, and the people of it."""

    deployment: Deployment
    chain: PoolContracts
    creator: KeyWriter
    manager: KeyManager
    manager_writer: KeyWriter
    pool_id: int

    async def account(self, account: LocalAccount | None = None) -> KeyWriter:
        """An account with coin and tokens, a new one without `account`."""
        made = KeyWriter(self.chain.rpc, account or new_account())
        await fund(self.chain.rpc, made.address)
        await fund_tokens(self.deployment, made.address)
        return made

    async def member(self, provider: KeyWriter | None = None) -> tuple[KeyWriter, NodeId]:
        """A provider with a node that is in the pool, by the whole flow."""
        provider, node_id = await self.candidate(provider)
        invite = self.manager.sign_invite(0, self.pool_id, node_id, await self.soon())
        await acts.join_pool(self.chain, provider, self.pool_id, invite)
        return provider, node_id

    async def candidate(self, provider: KeyWriter | None = None) -> tuple[KeyWriter, NodeId]:
        """A provider with a validated node that is in no pool yet."""
        chain = self.chain
        if provider is None:
            provider = await self.account()
            stake_wei = 10 * await chain.stake_needed(provider.address, 1)
            await acts.approve(chain, provider, stake_wei)
            await acts.register_provider(chain, provider, stake_wei)
            await chain.whitelist(self.deployment.federator, provider.address)
        node = new_account()
        node_id = NodeId(bytes.fromhex(node.address[2:]))
        await acts.add_compute_node(chain, provider, node, 1)
        await chain.validate_node(self.deployment.federator, provider.address, node_id)
        return provider, node_id

    async def soon(self) -> int:
        """A time an hour after the chain's newest block, in Unix seconds."""
        block = await self.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        return int(block["timestamp"], 16) + 3600


@pytest.fixture(scope="session")
def deployment(anvil: Anvil) -> Deployment:
    """The contracts, once for the session."""

    async def run() -> Deployment:
        return await deploy(anvil.rpc())

    return trio.run(run)


@pytest.fixture
async def world(anvil: Anvil, deployment: Deployment) -> AsyncIterator[World]:
    """An active pool of its own; the chain goes back to before it afterwards."""
    rpc = anvil.rpc()
    before = await rpc.request("evm_snapshot")
    chain = PoolContracts(rpc, deployment.chain.at)
    fresh = Deployment(chain, deployment.federator, 0)
    manager_key = new_account()
    manager = KeyManager(manager_key)
    await fund(rpc, manager.address)
    creator = KeyWriter(rpc, new_account())
    await fund(rpc, Address(creator.address))
    pool_id = await chain.create_pool(creator, 0, manager.address, "test")
    await chain.start_pool(creator, pool_id)
    await rpc.request("anvil_mine", "0x3")
    yield World(fresh, chain, creator, manager, KeyWriter(rpc, manager_key), pool_id)
    await rpc.request("evm_revert", before)
