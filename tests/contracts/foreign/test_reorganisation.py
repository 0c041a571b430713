"""A reorganisation of the chain under a pool on contracts that others deployed.

On a chain of its own: no call gives a chain back the way of mining that this takes from it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from tests.chain.rosters import ids, settle
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import ForeignNetwork, deploy_foreign
from tests.contracts.foreign.harness.joins import invited

pytestmark = pytest.mark.chain


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    """For this test alone."""
    running = trio.run(start_anvil, tmp_path)
    yield running
    trio.run(running.stop)


@pytest.fixture
def network(anvil: Anvil) -> ForeignNetwork:
    """The contracts on it."""

    async def run() -> ForeignNetwork:
        return await deploy_foreign(anvil.rpc())

    return trio.run(run)


async def test_a_reorganisation_is_followed_and_below_finality_it_puts_nobody_out(
    world: ForeignWorld,
) -> None:
    """At the head the node is gone again; what was final stands, with a warning."""
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    rpc = world.chain.rpc
    # From here on blocks come with transactions alone: each reorganisation is as deep as it says.
    await rpc.request("evm_setIntervalMining", 0)
    await rpc.request("evm_setAutomine", True)
    before = await rpc.quantity("eth_blockNumber")
    await joining.next_step()
    await settle(world)
    seen = await following.observe()
    assert (ids(seen.latest), ids(seen.final)) == ({node_id}, {node_id})
    deep = await rpc.quantity("eth_blockNumber") - before
    await rpc.request("anvil_reorg", deep, [])
    assert not await world.chain.in_pool(world.pool_id, node_id)
    await settle(world)
    seen = await following.observe()
    assert (ids(seen.latest), ids(seen.final)) == (set(), {node_id})
    assert seen.warning is not None
    assert "final" in seen.warning
