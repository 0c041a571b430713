"""A connection's bytes: read through a buffer, at a pace, and few of them before the handshake.

Intuition: Noise reads the two bytes of a message's length and then its body, each with a system
call of its own, so we read whatever has arrived. Before the handshake nobody is known, and the
library believes what a length says: of three lines, two messages of Noise and one more line it
would take hundreds of megabytes. An honest handshake is a kilobyte or two.

Invariants: no more than HANDSHAKE_MAX_BYTES are handed on before `established`; a guest's
connection is read at a guest's pace, and no more than GUEST_READ_BYTES of it are read ahead; what
was handed on of a message that is not whole yet counts in the connection's account.
"""

import ipaddress
from typing import Any

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

from p2pool.drivers.net.transport.pace import Pace
from p2pool.drivers.net.transport.room import Account
from p2pool.model import limits

RAW_READ_BYTES = 64 * 1024
GUEST_READ_BYTES = 4 * 1024


class BufferedStream(ReadWriteCloser):  # type: ignore[misc]
    """Reads as many bytes as are available, returns as few as are asked for."""

    def __init__(self, stream: ReadWriteCloser) -> None:
        """Takes the place of `stream` for its only reader."""
        self._stream = stream
        self._remote = remote_address(stream)
        self._buffer = bytearray()
        self._pace = Pace(limits.GUEST_CONNECTION_KIB_PER_S, limits.GUEST_CONNECTION_KIB_BURST)
        self._read_bytes = GUEST_READ_BYTES
        self._handshake: int | None = limits.HANDSHAKE_MAX_BYTES
        self._account: Account | None = None
        self._unfinished = 0

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; none at the end. ConnectionClosedError: the handshake is too long.
        Overrun: too much is held of this connection."""
        if not self._buffer:
            await self._pace.wait()
            self._buffer += await self._stream.read(self._read_bytes)
            self._pace.owe(len(self._buffer) / 1024)
        data = bytes(self._buffer if n is None else self._buffer[:n])
        del self._buffer[: len(data)]
        if self._handshake is not None:
            self._handshake -= len(data)
            if self._handshake < 0:
                raise ConnectionClosedError("the handshake is too long", transport="tcp")
        if self._account is not None:
            self._count(self._account, len(data), n)
        return data

    def _count(self, account: Account, size: int, asked: int | None) -> None:
        """Less than was asked for waits for the rest of its message."""
        if asked is not None and 0 < size < asked:
            self._unfinished += size
            account.take(size)
        elif self._unfinished:
            account.give(self._unfinished)
            self._unfinished = 0

    def established(self) -> None:
        """The connection is secured, and has a muxer."""
        self._handshake = None

    def count_in(self, account: Account) -> None:
        """What is held of the connection is counted here."""
        self._account = account

    def trust(self, member: bool) -> None:
        """Read at a member's pace, or at a guest's."""
        self._read_bytes = RAW_READ_BYTES if member else GUEST_READ_BYTES
        if member:
            self._pace = Pace(limits.CONNECTION_KIB_PER_S, limits.CONNECTION_KIB_BURST)
        else:
            self._pace = Pace(limits.GUEST_CONNECTION_KIB_PER_S, limits.GUEST_CONNECTION_KIB_BURST)

    async def write(self, data: bytes) -> None:
        """Write the bytes unchanged."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.close()

    def abort(self) -> None:
        """Close the socket at once, whatever it is wrapped in: who reads or writes sees the end."""
        socket = socket_of(self._stream)
        if socket is not None:
            socket.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The other side's address."""
        return self._remote


def socket_of(stream: Any) -> Any | None:
    """The socket below a stream, whatever it is wrapped in; None: it has none."""
    while stream is not None and not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "stream", None) or getattr(stream, "_stream", None)
    return None if stream is None else stream.socket


def remote_address(stream: Any) -> tuple[str, int] | None:
    """The address at the other end of a stream's socket; None: it has none (any more).

    The library knows none of IPv6, where a socket's name has four parts. One of IPv4 is told as
    such, on a socket for both too, and without the name that an interface has on this machine."""
    socket = socket_of(stream)
    try:
        host, port = socket.getpeername()[:2] if socket is not None else ("", 0)
        ip = ipaddress.ip_address(host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip), port
