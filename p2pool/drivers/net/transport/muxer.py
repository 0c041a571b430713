"""Yamux without the library's wasted work, and with its windows kept.

A Raft frame is a few hundred bytes, and a write to the pool waits for four of them, so what
py-libp2p 0.8.1 does for each one counts. It describes every frame in a log that nobody reads, and
answers each read of a stream with a window update, a frame that costs about as much as the one that
was read. Here credit is given once half of a window is used, as go-yamux does
(tests/net/test_muxer.py counts the frames).

The library trusts the other side: it keeps what is sent beyond a window, answers as many pings and
opens as many streams as come, and waits without end for what a peer does not take. So frames are
read here, and not by the library:

- a body longer than what its stream has credit for ends the connection, before a byte of it is
  read; so does more on a stream that is gone than the peer could have sent before it knew;
- a window is large only where somebody reads, and only a member's; all that nobody has read counts
  in the connection's account (`transport.room`), with what a reader keeps of an unfinished frame;
- so many streams are open at once; one more is reset unopened;
- a connection is read at a pace (`transport.pace`), by its bytes and by its messages;
- what a peer does not take within STREAM_WRITE_TIMEOUT_MS ends the connection. A write is never
  given up in the middle, when a cancellation comes: the rest would be taken for something else.

What a frame costs does not depend on how many streams there are.
Source: the specification of Yamux, version 0, by HashiCorp.
"""

import logging
import struct
from collections import Counter
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    GO_AWAY_NORMAL,
    HEADER_SIZE,
    MAX_MESSAGE_SIZE,
    TYPE_DATA,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from p2pool.drivers.net.transport.pace import Pace
from p2pool.drivers.net.transport.raw_stream import BufferedStream
from p2pool.drivers.net.transport.room import Account, Overrun, Room
from p2pool.model import limits

logger = logging.getLogger(__name__)
# A peer chooses how often it breaks the rules of the muxer: its connection ends, that is all.
logging.getLogger("libp2p.stream_muxer.yamux.yamux").setLevel(logging.CRITICAL)

PIECE_BYTES = 64 * 1024
assert DEFAULT_WINDOW_SIZE == limits.YAMUX_WINDOW_BYTES
ENDS = (
    BaseLibp2pError,
    OSError,
    trio.TooSlowError,
    trio.ClosedResourceError,
    trio.BrokenResourceError,
)
"""What reading a connection raises when it ends."""
HEAD = struct.Struct(YAMUX_HEADER_FORMAT)


class PoolStream(YamuxStream):  # type: ignore[misc]
    """A stream that gives credit in large pieces. `kept`: bytes of it that its reader has taken and
    not used yet."""

    conn: "PoolYamux"

    def __init__(self, number: int, connection: "PoolYamux", is_initiator: bool) -> None:
        """With the protocol's window."""
        super().__init__(number, connection, is_initiator)
        self.kept = 0
        self._told = trio.Event()

    async def read(self, n: int | None = -1) -> bytes:
        """What has arrived, at most `n` bytes. MuxedStreamEOF, MuxedStreamReset: nothing more."""
        data = await self.conn.read_stream(self.stream_id, PIECE_BYTES if n in (None, -1) else n)
        await self._auto_tune_and_send_window_update()
        return data

    async def write(self, data: bytes) -> None:
        """Write as fast as the peer gives credit. MuxedStreamError: the stream ended, or the peer
        gives none for STREAM_WRITE_TIMEOUT_MS."""
        rest = memoryview(data)
        while rest:
            if self.send_closed or self.closed:
                raise MuxedStreamError("the stream is closed")
            size = min(self.send_window, len(rest), MAX_MESSAGE_SIZE - HEADER_SIZE)
            if not size:
                await self._wait_credit()
                continue
            self.send_window -= size
            head = HEAD.pack(0, TYPE_DATA, 0, self.stream_id, size)
            await self.conn._write_frame(head + rest[:size])
            rest = rest[size:]

    async def _wait_credit(self) -> None:
        with trio.move_on_after(limits.STREAM_WRITE_TIMEOUT_MS / 1000):
            await self._told.wait()
            return
        raise MuxedStreamError("the peer gives no credit")

    def credit(self, size: int) -> None:
        """The peer gives credit for so many bytes more."""
        self.send_window += size
        self.tell()

    def tell(self) -> None:
        """Something changed: whoever waits to write looks again."""
        self._told.set()
        self._told = trio.Event()

    async def _auto_tune_and_send_window_update(self, *, bytes_read: int = 0) -> None:
        """Give credit for what was read, once half of the window is used."""
        unread = len(self.conn.stream_buffers.get(self.stream_id, b""))
        credit = self.target_recv_window - self.recv_window - unread
        if 2 * credit >= self.target_recv_window and not self.recv_closed:
            self._window_update_full_grow += 1
            self.recv_window += credit
            await self.send_window_update(credit)

    async def reset(self) -> None:
        """End the stream both ways; what nobody has read is dropped."""
        self.drop_unread()
        await super().reset()
        self.tell()

    def drop_unread(self) -> None:
        """The stream was reset: nobody can read what is left of it."""
        unread = self.conn.stream_buffers.get(self.stream_id)
        if unread and self.conn.streams.get(self.stream_id) is self:
            self.conn.account.give(len(unread))
            unread.clear()

    def keep(self, size: int) -> None:
        """The reader has so many bytes more that it did not use yet; fewer, if it is negative."""
        if self.conn.streams.get(self.stream_id) is self:
            self.kept += size
            if size < 0:
                self.conn.account.give(-size)
            else:
                self.conn.account.take(size)


class _Streams(dict[int, PoolStream]):
    """A connection's streams; whatever was held of one is given back when it goes."""

    def __init__(self, connection: "PoolYamux") -> None:
        super().__init__()
        self._connection = connection

    def pop(self, number: int, *default: Any) -> Any:
        """Let a stream go."""
        stream = self.get(number)
        if stream is not None:
            self._connection.let_go(stream)
        return super().pop(number, *default)


class PoolYamux(Yamux):  # type: ignore[misc]
    """The library's muxer, with frames that are read and written as said above."""

    streams: dict[int, PoolStream]
    next_stream_id: int

    def __init__(
        self,
        secured_conn: Any,
        peer_id: Any,
        *args: Any,
        room: Room,
        counters: Counter[str],
        **kwargs: Any,
    ) -> None:
        """A guest's connection, until `trust` says otherwise. `room`: all guests'."""
        super().__init__(secured_conn, peer_id, *args, **kwargs)
        self.streams = _Streams(self)
        self.account = Account(room, limits.GUEST_HELD_MAX_BYTES, self.cut)
        self._room = room
        self._counters = counters
        self._pace = Pace(limits.GUEST_CONNECTION_READS_PER_S, limits.GUEST_CONNECTION_READS_BURST)
        self._opened_by_peer = 0
        self._stray = 0
        self._wide = 0
        self._patience_ms = limits.STREAM_WRITE_TIMEOUT_MS
        self._behind = 0
        self._reading = trio.CancelScope()
        self._raw = raw_stream_of(secured_conn)
        if self._raw is not None:
            self._raw.count_in(self.account)

    def trust(self, member: bool) -> None:
        """Whether it is a member's connection, which has bounds of its own, or a guest's."""
        if member:
            self.account.leave(limits.CONNECTION_HELD_MAX_BYTES)
            self._pace = Pace(limits.CONNECTION_READS_PER_S, limits.CONNECTION_READS_BURST)
        else:
            self.account.enter(self._room, limits.GUEST_HELD_MAX_BYTES)
            self._pace = Pace(
                limits.GUEST_CONNECTION_READS_PER_S, limits.GUEST_CONNECTION_READS_BURST
            )
        if self._raw is not None:
            self._raw.trust(member)

    def cut(self) -> None:
        """End the connection at once, and drop everything that is held of it."""
        if not self.event_shutting_down.is_set():
            self._counters["connections_cut"] += 1
            self.event_shutting_down.set()
        self.account.close()
        for number, stream in self.streams.items():
            stream.closed = stream.send_closed = stream.recv_closed = stream.reset_received = True
            if number in self.stream_events:
                self.stream_events[number].set()
            stream.tell()
        self.stream_buffers.clear()
        self._reading.cancel()
        if self._raw is not None:
            self._raw.abort()

    # --- reading ----------------------------------------------------------------------------------

    async def handle_incoming(self) -> None:
        """Read frames until the connection ends."""
        try:
            with self._reading:
                while not self.event_shutting_down.is_set():
                    await self._take_frame()
        except Overrun:
            self.cut()
        except ENDS:
            self._counters["connections_ended"] += 1
        except Exception:
            # Below it, Noise decrypts bytes that a remote chose: anything may come out of that.
            self._counters["connections_broken"] += 1
            logger.debug("Reading a connection raised.", exc_info=True)
        finally:
            self.account.close()
            streams = list(self.streams.values())
            with trio.CancelScope(shield=True):
                await self._cleanup_on_error()
            for stream in streams:
                stream.tell()

    async def _take_frame(self) -> None:
        """Read one frame. ConnectionClosedError: it is none, or there is no more."""
        self._count_behind()
        await self._pace.wait()
        version, kind, flags, number, length = HEAD.unpack(await self._exactly(HEADER_SIZE))
        asks = kind == TYPE_PING or flags & FLAG_SYN
        self._pace.owe(limits.CONNECTION_READS_PER_QUESTION if asks else 1)
        if version or kind not in (TYPE_DATA, TYPE_WINDOW_UPDATE, TYPE_PING):
            # What is left of the kinds says that the other side goes.
            raise ConnectionClosedError("no frame, or the last one")
        if kind == TYPE_PING:
            await self._take_ping(flags, length)
            return
        if flags & FLAG_SYN:
            await self._open(number, bool(flags & FLAG_RST))
        stream = self.streams.get(number)
        if kind == TYPE_DATA:
            await self._take_data(number, stream, length)
        elif stream is not None:
            stream.credit(length)
        if stream is not None:
            self._take_end(stream, flags)

    def _count_behind(self) -> None:
        """What Noise has decrypted and we have not come to counts as well."""
        secured = self.secured_conn
        behind = getattr(secured, "high_watermark", 0) - getattr(secured, "low_watermark", 0)
        if behind > self._behind:
            self.account.take(behind - self._behind)
        else:
            self.account.give(self._behind - behind)
        self._behind = behind

    async def _take_ping(self, flags: int, value: int) -> None:
        if flags & FLAG_SYN:
            await self._write_frame(HEAD.pack(0, TYPE_PING, FLAG_ACK, 0, value))
        elif flags & FLAG_ACK:
            self._ping_event.set()

    async def _open(self, number: int, is_reset: bool) -> None:
        """The peer opens a stream: take it, or reset it."""
        if not number or bool(number % 2) == self.is_initiator_value or number in self.streams:
            raise ConnectionClosedError("a stream with a number of ours, or opened twice")
        if is_reset:
            return
        most = limits.GUEST_STREAMS_MAX if self.account.shared else limits.STREAMS_PER_PEER_MAX
        if self._opened_by_peer >= most:
            self._counters["streams_refused_too_many"] += 1
            # Until it knows, it may send what any stream has credit for.
            self._stray += DEFAULT_WINDOW_SIZE
            await self._write_frame(HEAD.pack(0, TYPE_WINDOW_UPDATE, FLAG_RST, number, 0))
            return
        self._opened_by_peer += 1
        stream = self.streams[number] = PoolStream(number, self, False)
        self.stream_buffers[number] = bytearray()
        self.stream_events[number] = trio.Event()
        await self._write_frame(HEAD.pack(0, TYPE_WINDOW_UPDATE, FLAG_ACK, number, 0))
        await self.new_stream_send_channel.send(stream)

    async def _take_data(self, number: int, stream: PoolStream | None, length: int) -> None:
        """Read a body, piece by piece. Overrun: it is longer than the stream has credit for."""
        if length > (self._stray if stream is None else stream.recv_window):
            raise Overrun
        if stream is None:
            self._stray -= length
        else:
            stream.recv_window -= length
        with trio.fail_after(limits.MUXER_BODY_TIMEOUT_MS / 1000):
            while length:
                piece = await self._exactly(min(length, PIECE_BYTES))
                length -= len(piece)
                if stream is not None and self.streams.get(number) is stream:
                    self.account.take(len(piece))
                    self.stream_buffers[number] += piece
                    self.stream_events[number].set()

    def _take_end(self, stream: PoolStream, flags: int) -> None:
        """The peer sends no more on a stream, or resets it."""
        if flags & FLAG_FIN:
            stream.recv_closed = True
            stream.closed = stream.closed or stream.send_closed
        if flags & FLAG_RST:
            stream.closed = stream.reset_received = True
            stream.drop_unread()
        if flags & (FLAG_FIN | FLAG_RST):
            if stream.stream_id in self.stream_events:
                self.stream_events[stream.stream_id].set()
            stream.tell()
            if stream.closed:
                self._finalize_stream_locked(stream, fully_closed=True)

    async def _exactly(self, count: int) -> bytes:
        """So many bytes of the connection. ConnectionClosedError: it ended."""
        data: bytes = await self.secured_conn.read(count)
        if len(data) < count:
            raise ConnectionClosedError("the connection ended")
        return data

    # --- streams ----------------------------------------------------------------------------------

    async def read_stream(self, stream_id: int, n: int = -1) -> bytes:
        """What has arrived on a stream, as the library's."""
        data: bytes = await super().read_stream(stream_id, n)
        self.account.give(len(data))
        return data

    async def open_stream(self) -> Any:
        """A stream of ours. MuxedStreamError: the connection ends."""
        await self.stream_backlog_semaphore.acquire()
        if self.event_shutting_down.is_set():
            self.stream_backlog_semaphore.release()
            raise MuxedStreamError("the connection ends")
        number, self.next_stream_id = self.next_stream_id, self.next_stream_id + 2
        stream = self.streams[number] = PoolStream(number, self, True)
        stream._owns_backlog_slot = True
        self.stream_buffers[number] = bytearray()
        self.stream_events[number] = trio.Event()
        opened = False
        try:
            await self._write_frame(HEAD.pack(0, TYPE_WINDOW_UPDATE, FLAG_SYN, number, 0))
            opened = True
        finally:
            if not opened:
                self._finalize_stream_locked(stream, fully_closed=True)
        return stream

    def widen(self, stream: PoolStream) -> None:
        """A stream that is read gets a window for the longest frames, if a member sends them."""
        wide = stream.target_recv_window > DEFAULT_WINDOW_SIZE
        if not (wide or self.account.shared) and self._wide < limits.WIDE_STREAMS_MAX:
            self._wide += 1
            stream.target_recv_window = limits.STREAM_UNREAD_MAX_BYTES

    def let_go(self, stream: PoolStream) -> None:
        """A stream goes: give back what was held of it. What it had credit for may still come."""
        held = len(self.stream_buffers.get(stream.stream_id, b"")) + stream.kept
        stream.kept = 0
        self.account.give(held)
        self._stray += stream.recv_window
        if not stream.is_initiator:
            self._opened_by_peer -= 1
        if stream.target_recv_window > DEFAULT_WINDOW_SIZE:
            self._wide -= 1

    # --- writing ----------------------------------------------------------------------------------

    async def _write_frame(self, data: bytes) -> None:
        """Write one frame, whole. TooSlowError: the peer does not take it, and is cut off."""
        async with self._write_lock:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + self._patience_ms / 1000
                await self.secured_conn.write(data)
            if scope.cancelled_caught:
                self._counters["connections_not_taking"] += 1
                self.cut()
                raise trio.TooSlowError
        await trio.lowlevel.checkpoint()

    async def close(self, error_code: int = GO_AWAY_NORMAL) -> None:
        """End the connection, with a word if the peer takes it."""
        self._patience_ms = limits.STREAM_END_PATIENCE_MS
        if self._write_lock.locked():
            # Whoever writes may wait for a peer that takes nothing.
            self.event_shutting_down.set()
            self.cut()
        streams = list(self.streams.values())
        await super().close(error_code)
        self.account.close()
        for stream in streams:
            stream.tell()


def raw_stream_of(secured: Any) -> BufferedStream | None:
    """What carries a secured connection; None: something made for a test."""
    packets = getattr(getattr(secured, "conn", None), "read_writer", None)
    raw = getattr(getattr(packets, "read_write_closer", None), "stream", None)
    return raw if isinstance(raw, BufferedStream) else None


def _muxed(stream: Any) -> PoolStream | None:
    """The muxer's side of a libp2p stream; None: of another muxer."""
    muxed = getattr(stream, "muxed_stream", None)
    return muxed if isinstance(muxed, PoolStream) else None


async def read_some(stream: Any, most: int) -> bytes:
    """The bytes that have arrived on a libp2p stream, 1 to `most`; none at its end.

    Raises whatever reading a stream raises (`frames.STREAM_ERRORS`).
    """
    muxed = _muxed(stream)
    if muxed is None:
        data: bytes = await stream.read(most)
        return data
    try:
        data = await muxed.conn.read_stream(muxed.stream_id, most)
    except MuxedStreamEOF:
        return b""
    muxed.conn.widen(muxed)
    await muxed._auto_tune_and_send_window_update()
    return data


def keep(stream: Any, size: int) -> None:
    """A reader has so many bytes more of a libp2p stream that it did not use yet, or fewer.
    Overrun: these are too many."""
    muxed = _muxed(stream)
    if muxed is not None:
        muxed.keep(size)


async def forget_stream(stream: Any) -> None:
    """Drop what this side keeps of a stream whose work is done. The other side may go on sending to
    it, up to its window, and need never close it."""
    muxed = _muxed(stream)
    if muxed is None:
        return
    connection, number = muxed.conn, muxed.stream_id
    async with connection.streams_lock:
        connection.streams.pop(number, None)
        connection.stream_buffers.pop(number, None)
        ended = connection.stream_events.pop(number, None)
        if ended is not None:
            ended.set()
