"""Somebody at the other end of a TCP connection who keeps no rules: bytes, as given."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_DATA, TYPE_WINDOW_UPDATE

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, encode_frame
from p2pool.model.messages.registry import Channel
from tests.net.harness.hosts import Node, listening_at

HEAD = struct.Struct("!BBHII")
HUGE = b"\xff\xff\xff\xff\x07"
"""A varint that says: two gigabytes."""


def line(text: str) -> bytes:
    """A line of multistream-select."""
    return bytes([len(text) + 1]) + text.encode() + b"\n"


def frame(kind: int, flags: int, stream: int, body: bytes = b"", length: int = -1) -> bytes:
    """A frame of Yamux; `length`: what it claims, if not the length of its body."""
    return HEAD.pack(0, kind, flags, stream, len(body) if length < 0 else length) + body


@asynccontextmanager
async def tcp_to(node: Node) -> AsyncIterator[trio.SocketStream]:
    """A TCP connection to a node."""
    port = int(listening_at(node)[0].rpartition("/")[2])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield stream


async def say(stream: Any, *texts: str) -> None:
    """Say lines, and read as many that come back."""
    for text in ("/multistream/1.0.0", *texts):
        await stream.write(line(text))
    for _ in ("/multistream/1.0.0", *texts):
        length = (await _exactly(stream, 1))[0]
        await _exactly(stream, length)


async def _exactly(stream: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await stream.read(count - len(data))
        assert part, "the other side has closed"
        data += part
    return data


async def secured(stream: trio.SocketStream, node: Node, seed: bytes) -> Any:
    """Noise over a TCP connection."""
    raw = RawConnection(TrioTCPStream(stream), initiator=True)
    await say(raw, "/noise")
    noise = NoiseTransport(
        create_new_key_pair(seed), noise_privkey=create_new_x25519_key_pair().private_key
    )
    return await noise.secure_outbound(raw, peer_id_of(node.key))


class Stranger:
    """A connection up to Yamux, of a key that nobody knows."""

    def __init__(self, session: Any) -> None:
        """`session`: a secured connection on which a muxer was agreed."""
        self.session = session
        self._next = 1

    async def write(self, data: bytes) -> None:
        """Bytes of the muxer, as they are."""
        await self.session.conn.write_msg(data)

    async def open(self, data: bytes, protocol: str = "") -> int:
        """A stream that begins with these bytes, behind the lines that agree on a protocol."""
        number, self._next = self._next, self._next + 2
        if protocol:
            data = line("/multistream/1.0.0") + line(protocol) + data
        opened = frame(TYPE_WINDOW_UPDATE, FLAG_SYN, number)
        await self.write(opened + frame(TYPE_DATA, 0, number, data))
        return number

    async def greet(self, text: bytes) -> None:
        """Say hello."""
        await self.open(encode_frame(text), PROTOCOLS[Channel.HELLO])

    async def wait_end(self) -> None:
        """Read, until the other side ends the connection."""
        try:
            while True:
                await self.session.conn.read_msg()
        except (*STREAM_ERRORS, trio.BrokenResourceError):
            return


@asynccontextmanager
async def stranger(node: Node, number: int) -> AsyncIterator[Stranger]:
    """A connection of the stranger with this number."""
    async with tcp_to(node) as stream:
        session = await secured(stream, node, bytes([number]) * 32)
        await say(session, "/yamux/1.0.0")
        yield Stranger(session)
