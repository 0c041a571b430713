"""Slashes that the chain has seen, each with its reason.

Intuition: a slash is not a state that one can look at and find done. But its reason stands in the
event beside it; so each slash has a reason of its own, and whoever repeats a command with the same
one finds that it was done.
"""

import attrs
from eth_abi.exceptions import DecodingError

from p2pool.drivers.chain.abi import decoded, topic
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.provider.reads import Reader, reading
from p2pool.drivers.chain.validator.past_events import past_events
from p2pool.model.ids import ADDRESS_BYTES, Address

INDEXED = ("uint256", "bytes")
PLAIN = ("address", "uint256", "bytes")
"""The event's data where the staker is a topic, and where it is not: deployments differ."""


@attrs.frozen
class Slash:
    """Stake that was taken from a provider for good."""

    provider: Address
    amount_wei: int
    reason: bytes
    block: int


@attrs.frozen
class Slashes:
    """Those of one provider, oldest first, from the block `first_block` on."""

    first_block: int
    listed: tuple[Slash, ...]

    def for_reason(self, reason: bytes) -> Slash | None:
        """The one that was done for it."""
        return next((one for one in self.listed if one.reason == reason), None)


async def slashes_of(reader: Reader, provider: Address) -> Reading[Slashes]:
    """What of a provider's stake was slashed lately; unknown if an endpoint does not tell."""

    async def ask() -> Slashes:
        topics = [topic("StakeManager", "Slashed")]
        at = reader.chain.at.stakes
        past = await past_events(reader.chain.rpc, at, topics, reader.block)
        found = (slash_of(one) for one in past.events)
        mine = tuple(one for one in found if one is not None and one.provider == provider)
        return Slashes(past.first_block, mine)

    return await reading(ask)


def slash_of(event: Log) -> Slash | None:
    """An event as a slash; None for one that is none."""
    if event.data is None or event.number is None:
        return None
    try:
        if len(event.topics) > 1:
            staker: str = "0x" + event.topics[1][-2 * ADDRESS_BYTES :]
            amount_wei, reason = decoded(INDEXED, event.data)
        else:
            staker, amount_wei, reason = decoded(PLAIN, event.data)
        provider = Address(bytes.fromhex(staker[2:]))
    except (DecodingError, ValueError):
        return None
    return Slash(provider, amount_wei, bytes(reason), event.number)
