"""Rewards, where a deployment has them: what nodes have earned, and the plan that claims it.

Intuition: a pool may name a contract that pays for work (`getRewardDistributorForPool`). Ours do
not, and where the function or the contract is missing, that is "none", never an error. Such a
contract tells what can be claimed and, in some, what is locked still; until somebody has set a rate
it refuses to be asked, and that is "unknown".
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_text
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.provider.plan import Call, Plan
from p2pool.drivers.chain.provider.reads import Reader, gather, reading
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model.errors import NotFound, WrongChain
from p2pool.model.ids import Address, NodeId

NAME = "RewardsDistributor"
WHERE = Function("ComputePool", "getRewardDistributorForPool(uint256)", ("uint256",), ("address",))
EARNED_AND_LOCKED = Function(
    NAME, "calculateRewards(address)", ("address",), ("uint256", "uint256")
)
EARNED = Function(NAME, "calculateRewards(address)", ("address",), ("uint256",))
CLAIM = Function(NAME, "claimRewards(address)", ("address",), ())


@attrs.frozen
class Reward:
    """What a node has earned: `due_wei` can be claimed, `locked_wei` later."""

    node_id: NodeId
    due_wei: int
    locked_wei: int


async def distributor(reader: Reader, pool_id: int) -> Reading[Address]:
    """The contract that pays a pool's rewards; absent where there is none, or no such thing."""

    async def ask() -> Address | None:
        try:
            found = await reader.chain.rpc.call(
                reader.chain.at.pool, WHERE, pool_id, block=reader.block
            )
        except Reverted as reverted:
            if not reverted.data:  # A contract without this function says nothing.
                return None
            raise
        except WrongChain:
            return None
        address = Address(bytes.fromhex(found[2:]))
        return address if any(address) else None

    return await reading(ask)


async def reward_of(reader: Reader, at: Address, node_id: NodeId) -> Reading[Reward]:
    """What a node has earned."""
    call = reader.chain.rpc.call

    async def ask() -> Reward:
        try:
            due_wei, locked_wei = await call(at, EARNED_AND_LOCKED, node_id, block=reader.block)
        except WrongChain:  # One number alone: a deployment that locks nothing.
            due_wei, locked_wei = await call(at, EARNED, node_id, block=reader.block), 0
        return Reward(node_id, due_wei, locked_wei)

    return await reading(ask)


async def rewards_of(
    reader: Reader, pool_id: int, node_ids: Sequence[NodeId]
) -> tuple[Reading[Address], list[Reading[Reward]]]:
    """The contract that pays, and what each node has earned there."""
    where = await distributor(reader, pool_id)
    if where.value is None:
        return where, []
    at = where.value
    asks = [lambda one=one: reward_of(reader, at, one) for one in node_ids]
    return where, await gather(*asks)


def claim_plan(
    account: Address, pool_id: int, where: Reading[Address], earned: Sequence[Reading[Reward]]
) -> Plan:
    """Claim what each node has earned; `NotFound` in a pool that pays no rewards."""
    if where.is_absent or where.value is None:
        raise NotFound(
            f"Pool {pool_id} pays no rewards on the chain.",
            hint="Rewards are a matter of each deployment: ask the pool's creator.",
        )
    known = [one.need("rewards") for one in earned]
    steps = [
        Call(
            name="claimed",
            purpose=f"Claim {tokens_text(one.due_wei)}, earned by {address_text(one.node_id)}.",
            to=where.value,
            function=CLAIM,
            arguments=(one.node_id,),
        )
        for one in known
        if one.due_wei
    ]
    locked_wei = sum(one.locked_wei for one in known)
    notes = (f"{tokens_text(locked_wei)} are locked still.",) if locked_wei else ()
    return Plan(account, tuple(steps), notes)
