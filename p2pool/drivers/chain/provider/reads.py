"""Reads facts from the contracts, all of one block, each by itself.

Intuition: endpoints fail one call at a time, and contracts say "there is none" in several ways: a
custom error, a panic for an empty array, a struct of zeros. Each becomes absent or unknown here, so
that no plan has to know how.

Invariants: all reads of one set of facts are at one block's number; a reading never raises what an
endpoint or a contract says. `WrongChain` passes: it is the configuration that is wrong, and no
retry helps.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import attrs
import trio

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function, function
from p2pool.drivers.chain.contracts import NodeInfo, PoolContracts, says_none
from p2pool.drivers.chain.provider.facts import (
    NodeFacts,
    OwnNode,
    PoolFacts,
    ProviderFacts,
    Reading,
    StakeFacts,
    Standing,
    Unbond,
    stake_needed_wei,
)
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.stakes import Stake
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, NotFound, P2poolError
from p2pool.model.ids import Address, NodeId

T = TypeVar("T")

Ask = Callable[[], Awaitable[Reading[Any]]]
STANDING = ("registered", "whitelisted", "stake_wei", "minimum_wei", "tokens_wei", "coin_wei")
"""What is read of every provider, in the order of the reads."""


async def reading(ask: Callable[[], Awaitable[T | None]], *, in_list: bool = False) -> Reading[T]:
    """What an answer says; None and False are absent. `in_list`: see `says_none`."""
    try:
        found = await ask()
    except Reverted as reverted:
        if says_none(reverted, in_list=in_list):
            return Reading.absent()
        why = reverted.arguments.get("reason") or reverted.name or reverted
        return Reading.unknown(f"A contract refuses to be read: {why}.")
    except NotFound:
        return Reading.absent()
    except ChainUnavailable as error:
        return Reading.unknown(error.message)
    return Reading.absent() if found is None or found is False else Reading.of(found)


async def gather(*asks: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The results of all, asked at once, in order; of several errors, the first one's is raised."""
    found: list[Any] = [None] * len(asks)
    failed: dict[int, P2poolError] = {}

    async def one(at: int) -> None:
        try:
            found[at] = await asks[at]()
        except P2poolError as error:
            failed[at] = error

    async with trio.open_nursery() as nursery:
        for at in range(len(asks)):
            nursery.start_soon(one, at)
    if failed:
        raise failed[min(failed)]
    return found


@attrs.frozen
class Reader:
    """Reads at one block; make it with `at_head`."""

    chain: PoolContracts
    block: int
    time_s: int

    @classmethod
    async def at_head(cls, chain: PoolContracts) -> "Reader":
        """A reader of the newest block; `ChainUnavailable` if nobody has one."""
        head = await chain.rpc.request("eth_getBlockByNumber", "latest", False, read=answers.block)
        if head is None:
            raise ChainUnavailable("An endpoint has no latest block.")
        return cls(chain, head.number, head.time_ms // 1000)

    def _read(
        self,
        to: Address,
        asked: Function,
        *arguments: object,
        take: Callable[[Any], Any] | None = None,
        in_list: bool = False,
    ) -> Ask:
        async def ask() -> Any:
            found = await self.chain.rpc.call(to, asked, *arguments, block=self.block)
            return found if take is None else take(found)

        return lambda: reading(ask, in_list=in_list)

    async def standing(self, address: Address) -> Standing:
        """How a provider stands, and what it has: the least that says whether all is well."""
        found = await gather(*self._standing(address))
        told = dict(zip(STANDING, found, strict=True))
        return Standing(address=address, time_s=self.time_s, **told)

    async def provider(self, address: Address, units: int = 0) -> ProviderFacts:
        """The same, and what it needs for `units` more."""
        at = self.chain.at
        asks = [
            *self._standing(address),
            self._read(at.stakes, function("StakeManager", "getStakeMinimum"), take=int),
            self._read(at.token, function("AIToken", "allowance"), address, at.network, take=int),
        ]
        if units:
            asks.append(self._minimum(address, units))
        found = await gather(*asks)
        told = dict(
            zip((*STANDING, "unit_wei", "allowance_wei", "needed_wei"), found, strict=False)
        )
        told.setdefault("needed_wei", told["minimum_wei"])
        return ProviderFacts(address=address, time_s=self.time_s, units=units, **told)

    async def required(self, address: Address, units: int = 0) -> Stake:
        """What a provider has staked, and what it has to with `units` more. `ChainUnavailable` if
        nobody says."""
        at, manager = self.chain.at, "StakeManager"
        staked, needed, unit = await gather(
            self._read(at.stakes, function(manager, "getStake"), address, take=int),
            self._minimum(address, units),
            self._read(at.stakes, function(manager, "getStakeMinimum"), take=int),
        )
        staked_wei = 0 if staked.is_absent else staked.need("stake")
        return Stake(address, staked_wei, stake_needed_wei(needed, unit, units))

    def _standing(self, address: Address) -> list[Ask]:
        """Reads what `STANDING` names, in that order."""
        at = self.chain.at
        exists = function("ComputeRegistry", "checkProviderExists")
        whitelist = function("ComputeRegistry", "getWhitelistStatus")
        balance = function("AIToken", "balanceOf")

        async def coin() -> Reading[int]:
            return await reading(lambda: self.chain.balance_wei(address))

        return [
            self._read(at.registry, exists, address, in_list=True),
            self._read(at.registry, whitelist, address, in_list=True),
            self._read(at.stakes, function("StakeManager", "getStake"), address, take=int),
            self._minimum(address, 0),
            self._read(at.token, balance, address, take=int),
            coin,
        ]

    def _minimum(self, address: Address, units: int) -> Ask:
        """Reads what a stake has to be with so many units more: the registry is asked for those
        that the provider has."""
        minimum = function("PrimeNetwork", "calculateMinimumStake")
        return self._read(self.chain.at.network, minimum, address, units, take=int, in_list=True)

    async def stake(self, address: Address) -> StakeFacts:
        """What a provider has in unbonding."""
        at, stakes = self.chain.at.stakes, "StakeManager"
        pending, period = await gather(
            self._read(at, function(stakes, "getPendingUnbonds"), address, take=_unbonds),
            self._read(at, function(stakes, "getUnbondingPeriod"), take=int),
        )
        return StakeFacts(pending, period)

    async def own_nodes(self, address: Address) -> Reading[tuple[OwnNode, ...]]:
        """The nodes that a provider has in the registry."""
        get = function("ComputeRegistry", "getProvider")
        found: Reading[tuple[OwnNode, ...]] = await self._read(
            self.chain.at.registry, get, address, take=_own_nodes, in_list=True
        )()
        return found

    async def node(self, pool_id: int, node_id: NodeId) -> NodeFacts:
        """A node in the registry and in a pool."""
        at, pool = self.chain.at, "ComputePool"
        barred = function(pool, "isNodeBlacklistedFromPool")
        found = await gather(
            lambda: self._registry(node_id),
            self._read(at.pool, function(pool, "isNodeInPool"), pool_id, node_id),
            self._read(at.pool, barred, pool_id, node_id),
        )
        return NodeFacts(node_id, *found)

    async def _registry(self, node_id: NodeId) -> Reading[NodeInfo]:
        return await reading(lambda: self.chain.node(node_id, self.block))

    async def registry_nodes(self, node_ids: Sequence[NodeId]) -> tuple[NodeFacts, ...]:
        """Several nodes in the registry, in order; of no pool was asked."""
        unasked: Reading[bool] = Reading.unknown("Nobody asked for a pool.")
        asks = [lambda one=one: self._registry(one) for one in node_ids]
        found = await gather(*asks)
        return tuple(
            NodeFacts(node_id, registry, unasked, unasked)
            for node_id, registry in zip(node_ids, found, strict=True)
        )

    async def nodes(self, pool_id: int, node_ids: Sequence[NodeId]) -> tuple[NodeFacts, ...]:
        """Several nodes, in order."""
        asks = [lambda one=one: self.node(pool_id, one) for one in node_ids]
        return tuple(await gather(*asks))

    async def pool(self, pool_id: int, provider: Address | None = None) -> PoolFacts:
        """A pool, and whether it bars a provider, and has it."""
        at, name = self.chain.at, "ComputePool"

        async def info() -> Reading[Any]:
            async def ask() -> Any:
                return await self.chain.pool(pool_id, self.block)

            return await reading(ask)

        async def nobody() -> Reading[bool]:
            return Reading.absent()

        total = function(name, "getComputePoolTotalCompute")
        asks = [info, self._read(at.pool, total, pool_id, take=int)]
        for asked in ("isProviderBlacklistedFromPool", "isProviderInPool"):
            one = function(name, asked)
            known = provider is not None
            asks.append(self._read(at.pool, one, pool_id, provider) if known else nobody)
        found = await gather(*asks)
        return PoolFacts(pool_id, *found)


async def read_stake(chain: PoolContracts, provider: Address, units: int = 0) -> Stake:
    """What a provider has staked now, and what it has to with `units` more."""
    return await (await Reader.at_head(chain)).required(provider, units)


def _unbonds(found: Sequence[Sequence[int]]) -> tuple[Unbond, ...]:
    # A deployment keeps an entry of nothing for stake that was paid out.
    owed = [(amount, due_s) for amount, due_s in found if amount]
    listed = [Unbond(amount, due_s) for amount, due_s in owed[: limits.UNBONDS_SHOWN_MAX]]
    return tuple(sorted(listed, key=lambda one: one.due_s))


def _own_nodes(found: Sequence[Any]) -> tuple[OwnNode, ...]:
    listed = found[3][: limits.MEMBERS_MAX]
    return tuple(
        OwnNode(NodeId(bytes.fromhex(one[1][2:])), one[3], bool(one[5]), bool(one[6]))
        for one in listed
    )
