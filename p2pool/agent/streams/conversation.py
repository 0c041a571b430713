"""One stream with one peer: what is said there is sealed, and every wait has an end.

Intuition: whoever serves a stream thinks in messages. That each comes from the peer at the other
end, under the node id of its hello and within its budget, is settled here.

Invariants: nothing is opened of who is not paced; a peer that goes away, is late or lies ends the
conversation by an error of `model.errors`, which concerns this stream alone.
Source: docs/design/protocol.md, "Channels".
"""

from collections.abc import Callable
from typing import Protocol

import attrs

from p2pool.agent.clock import read_clock
from p2pool.agent.wire.sealer import Sealer
from p2pool.model.errors import Unavailable
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.registry import Message, Verified
from p2pool.model.timing import Now

Opens = Callable[[PeerKey, bytes, Now], Verified]
"""Opens a frame of a peer; a `Refusal` for what is not to be looked into (`Ingress.streamed`)."""


class Frames(Protocol):
    """The stream under a conversation (`drivers.net.transport.frames`)."""

    async def send_frame(self, frame: bytes) -> None:
        """Write one frame. Unavailable: the other side is gone, or slow."""
        ...

    async def receive_frame(self, deadline_ms: int) -> bytes | None:
        """The next frame, None at the end. Unavailable: it is late, or the peer is gone."""
        ...

    async def end(self) -> None:
        """Announce the end of our frames."""
        ...


@attrs.define
class Conversation:
    """A stream of sealed messages. `account`: under which node id the peer spoke last."""

    peer_key: PeerKey
    frames: Frames
    sealer: Sealer
    opens: Opens
    account: NodeId | None = None

    async def send(self, message: Message) -> None:
        """Say something. Unavailable: nobody takes it in time."""
        _, data = self.sealer.seal(message, read_clock())
        await self.frames.send_frame(data)

    async def receive(self, deadline_ms: int) -> Message | None:
        """What the peer says next; None when it has ended. Unavailable: nothing came in time, or
        the peer is gone. A `Refusal`: it said what it may not."""
        data = await self.frames.receive_frame(deadline_ms)
        if data is None:
            return None
        verified = self.opens(self.peer_key, data, read_clock())
        self.account = verified.header.node_id
        return verified.message

    async def expect(self, deadline_ms: int) -> Message:
        """As `receive`, from a peer that has not ended. Unavailable: it has."""
        message = await self.receive(deadline_ms)
        if message is None:
            raise Unavailable("The peer ended the stream.", hint="Open another one.")
        return message

    async def end(self) -> None:
        """Say nothing more."""
        await self.frames.end()
