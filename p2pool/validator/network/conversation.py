"""A stream of sealed frames with one node, each wait under a deadline.

Invariants: every frame is sealed by the peer at the other end, and comes after the one before it;
a stream that breaks, or says what is none of the expected messages, is `Unavailable` or a
`Refusal`, and never anything else.
"""

from types import TracebackType

import attrs
import trio

from p2pool.drivers.net.transport.frames import FrameStream
from p2pool.model.errors import Malformed, Stale, Unavailable
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel, Message
from p2pool.validator.network.sealer import Sealer


@attrs.define
class Conversation:
    """One stream, open. Use it in an `async with` block."""

    sealer: Sealer
    peer_key: PeerKey
    stream: FrameStream
    last: tuple[int, int] = (-1, -1)

    async def __aenter__(self) -> "Conversation":
        """It is open already."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, whatever happened."""
        with trio.CancelScope(shield=True):
            await self.stream.aclose()

    async def say(self, message: Message) -> None:
        """Send a frame. `Unavailable`: the stream broke, or the other side does not read."""
        channel, data = self.sealer.seal(message)
        assert channel is Channel.CHALLENGE, message
        await self.stream.send_frame(data)

    async def hear(self, deadline_ms: int) -> Message:
        """The next frame. `Unavailable`: none in time, or the stream ended."""
        data = await self.stream.receive_frame(max(1, deadline_ms))
        if data is None:
            raise Unavailable("The node ended the conversation.")
        verified = self.sealer.opened_once(Channel.CHALLENGE, self.peer_key, data)
        number = (verified.header.incarnation, verified.header.sequence)
        if number <= self.last:
            raise Stale("A frame came again.")
        self.last = number
        return verified.message

    async def hear_one(self, deadline_ms: int, *expected: type[Message]) -> Message:
        """The next frame, which has to be one of these."""
        message = await self.hear(deadline_ms)
        if not isinstance(message, expected):
            raise Malformed(f"A {type(message).__name__} came out of turn.")
        return message
