"""A connection of the attacker: TCP, Noise, and then Yamux frame by frame.

Intuition: a libp2p host keeps the rules, and an attacker breaks them. So nothing of a host is used
above Noise: frames are written as given, whatever the window, and what comes back is read only if
somebody wants it. What the other side opens is answered as a libp2p peer does, since it says
nothing before its own hello is through.
"""

import socket
import struct
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.transport import Transport as NoiseTransport
from noise.exceptions import NoiseInvalidMessage

from p2pool.drivers.net.peers.addresses import parse_full_address, peer_id_of
from p2pool.drivers.net.transport.frames import STREAM_ERRORS

DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RESET = 1, 2, 4, 8
HEAD = struct.Struct(">BBHII")
MULTISTREAM = "/multistream/1.0.0"
CREDIT = 2**30
LINES = 2
HANDSHAKE_S = 10.0
DEAD = (*STREAM_ERRORS, NoiseInvalidMessage)
"""What a connection raises that the other side ended."""


def varint(number: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def prefixed(data: bytes) -> bytes:
    """Bytes behind their length."""
    return varint(len(data)) + data


def agreed(*protocols: str) -> bytes:
    """Lines of multistream-select, as said by a side that waits for no answer."""
    return b"".join(prefixed(f"{name}\n".encode()) for name in (MULTISTREAM, *protocols))


def frame(
    kind: int, flags: int, stream: int, body: bytes = b"", length: int | None = None
) -> bytes:
    """A frame of Yamux; `length`: what its head claims, if not the length of its body."""
    return HEAD.pack(0, kind, flags, stream, len(body) if length is None else length) + body


@attrs.frozen
class At:
    """Whom the attacker reaches, and from which address it comes."""

    address: str
    source: str
    takes_bytes: int = 0
    """How much the attacker's kernel takes of what it does not read; 0: as usual, some MiB."""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where TCP goes."""
        parts = self.address.split("/")
        return parts[2], int(parts[4])


async def tcp(at: At) -> trio.SocketStream:
    """A TCP connection from an address of the attacker's choice."""
    made = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The port is chosen with the connection: otherwise the addresses of one host run out.
        made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if at.takes_bytes:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, at.takes_bytes)
        await made.bind((at.source, 0))
        await made.connect(at.host_and_port)
    except BaseException:
        made.close()
        raise
    return trio.SocketStream(made)


IP_BIND_ADDRESS_NO_PORT = 24


async def say(stream: Any, *names: str) -> None:
    """Agree on a protocol of a whole connection, line by line."""
    for name in (MULTISTREAM, *names):
        await stream.write(prefixed(f"{name}\n".encode()))
    for _ in (MULTISTREAM, *names):
        await _line(stream)


async def _line(stream: Any) -> bytes:
    length = (await _exactly(stream, 1))[0]
    return await _exactly(stream, length)


async def _exactly(stream: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await stream.read(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


@attrs.define(eq=False)
class Line:
    """A secured connection. `heard`: what came on each stream that is read; `told` is set with
    each frame."""

    session: Any
    heard: defaultdict[int, bytearray] = attrs.field(factory=lambda: defaultdict(bytearray))
    frames_in: int = 0
    bytes_out: int = 0
    ended: bool = False
    told: trio.Event = attrs.field(factory=trio.Event)
    _next: int = 1
    _lines: Counter[int] = attrs.field(factory=Counter)
    _writing: trio.Lock = attrs.field(factory=trio.Lock)

    async def write(self, data: bytes) -> None:
        """Bytes of the muxer, as they are."""
        async with self._writing:
            with trio.fail_after(HANDSHAKE_S):
                await self.session.conn.write_msg(data)
        self.bytes_out += len(data)

    def number(self) -> int:
        """The next stream of ours."""
        self._next += 2
        return self._next - 2

    async def open(self, protocol: str, data: bytes = b"", *, credit: bool = True) -> int:
        """A stream, agreed upon without a wait, with its first bytes; `credit`: what comes back
        has room."""
        number = self.number()
        opened = frame(WINDOW, SYN, number, length=CREDIT if credit else 0)
        await self.write(opened + frame(DATA, 0, number, agreed(protocol) + data))
        return number

    async def send(self, stream: int, data: bytes, flags: int = 0) -> None:
        """Bytes on a stream, whatever its window."""
        await self.write(frame(DATA, flags, stream, data))

    async def read_on(self, keep: bool = True) -> None:
        """Read to the end, and answer what the other side opens or asks."""
        with suppress(*DEAD):
            while True:
                head = await _exactly(self.session, HEAD.size)
                _, kind, flags, stream, length = HEAD.unpack(head)
                body = await _exactly(self.session, length) if kind == DATA and length else b""
                self.frames_in += 1
                await self._hear(kind, flags, stream, length, body, keep)
                self._tell()
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self.told.set()
        self.told = trio.Event()

    async def _hear(
        self, kind: int, flags: int, stream: int, length: int, body: bytes, keep: bool
    ) -> None:
        if kind == PING and flags & SYN:
            await self.write(frame(PING, ACK, 0, length=length))
        if kind == DATA and keep:
            self.heard[stream] += body
        if stream and not stream % 2:
            if flags & SYN:
                await self.write(frame(WINDOW, ACK, stream, length=CREDIT))
            await self._agree(stream)

    async def _agree(self, stream: int) -> None:
        """Answer each line with which it proposes something by the line itself."""
        while self._lines[stream] < LINES and b"\n" in self.heard[stream]:
            line, _, rest = bytes(self.heard[stream]).partition(b"\n")
            self.heard[stream][:] = rest
            self._lines[stream] += 1
            await self.send(stream, line + b"\n")

    def said(self) -> Iterator[bytes]:
        """What has come so far on the streams that the other side opened, once agreed upon."""
        for stream, lines in list(self._lines.items()):
            if lines == LINES:
                yield bytes(self.heard[stream])


@asynccontextmanager
async def connected(at: At, seed: bytes, *, reads: bool = True) -> AsyncIterator[Line]:
    """A connection up to the muxer, closed with the block; `reads`: what comes is read. Raises one
    of DEAD if it is refused, or breaks in the block."""
    with trio.fail_after(HANDSHAKE_S):
        stream = await tcp(at)
    broken: BaseException | None = None
    try:
        with trio.fail_after(HANDSHAKE_S):
            line = Line(await secured(stream, at, seed))
            await say(line.session, "/yamux/1.0.0")
        async with trio.open_nursery() as nursery:
            if reads:
                nursery.start_soon(line.read_on)
            try:
                yield line
            except DEAD as error:
                broken = error
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), suppress(OSError, trio.BrokenResourceError):
            await trio.aclose_forcefully(stream)
    if broken is not None:
        # Not from inside the nursery, which would put it into a group.
        raise broken


async def secured(stream: trio.SocketStream, at: At, seed: bytes) -> Any:
    """Noise over a TCP connection, as the peer of a key."""
    raw = RawConnection(TrioTCPStream(stream), initiator=True)
    await say(raw, "/noise")
    noise = NoiseTransport(
        create_new_key_pair(seed), noise_privkey=create_new_x25519_key_pair().private_key
    )
    return await noise.secure_outbound(raw, peer_id_of(parse_full_address(at.address).peer_key))
