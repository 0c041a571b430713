"""What was claimed of a pool's rewards before, by node, as the events of who pays them tell it.

Invariants: it is known from the block `first_block` on, and no further; an event of another form is
none of ours.
"""

from collections import Counter
from collections.abc import Mapping

import attrs
from eth_utils.crypto import keccak

from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.drivers.chain.provider.reads import Reader, reading
from p2pool.drivers.chain.validator.past_events import past_events
from p2pool.model.ids import ADDRESS_BYTES, Address, NodeId

CLAIMED = keccak(text="RewardsClaimed(uint256,address,address,uint256)")
"""Pool, provider and node are topics; the data is the amount."""


@attrs.frozen
class PastClaims:
    """What was claimed for each node from a block on, in wei; a node without claims has none."""

    first_block: int
    by_node: Mapping[NodeId, int]


async def claims_of(reader: Reader, at: Address, pool_id: int) -> Reading[PastClaims]:
    """What was claimed from the contract that pays a pool's rewards."""

    async def ask() -> PastClaims:
        past = await past_events(reader.chain.rpc, at, [CLAIMED], reader.block)
        found: Counter[NodeId] = Counter()
        for event in past.events:
            if (claim := _claim(event, pool_id)) is not None:
                found[claim[0]] += claim[1]
        return PastClaims(past.first_block, found)

    return await reading(ask)


def _claim(event: Log, pool_id: int) -> tuple[NodeId, int] | None:
    if len(event.topics) != 4 or event.data is None or len(event.data) != 32:
        return None
    try:
        pool, node_id = (
            int(event.topics[1], 16),
            bytes.fromhex(event.topics[3][-2 * ADDRESS_BYTES :]),
        )
    except ValueError:
        return None
    if pool != pool_id or len(node_id) != ADDRESS_BYTES:
        return None
    return NodeId(node_id), int.from_bytes(event.data, "big")
