"""Removes the library's wasted work for each small message.

A Raft frame is a few hundred bytes, and a write to the pool waits for four of them, so py-libp2p
0.8.1's work for each one counts:

- Noise reads the two bytes of a message's length and then its body, each with a system call of its
  own: `BufferedStream` reads everything available at once;
- Yamux answers each read of a stream with a window update, a frame that costs about as much as the
  one that was read: `read_some` gives credit once half of the window is used, as go-yamux does;
- Yamux describes each frame that it writes in a log that nobody reads: `PoolYamux` does not.

Together this saves a third per message (tests/net/test_muxer.py counts the frames).
"""

from typing import Any

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.stream_muxer.exceptions import MuxedStreamEOF
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream

RAW_READ_BYTES = 64 * 1024


class BufferedStream(ReadWriteCloser):  # type: ignore[misc]
    """A connection's bytes: reads as many as are available, returns as few as are asked for."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        """Takes the place of `stream` for its only reader."""
        self._stream = stream
        self._buffer = bytearray()

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; none at the end."""
        if not self._buffer:
            self._buffer += await self._stream.read(RAW_READ_BYTES)
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


class PoolYamux(Yamux):  # type: ignore[misc]
    """The library's muxer, silent. Concurrent writers take turns."""

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
    await muxed._auto_tune_and_send_window_update()
    return data
