"""Nodes on their way into a pool of the foreign contracts."""

from typing import Any

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.join_steps import Joining
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import NodeId
from tests.chain.harness import acts
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import KeyWriter

JOIN = function("ComputePool", "joinComputePool(uint256,address,address,uint256,uint256,bytes)")


def joining_of(
    world: ForeignWorld, writer: KeyWriter, node: Any = None, invite: Invite | None = None
) -> Joining:
    """A node's way, by this provider and with this invite."""

    async def find(*_: object) -> Invite | None:
        return invite

    return Joining(world.chain, world.pool_id, node or new_account(), 1, find, writer)


async def invited(world: ForeignWorld, provider: KeyWriter) -> tuple[Joining, NodeId]:
    """A validated node with a good invite: the next step joins."""
    node = new_account()
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    stake_wei = 10 * await world.chain.stake_needed(provider.address, 1)
    await acts.approve(world.chain, provider, stake_wei)
    await acts.register_provider(world.chain, provider, stake_wei)
    await world.chain.whitelist(world.network.validator, provider.address)
    await acts.add_compute_node(world.chain, provider, node, 1)
    await world.chain.validate_node(world.network.validator, provider.address, node_id)
    domain, soon = world.network.domain_id, await world.soon()
    invite = world.manager.sign_invite(domain, world.pool_id, node_id, soon)
    return joining_of(world, provider, node, invite), node_id
