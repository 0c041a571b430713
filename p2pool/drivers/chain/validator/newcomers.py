"""Nodes that were registered lately, for whoever validates them: they are in no pool yet.

Intuition: a pool lists its members, and the registry tells of a node that comes in an event alone.
What an event says may be over by now, so each is looked up again before anything follows.

Invariant: deployments differ in which words of the event are topics; provider and node come first,
in this order, in all of them.
"""

from collections.abc import Iterator

from p2pool.drivers.chain.abi import topic
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.validator.past_events import past_events
from p2pool.model.ids import ADDRESS_BYTES, NodeId

WORD_BYTES = 32


async def registered_lately(reader: Reader, oldest: int = 0) -> tuple[NodeId, ...]:
    """Nodes that the registry's events name, the newest first, as far back as it is worth asking
    and not before the block `oldest`. `ChainUnavailable`: no endpoint tells."""
    at = reader.chain.at.registry
    topics = [topic("ComputeRegistry", "ComputeNodeAdded")]
    past = await past_events(reader.chain.rpc, at, topics, reader.block, oldest)
    named = (node_in(one) for one in reversed(past.events))
    return tuple(dict.fromkeys(one for one in named if one is not None))


def node_in(event: Log) -> NodeId | None:
    """The node that an event says was registered; None for one that names none."""
    words = list(_words(event))
    if len(words) < 2 or any(word[: WORD_BYTES - ADDRESS_BYTES].strip(b"\0") for word in words[:2]):
        return None
    return NodeId(words[1][WORD_BYTES - ADDRESS_BYTES :])


def _words(event: Log) -> Iterator[bytes]:
    try:
        topics = b"".join(bytes.fromhex(one.removeprefix("0x")) for one in event.topics[1:])
    except ValueError:
        return
    told = topics + (event.data or b"")
    for first in range(0, len(told) - WORD_BYTES + 1, WORD_BYTES):
        yield told[first : first + WORD_BYTES]
