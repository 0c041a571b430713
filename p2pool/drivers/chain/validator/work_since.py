"""Pieces of work that were submitted since a block, oldest first, a bounded part at a time.

Intuition: a validator judges what came since it looked last. It goes on where it stopped, so it
reads each block once, however long it was away, and takes no more at a time than it can judge.

Invariants: `next_block` is the first one that was not read, and no piece before it is missing; only
blocks up to `last`, which the caller knows to be final, are read; what was taken back by then is
not among the pieces.
"""

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import topic
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.endpoints.failures import EndpointRefused
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.validator.work import (
    JUDGED,
    Piece,
    PieceState,
    judge_of,
    pieces_of,
)
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from p2pool.model.ids import Address


@attrs.frozen
class WorkPart:
    """The pieces of some blocks. `next_block`: where the next part begins."""

    next_block: int
    pieces: tuple[Piece, ...]


async def final_number(chain: PoolContracts, final_depth: int | None) -> int:
    """The newest final block; where no endpoint knows one, that many blocks under the newest."""
    if final_depth:
        return max(0, (await Reader.at_head(chain)).block - final_depth)
    found = await chain.rpc.request("eth_getBlockByNumber", "finalized", False, read=answers.block)
    if found is None:
        raise ChainUnavailable("An endpoint has no final block.")
    return found.number


async def work_since(chain: PoolContracts, pool_id: int, first: int, last: int) -> WorkPart:
    """The pieces of a pool from the block `first` on, to `last` at most."""
    if first > last:
        return WorkPart(first, ())
    reader = await Reader.at_head(chain)
    pool = (await reader.pool(pool_id)).need()
    judge = await judge_of(reader, pool.domain_id)
    ours = judge.is_absent
    at = chain.at.pool if ours else judge.need("contract that judges work")
    topics = ["0x" + topic("ComputePool", "WorkSubmitted").hex()] if ours else list(JUDGED)
    found: list[Log] = []
    most, next_block = limits.PAST_SPAN_MAX_BLOCKS, first
    for _ in range(limits.PAST_SPANS_MAX):
        if next_block > last or len(found) >= limits.WORK_PART_EVENTS:
            break
        until = min(last, next_block + most - 1)
        try:
            events = await _events(chain, at, topics, next_block, until)
        except EndpointRefused:
            # Each has a bound of its own and its own words for it: a smaller span is tried.
            if until == next_block:
                raise
            most = max(1, (until - next_block + 1) // 2)
            continue
        if len(events) > limits.WORK_PART_EVENTS and until > next_block:
            most = max(1, (until - next_block + 1) // 2)
            continue
        found += events
        next_block = until + 1
    pieces = pieces_of(found, pool_id).values()
    return WorkPart(next_block, tuple(one for one in pieces if one.state is PieceState.SUBMITTED))


async def _events(
    chain: PoolContracts, at: Address, topics: list[str], first: int, last: int
) -> list[Log]:
    query = {
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "address": address_text(at),
        "topics": [topics],
    }
    events = await chain.rpc.request("eth_getLogs", query, read=answers.logs)
    if any(one.number is None or not first <= one.number <= last for one in events):
        raise ChainUnavailable("An endpoint answers with events of other blocks.")
    wanted = address_text(at).lower()
    return [
        one
        for one in events
        if one.address.lower() == wanted and one.topics[:1] and one.topics[0] in topics
    ]
