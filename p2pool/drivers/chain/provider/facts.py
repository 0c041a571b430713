"""What the chain says of a provider, its nodes and a pool: each fact absent, present or unknown.

Intuition: "there is none" and "nobody answers" lead to opposite acts. So nothing here is a bare
value: a `Reading` says which of the three it is, and whoever needs the value asks for it with
`need`, which refuses what is unknown. Unknown is never yes, and never no.
"""

from enum import StrEnum
from typing import Generic, TypeVar

import attrs

from p2pool.drivers.chain.contracts import NodeInfo, PoolInfo
from p2pool.model.errors import ChainUnavailable, NotFound
from p2pool.model.ids import Address, NodeId

T = TypeVar("T")


class Presence(StrEnum):
    """What a read says."""

    ABSENT = "absent"
    PRESENT = "present"
    UNKNOWN = "unknown"


@attrs.frozen
class Reading(Generic[T]):
    """One fact. `value` is there where it is present; `why` says why it is unknown."""

    presence: Presence
    value: T | None = None
    why: str = ""

    @classmethod
    def of(cls, value: T) -> "Reading[T]":
        """A fact that is there."""
        return cls(Presence.PRESENT, value)

    @classmethod
    def absent(cls) -> "Reading[T]":
        """The chain says that there is none."""
        return cls(Presence.ABSENT)

    @classmethod
    def unknown(cls, why: str) -> "Reading[T]":
        """Nobody says."""
        return cls(Presence.UNKNOWN, None, why)

    @property
    def is_absent(self) -> bool:
        """Whether the chain says that there is none; refuses the unknown."""
        if self.presence is Presence.UNKNOWN:
            raise ChainUnavailable(self.why, hint="Try again: nothing was sent.")
        return self.presence is Presence.ABSENT

    def need(self, what: str) -> T:
        """The value. `ChainUnavailable` if it is unknown, `NotFound` if there is none."""
        if self.is_absent or self.value is None:
            raise NotFound(f"There is no {what}.")
        return self.value


@attrs.frozen
class Unbond:
    """Stake that is on its way back, and when it can be withdrawn, in Unix seconds."""

    amount_wei: int
    due_s: int


@attrs.frozen
class OwnNode:
    """A node of a provider, as the registry lists it."""

    node_id: NodeId
    compute_units: int
    active: bool
    validated: bool


@attrs.frozen(kw_only=True)
class Standing:
    """How a provider stands at one block, and what it has. `minimum_wei`: what its stake has to be
    for the nodes that it has."""

    address: Address
    time_s: int
    registered: Reading[bool]
    whitelisted: Reading[bool]
    stake_wei: Reading[int]
    minimum_wei: Reading[int]
    tokens_wei: Reading[int]
    coin_wei: Reading[int]

    @property
    def is_registered(self) -> bool:
        """Refuses the unknown."""
        return not self.registered.is_absent

    @property
    def is_whitelisted(self) -> bool:
        """Refuses the unknown."""
        return not self.whitelisted.is_absent


@attrs.frozen(kw_only=True)
class ProviderFacts(Standing):
    """A provider that wants something. `needed_wei`: what its stake has to be for `units` more.
    `unit_wei`: the network's minimum for one. `allowance_wei`: what the network may take."""

    units: int
    needed_wei: Reading[int]
    unit_wei: Reading[int]
    allowance_wei: Reading[int]

    @property
    def stake_needed_wei(self) -> int:
        """The stake that it needs to have `units` more."""
        return stake_needed_wei(self.needed_wei, self.unit_wei, self.units)


def stake_needed_wei(needed_wei: Reading[int], unit_wei: Reading[int], units: int) -> int:
    """The stake that a provider needs to have `units` more. Where a deployment knows no minimum of
    a provider that it does not know, it is the one of a provider without nodes."""
    if needed_wei.is_absent:
        return (units + 1) * unit_wei.need("minimum stake")
    return needed_wei.need("minimum stake")


@attrs.frozen
class StakeFacts:
    """What is on its way back to a provider, and how long that takes."""

    unbonds: Reading[tuple[Unbond, ...]]
    unbonding_s: Reading[int]

    def due_wei(self, time_s: int) -> int:
        """What can be withdrawn at a time."""
        pending = self.unbonds.value or ()
        return sum(one.amount_wei for one in pending if one.due_s <= time_s)


@attrs.frozen
class NodeFacts:
    """A node at one block: in the registry, in a pool, barred from it."""

    node_id: NodeId
    registry: Reading[NodeInfo]
    in_pool: Reading[bool]
    blacklisted: Reading[bool]

    @property
    def is_member(self) -> bool:
        """Refuses the unknown."""
        return not self.in_pool.is_absent

    @property
    def is_barred(self) -> bool:
        """Refuses the unknown."""
        return not self.blacklisted.is_absent


@attrs.frozen
class PoolFacts:
    """A pool at one block. `used_units`: of its limit. `barred` and `holds`: whether it bars one
    provider, and has it, if that was asked for."""

    pool_id: int
    info: Reading[PoolInfo]
    used_units: Reading[int]
    barred: Reading[bool]
    holds: Reading[bool]

    def need(self) -> PoolInfo:
        """The pool; `NotFound` if there is none, `ChainUnavailable` if nobody says."""
        if self.info.is_absent or self.info.value is None:
            raise NotFound(
                f"There is no pool {self.pool_id}.",
                hint="Check [pool] id, and the pool's address.",
            )
        return self.info.value
