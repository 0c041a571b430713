"""The life of a node, a provider and a pool on contracts that others deployed."""

import pytest

from p2pool.model.states import PoolStatus
from tests.contracts.foreign.conftest import ForeignWorld

pytestmark = pytest.mark.chain


async def test_the_whole_flow_makes_a_member(world: ForeignWorld) -> None:
    """Stake, whitelist, registration, validation, invite, join: real transactions, then in."""
    provider, node_id = await world.member()
    assert await world.chain.in_pool(world.pool_id, node_id)
    node = await world.chain.node(node_id)
    assert node is not None
    assert (node.provider, node.validated, node.active) == (provider.address, True, True)
    info = await world.chain.pool(world.pool_id)
    assert info.status is PoolStatus.ACTIVE
