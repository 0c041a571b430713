"""The streams that others open on `/p2pool/challenge/1`, by the first frame of each.

Intuition: challenges and evidence travel alike, and the first frame says which it is. Whoever
serves one kind says so once, and is handed the streams of that kind.

    intake.serve_by(EvidenceRequested, evidence.give)

Invariants: a stream whose first frame nobody serves, or that is late with it, is closed; what a
server raises of `model.errors` costs its stream alone, and is counted by its code.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from p2pool.agent.streams.conversation import Conversation, Frames, Opens
from p2pool.agent.wire.sealer import Sealer
from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.model.errors import NotForUs, P2poolError
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel, Message, channel_of

log = get_logger(__name__)

Server = Callable[[Any, Conversation], Awaitable[None]]
"""Serves a stream whose first frame is of one class, to its end."""


class StreamIntake:
    """The streams of one agent, to their servers."""

    def __init__(self, sealer: Sealer, opens: Opens) -> None:
        """`opens`: the way in for frames of these streams."""
        self.counters: Counter[str] = Counter()
        self._sealer, self._opens = sealer, opens
        self._servers: dict[type[Message], Server] = {}

    def serve_by(self, first: type[Message], server: Server) -> None:
        """Hand streams that begin with this message to a server."""
        assert channel_of(first) is Channel.CHALLENGE
        assert first not in self._servers
        self._servers[first] = server

    async def serve(self, peer_key: PeerKey, frames: Frames) -> None:
        """Serve one stream to its end."""
        talk = Conversation(peer_key, frames, self._sealer, self._opens)
        try:
            await self._serve(talk)
        except* P2poolError as group:
            for error in _errors(group):
                self.counters[error.code] += 1
                log.debug("a stream ended", code=error.code, why=error.message)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self.counters["broken"] += 1

    async def _serve(self, talk: Conversation) -> None:
        first = await talk.expect(limits.STREAM_OPENED_MS)
        server = self._servers.get(type(first))
        if server is None:
            raise NotForUs(f"No stream begins with {type(first).__name__} here.")
        self.counters[type(first).__name__] += 1
        await server(first, talk)
        await talk.end()


def _errors(group: BaseExceptionGroup[P2poolError]) -> list[P2poolError]:
    """The single errors of a group."""
    found: list[P2poolError] = []
    for one in group.exceptions:
        found += _errors(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found
