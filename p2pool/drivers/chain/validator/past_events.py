"""Events of one contract, newest first, as far back as is worth asking for.

Intuition: some facts stand in events alone, such as why somebody was slashed. An endpoint answers
spans of blocks up to a bound of its own, so the way back is walked span by span, and ends after so
many of them: a search has to say how far it looked.

Invariants: `first_block` is the oldest block that was looked at; what an event of it says is not
older, and what stands before it is unknown, not absent.
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from p2pool.model.ids import Address


@attrs.frozen
class Past:
    """Events of a contract, oldest first, from `first_block` on."""

    first_block: int
    events: tuple[Log, ...]


async def past_events(
    rpc: Rpc, at: Address, topics: Sequence[bytes], head: int, oldest: int = 0
) -> Past:
    """The events with one of these first topics, up to and with the block `head`, and none before
    `oldest`."""
    listed = ["0x" + one.hex() for one in topics]
    found: list[Log] = []
    most, last = limits.PAST_SPAN_MAX_BLOCKS, head
    for _ in range(limits.PAST_SPANS_MAX if oldest <= head else 0):
        first = max(oldest, last - most + 1)
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": address_text(at),
            "topics": [listed],
        }
        try:
            events = await rpc.request("eth_getLogs", query, read=answers.logs)
        except EndpointRefused:
            # Each has a bound of its own and its own words for it: a smaller span is tried.
            if first == last:
                raise
            most = max(1, (last - first + 1) // 2)
            continue
        if any(one.number is None or not first <= one.number <= last for one in events):
            raise ChainUnavailable("An endpoint answers with events of other blocks.")
        found = [*_of(events, at, listed), *found]
        if len(found) > limits.PAST_EVENTS_MAX:
            raise ChainUnavailable(f"There are more than {limits.PAST_EVENTS_MAX} such events.")
        last = first - 1
        if last < oldest:
            break
    return Past(last + 1, tuple(found))


def _of(events: Sequence[Log], at: Address, topics: Sequence[str]) -> list[Log]:
    """Those that were asked for, whatever else an endpoint tells."""
    wanted = address_text(at).lower()
    return [
        one
        for one in events
        if one.address.lower() == wanted and one.topics[:1] and one.topics[0] in topics
    ]
