"""What people do on the contracts, one call each and nothing read before: commands go by plans.

Tests bring a pool into a state with these, and try what contracts refuse.
"""

import trio

from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import sign_consent
from p2pool.drivers.chain.contracts import JOIN, PoolContracts
from p2pool.drivers.chain.provider.provider_plans import LEAVE_ONE
from p2pool.drivers.chain.transactions.writer import Sent, Writer
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import Address, NodeId
from p2pool.wire.evm.key_signer import AnySigner


async def approve(chain: PoolContracts, writer: Writer, amount_wei: int) -> Sent:
    """Let the network take this many tokens."""
    approve = function("AIToken", "approve")
    return await writer.send(chain.at.token, approve, chain.at.network, amount_wei)


async def register_provider(chain: PoolContracts, writer: Writer, stake_wei: int) -> Sent:
    """Register the writer as a provider, with a stake approved before."""
    register = function("PrimeNetwork", "registerProvider")
    return await writer.send(chain.at.network, register, stake_wei)


async def add_compute_node(
    chain: PoolContracts, writer: Writer, node: AnySigner, units: int, specs_uri: str = ""
) -> Sent:
    """Register a node with its consent."""
    consent = await trio.to_thread.run_sync(
        sign_consent, node, writer.address, abandon_on_cancel=True
    )
    node_id = bytes.fromhex(node.address[2:])
    add = function("PrimeNetwork", "addComputeNode")
    return await writer.send(chain.at.network, add, node_id, specs_uri, units, consent)


async def join_pool(chain: PoolContracts, writer: Writer, pool_id: int, invite: Invite) -> Sent:
    """Join with an invite."""
    return await writer.send(
        chain.at.pool,
        function("ComputePool", JOIN),
        pool_id,
        writer.address,
        invite.node_id,
        invite.nonce,
        invite.expiration_s,
        invite.signature,
    )


async def leave_pool(chain: PoolContracts, writer: Writer, pool_id: int, node_id: NodeId) -> Sent:
    """Leave the pool with one node."""
    leave = function("ComputePool", LEAVE_ONE)
    return await writer.send(chain.at.pool, leave, pool_id, writer.address, node_id)


async def end_pool(chain: PoolContracts, writer: Writer, pool_id: int) -> Sent:
    """End a pool."""
    return await writer.send(chain.at.pool, function("ComputePool", "endComputePool"), pool_id)


async def eject(chain: PoolContracts, writer: Writer, pool_id: int, node_id: NodeId) -> Sent:
    """Eject a node from the pool."""
    return await writer.send(chain.at.pool, function("ComputePool", "ejectNode"), pool_id, node_id)


async def allowance(chain: PoolContracts, owner: Address) -> int:
    """How many tokens the network may take from an account."""
    check = function("AIToken", "allowance")
    return int(await chain.rpc.call(chain.at.token, check, owner, chain.at.network))
