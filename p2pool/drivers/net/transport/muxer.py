"""Removes the library's wasted work for each small message, and bounds what a connection may cost.

A Raft frame is a few hundred bytes, and a write to the pool waits for four of them, so py-libp2p
0.8.1's work for each one counts:

- Noise reads the two bytes of a message's length and then its body, each with a system call of its
  own: `BufferedStream` reads everything available at once;
- Yamux answers each read of a stream with a window update, a frame that costs about as much as the
  one that was read: `read_some` gives credit once half of the window is used, as go-yamux does;
- Yamux describes each frame that it writes in a log that nobody reads: `PoolYamux` does not.

Together this saves a third per message (tests/net/test_muxer.py counts the frames).

The library trusts the other side: it answers as many pings and opens as many streams as come, and
keeps whatever is sent beyond a stream's window, though nobody reads it. So a connection is read at
a pace (`transport.pace`), by its bytes and by the muxer's messages; one that exceeds a window is
closed, as Yamux asks for; a window is large only where somebody reads; and a stream whose handler
has ended is forgotten, with what was not read of it.
"""

import logging
from typing import Any

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    HEADER_SIZE,
    TYPE_PING,
    Yamux,
    YamuxStream,
)

from p2pool.drivers.net.transport.pace import Pace
from p2pool.model import limits

logger = logging.getLogger(__name__)
# A peer chooses how often it breaks the rules of the muxer: its connection ends, that is all.
logging.getLogger("libp2p.stream_muxer.yamux.yamux").setLevel(logging.CRITICAL)

RAW_READ_BYTES = 64 * 1024
NO_TIME_S = 1e-9
SLACK_BYTES = 64 * 1024


class BufferedStream(ReadWriteCloser):  # type: ignore[misc]
    """A connection's bytes: reads as many as are available, returns as few as are asked for."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        """Takes the place of `stream` for its only reader."""
        self._stream = stream
        self._buffer = bytearray()
        self._pace = Pace(limits.CONNECTION_KIB_PER_S, limits.CONNECTION_KIB_BURST)

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; none at the end."""
        if not self._buffer:
            await self._pace.wait()
            self._buffer += await self._stream.read(RAW_READ_BYTES)
            self._pace.owe(len(self._buffer) / 1024)
        data = bytes(self._buffer if n is None else self._buffer[:n])
        del self._buffer[: len(data)]
        return data

    async def write(self, data: bytes) -> None:
        """Write the bytes unchanged."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The other side's address."""
        address: tuple[str, int] | None = self._stream.get_remote_address()
        return address


class _PacedConnection:
    """A secured connection, read at the pace of the muxer's messages; otherwise as it is."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._pace = Pace(limits.CONNECTION_READS_PER_S, limits.CONNECTION_READS_BURST)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def read(self, n: int | None = None) -> bytes:
        """As the connection's; a ping or a new stream counts as several."""
        await self._pace.wait()
        data: bytes = await self._connection.read(n)
        asks = len(data) == HEADER_SIZE and (data[1] == TYPE_PING or data[3] & FLAG_SYN)
        self._pace.owe(limits.CONNECTION_READS_PER_QUESTION if asks else 1)
        return data


class _Overrun(trio.TooSlowError):
    """A peer exceeded a window; of the kind of error at which the muxer ends a connection."""


class PoolYamux(Yamux):  # type: ignore[misc]
    """The library's muxer, silent. Concurrent writers take turns."""

    def __init__(self, secured_conn: Any, *args: Any, **kwargs: Any) -> None:
        """As the library's, read at a pace."""
        super().__init__(_PacedConnection(secured_conn), *args, **kwargs)

    def rtt(self) -> float:
        """No time. The library doubles a window that is read again within four round trips, and so
        agreeing on a protocol, in a few bytes, makes it several megabytes."""
        return NO_TIME_S

    async def _read_data_body(self, length: int) -> bytes:
        """The body of a data frame, unless the peer sends more than it has credit for.

        The library grants some bytes twice while a protocol is agreed on, hence the slack.
        """
        windows = {number: s.target_recv_window for number, s in self.streams.items()}
        exceeded = any(
            number in windows and len(unread) > windows[number] + SLACK_BYTES
            for number, unread in self.stream_buffers.items()
        )
        if exceeded or length > limits.STREAM_UNREAD_MAX_BYTES:
            logger.warning("A peer sends more than its window: its connection is closed.")
            raise _Overrun
        data: bytes = await super()._read_data_body(length)
        return data

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            await self.secured_conn.write(data)
        await trio.lowlevel.checkpoint()


async def read_some(stream: Any, most: int) -> bytes:
    """The bytes that have arrived on a libp2p stream, 1 to `most`; none at its end.

    Raises whatever reading a stream raises (`frames.STREAM_ERRORS`).
    """
    muxed = getattr(stream, "muxed_stream", None)
    if not isinstance(muxed, YamuxStream):
        data: bytes = await stream.read(most)
        return data
    try:
        data = await muxed.conn.read_stream(muxed.stream_id, most)
    except MuxedStreamEOF:
        return b""
    # A stream that is read gets a window for the longest frames, once.
    muxed.target_recv_window = max(muxed.target_recv_window, limits.STREAM_UNREAD_MAX_BYTES)
    await muxed._auto_tune_and_send_window_update()
    return data


async def forget_stream(stream: Any) -> None:
    """Drop what this side keeps of a stream whose work is done. The other side may go on sending to
    it, up to its window, and need never close it."""
    muxed = getattr(stream, "muxed_stream", None)
    if not isinstance(muxed, YamuxStream):
        return
    connection, number = muxed.conn, muxed.stream_id
    async with connection.streams_lock:
        connection.streams.pop(number, None)
        connection.stream_buffers.pop(number, None)
        ended = connection.stream_events.pop(number, None)
        if ended is not None:
            ended.set()
