"""Length-prefixed frames on a libp2p stream, and the bounded queue of frames to send.

A frame is its length as an unsigned varint and then its bytes, as in all libp2p protocols.
Invariants: the length is checked before a byte of the body is kept; a stream that ends inside a
frame is an error, one that ends between two is not; no frame is empty, since no message is (at a
byte each, empty frames would be the cheapest way to keep us busy); other tasks run between frames,
however many have arrived already; a queue's frames and bytes are bounded. The library's own
`read_exactly` gives up after 100 partial reads, which a frame of 1 MiB in Mplex's slices of 4 KiB
exceeds, and reads a varint byte by byte, with a Yamux window update for each; so reads go through a
buffer here.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.stream.exceptions import StreamEOF

from p2pool.drivers.net.patience import wait_awake
from p2pool.drivers.net.transport.muxer import keep, read_some
from p2pool.model.errors import Malformed, Unavailable
from p2pool.model.limits import (
    FRAMES_PER_TURN_MAX,
    FRAMES_PER_WRITE_MAX_BYTES,
    PEER_SEND_QUEUE_MAX,
    PEER_SEND_QUEUE_MAX_BYTES,
    STREAM_END_PATIENCE_MS,
    STREAM_FRAME_MAX_BYTES,
    STREAM_WRITE_TIMEOUT_MS,
)

READ_BYTES = 64 * 1024
LENGTH_MAX_BYTES = 4

STREAM_ERRORS = (
    BaseLibp2pError,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
)
"""The errors of opening, reading, writing or closing a stream when the other side or the connection
fails. KeyError (Yamux: a stream's event is gone), ValueError and RuntimeError (Mplex: could not
close) are the library's ways to say so. Never trio.Cancelled, never an assertion."""


def encode_frame(frame: bytes) -> bytes:
    """`frame` with its length prefix. Malformed: empty, or longer than STREAM_FRAME_MAX_BYTES."""
    size = len(frame)
    if not size:
        raise Malformed("A frame is empty.", hint="Send a message in it, or none.")
    if size > STREAM_FRAME_MAX_BYTES:
        raise Malformed(
            f"A frame of {size} bytes is over the limit of {STREAM_FRAME_MAX_BYTES}.",
            hint="Split it, or ask for less at once.",
        )
    prefix = bytearray()
    while size >= 0x80:
        prefix.append((size & 0x7F) | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + frame


def decode_length(buffer: bytearray) -> tuple[int, int] | None:
    """(length, bytes of the prefix), None if more bytes are needed; Malformed if too long."""
    length = 0
    for position in range(LENGTH_MAX_BYTES):
        if position >= len(buffer):
            return None
        byte = buffer[position]
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return length, position + 1
    raise Malformed("The length of a frame is not a varint within the limit.")


class FrameReader:
    """Reads frames of a stream through a buffer."""

    def __init__(self, stream: Any, max_bytes: int = STREAM_FRAME_MAX_BYTES) -> None:
        """`stream` is a libp2p net stream; frames over `max_bytes` are refused."""
        self._stream = stream
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._taken = 0
        self._used = 0

    def _take(self) -> bytes | None:
        """The next whole frame from the buffer, if there is one."""
        decoded = decode_length(self._buffer)
        if decoded is None:
            return None
        length, start = decoded
        if not length:
            raise Malformed("A frame is empty.")
        if length > self._max_bytes:
            raise Malformed(f"A frame of {length} bytes is over the limit of {self._max_bytes}.")
        if len(self._buffer) < start + length:
            return None
        frame = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        self._used = start + length
        return frame

    async def receive(self) -> bytes | None:
        """The next frame; None at an orderly end. Malformed: their fault. STREAM_ERRORS: ended.

        Until the next is asked for, a frame counts as held of its connection."""
        keep(self._stream, -self._used)
        self._used = 0
        if self._taken >= FRAMES_PER_TURN_MAX:
            self._taken = 0
            # Before a frame is taken: a cancellation here loses none.
            await trio.lowlevel.checkpoint()
        while True:
            frame = self._take()
            if frame is not None:
                self._taken += 1
                return frame
            try:
                data = await read_some(self._stream, READ_BYTES)
            except StreamEOF:
                data = b""
            if not data:
                if self._buffer:
                    raise Malformed("The stream ended inside a frame.")
                return None
            self._buffer += data
            keep(self._stream, len(data))


class SendQueue:
    """Frames waiting for one stream, first in first out, bounded by count and by bytes."""

    def __init__(
        self,
        max_frames: int = PEER_SEND_QUEUE_MAX,
        max_bytes: int = PEER_SEND_QUEUE_MAX_BYTES,
    ) -> None:
        """An empty queue."""
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._filled = trio.Event()

    def __len__(self) -> int:
        """The number of waiting frames."""
        return len(self._frames)

    @property
    def waiting_bytes(self) -> int:
        """Their bytes together."""
        return self._bytes

    def put(self, frame: bytes) -> bool:
        """Append an encoded frame; False if a bound is reached."""
        if len(self._frames) >= self._max_frames or self._bytes + len(frame) > self._max_bytes:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()
        return True

    def clear(self) -> int:
        """Drop all frames; returns their number."""
        count = len(self._frames)
        self._frames.clear()
        self._bytes = 0
        return count

    async def wait_filled(self) -> None:
        """Wait until there is a frame."""
        while not self._frames:
            self._filled = trio.Event()
            await self._filled.wait()

    def take(self) -> tuple[int, bytes]:
        """(number, bytes) of the next frames, joined up to a bound: one write for many."""
        count, size = 0, 0
        for frame in self._frames:
            if count and size + len(frame) > FRAMES_PER_WRITE_MAX_BYTES:
                break
            count, size = count + 1, size + len(frame)
        joined = b"".join(self._frames.popleft() for _ in range(count))
        self._bytes -= len(joined)
        return count, joined


class FrameStream:
    """A dedicated stream of frames both ways (log streams), each wait under a deadline."""

    def __init__(self, stream: Any) -> None:
        """`stream` is an open libp2p net stream that this object owns from now on."""
        self._stream = stream
        self._reader = FrameReader(stream)

    async def send_frame(self, frame: bytes, deadline_ms: int = STREAM_WRITE_TIMEOUT_MS) -> None:
        """Write one frame. Malformed: too long. Unavailable: the other side is gone or slow."""
        encoded = encode_frame(frame)
        try:
            with trio.fail_after(deadline_ms / 1000):
                await self._stream.write(encoded)
        except STREAM_ERRORS as error:
            raise Unavailable("The stream to the peer broke.", hint="Open it again.") from error

    async def receive_frame(self, deadline_ms: int) -> bytes | None:
        """The next frame, None at the end. Malformed: not a frame. Unavailable: gone, or late."""
        try:
            with trio.fail_after(deadline_ms / 1000):
                return await self._reader.receive()
        except Malformed:
            await reset_stream(self._stream)
            raise
        except STREAM_ERRORS as error:
            raise Unavailable("The stream to the peer broke.", hint="Open it again.") from error

    async def end(self) -> None:
        """Announce the end of our frames; frames can still be received."""
        try:
            with trio.fail_after(STREAM_WRITE_TIMEOUT_MS / 1000):
                await self._stream.close_write()
        except STREAM_ERRORS as error:
            raise Unavailable("The stream to the peer broke.", hint="Open it again.") from error

    async def aclose(self) -> None:
        """Close both directions; the other side never makes it raise."""
        await close_stream(self._stream)


async def close_stream(stream: Any) -> None:
    """Close a stream in an orderly way, in any state; reset it if that fails."""
    if not await _end(stream.close):
        await reset_stream(stream)


async def reset_stream(stream: Any) -> None:
    """Drop a stream at once; failing to tell the other side is no error."""
    await _end(stream.reset)


async def _end(ending: Callable[[], Awaitable[None]]) -> bool:
    """Run it despite any cancellation, for STREAM_END_PATIENCE_MS at most; False if it failed."""
    failed = False
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_lose_patience, scope)
            try:
                await ending()
            except STREAM_ERRORS:
                failed = True
            nursery.cancel_scope.cancel()
    return not failed


async def _lose_patience(scope: trio.CancelScope) -> None:
    """Cancel what takes too long, unless it is this process that was stalled meanwhile."""
    await wait_awake(STREAM_END_PATIENCE_MS)
    scope.cancel()
