"""Streams that others open for one conversation: who may, and how many at a time.

Intuition: a log, or a challenge, goes on for as long as it likes on a stream of its own, so what is
bounded is how many there are: of one peer, so that none takes the places of all, and together.

Invariants: nobody is served before it is judged; a place is given back once, whatever the acceptor
does; a peer that is refused costs a reset and no more.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from p2pool.drivers.net.peer_link import PROTOCOLS, PeerLink
from p2pool.drivers.net.transport.frames import FrameStream, reset_stream
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import DEDICATED_CHANNELS, Channel

StreamAcceptor = Callable[[PeerKey, FrameStream], Awaitable[None]]
"""Serves one stream, in a task of its own, for as long as it takes."""

PLACES = {
    Channel.LOGS: (limits.LOG_STREAMS_PER_AGENT_MAX, limits.LOG_STREAMS_PER_AGENT_MAX),
    Channel.CHALLENGE: (
        limits.CHALLENGE_STREAMS_PER_PEER_MAX,
        limits.CHALLENGE_STREAMS_PER_AGENT_MAX,
    ),
}
"""How many streams of each channel may be open, of one peer and in all."""

assert set(PLACES) == DEDICATED_CHANNELS


@attrs.define
class DedicatedStreams:
    """The inbound streams of one network. `link_of`: the connected peer of a libp2p stream."""

    acceptors: Mapping[Channel, StreamAcceptor | None]
    link_of: Callable[[Any], PeerLink | None]
    counters: Counter[str]
    _open: dict[Channel, Counter[PeerKey]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._open = {channel: Counter() for channel in DEDICATED_CHANNELS}

    def handlers(self) -> dict[str, Callable[[Any], Awaitable[None]]]:
        """The handler of each protocol."""
        return {PROTOCOLS[channel]: self._handler(channel) for channel in DEDICATED_CHANNELS}

    def _handler(self, channel: Channel) -> Callable[[Any], Awaitable[None]]:
        async def handle(stream: Any) -> None:
            accept, link = self.acceptors.get(channel), self.link_of(stream)
            if link is None or accept is None or not await link.wait_permitted(channel):
                self.counters[f"streams_refused_{channel.value}"] += 1
                await reset_stream(stream)
                return
            await self._serve(channel, link.peer_key, accept, stream)

        return handle

    async def _serve(
        self, channel: Channel, peer_key: PeerKey, accept: StreamAcceptor, stream: Any
    ) -> None:
        opened, (per_peer, in_all) = self._open[channel], PLACES[channel]
        if opened[peer_key] >= per_peer or opened.total() >= in_all:
            self.counters["streams_refused_too_many"] += 1
            await reset_stream(stream)
            return
        opened[peer_key] += 1
        frames = FrameStream(stream)
        try:
            await accept(peer_key, frames)
        finally:
            opened[peer_key] -= 1
            if not opened[peer_key]:
                del opened[peer_key]
            await frames.aclose()
