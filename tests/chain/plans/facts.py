"""Facts as tests state them."""

from typing import Any

from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import NodeInfo, PoolInfo
from p2pool.drivers.chain.provider.facts import (
    NodeFacts,
    PoolFacts,
    ProviderFacts,
    Reading,
    StakeFacts,
    Unbond,
)
from p2pool.model.ids import Address, NodeId
from p2pool.model.states import PoolStatus

AT = Addresses(*(Address(bytes([number] * 20)) for number in range(1, 7)))
ME, OTHER = Address(b"p" * 20), Address(b"q" * 20)
MANAGER = Address(b"m" * 20)
NODE = NodeId(b"n" * 20)
YES: Reading[Any] = Reading.of(True)
NO: Reading[Any] = Reading.absent()
UNKNOWN: Reading[Any] = Reading.unknown("nobody answers")


def provider(**changes: Any) -> ProviderFacts:
    """A registered, whitelisted provider that has staked 10 of the 4 that its nodes need."""
    told: dict[str, Any] = {
        "address": ME,
        "time_s": 1000,
        "registered": YES,
        "whitelisted": YES,
        "stake_wei": Reading.of(10),
        "units": 0,
        "minimum_wei": Reading.of(4),
        "needed_wei": Reading.of(4),
        "unit_wei": Reading.of(2),
        "tokens_wei": Reading.of(100),
        "coin_wei": Reading.of(100),
        "allowance_wei": Reading.of(0),
    }
    return ProviderFacts(**{**told, **changes})


def stranger(**changes: Any) -> ProviderFacts:
    """A provider that nobody knows yet."""
    unknown = {"registered": NO, "whitelisted": NO, "stake_wei": Reading.of(0)}
    return provider(**{**unknown, **changes})


def stake(*unbonds: tuple[int, int], period_s: int = 60) -> StakeFacts:
    """What is on its way back, as amounts and dates."""
    return StakeFacts(
        Reading.of(tuple(Unbond(amount, due) for amount, due in unbonds)), Reading.of(period_s)
    )


def info(owner: Address = ME, *, active: bool = False, validated: bool = True) -> Reading[NodeInfo]:
    """A node as the registry has it."""
    return Reading.of(NodeInfo(owner, 1, active, validated))


def node(registry: Reading[NodeInfo] = NO, in_pool: Any = NO, barred: Any = NO) -> NodeFacts:
    """A node of nobody, in no pool."""
    return NodeFacts(NODE, registry, in_pool, barred)


def pool(status: PoolStatus = PoolStatus.ACTIVE, limit: int = 0, **changes: Any) -> PoolFacts:
    """An active pool of the manager's."""
    made = PoolInfo(7, 0, "pool", MANAGER, MANAGER, "", limit, status)
    told = {"info": Reading.of(made), "used_units": Reading.of(0), "barred": NO, "holds": NO}
    return PoolFacts(7, **{**told, **changes})
