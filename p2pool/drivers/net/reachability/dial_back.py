"""Whether others reach this machine: a peer is asked to dial back, and proves that it did.

Intuition: an address is only known to work once somebody dialled it from outside. The machine that
asks listens where its agent would, and names a port and a secret; the peer dials the host from
which the question came, at that port, and says a digest of the secret there. What listens there
answers with another digest, so the peer learns nothing about anything else that listens there.

Invariants: a peer dials nothing but the host that asked, so nobody is used to scan others; it
answers a host, and all hosts together, only so often; what it writes is one line that nobody chose.
"reached" needs both: the peer's word, and that it was heard here.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID
from libp2p.utils import encode_delim
from nacl.utils import random

from p2pool.codec.text.multiaddr import host_and_port
from p2pool.drivers.net.host.address_groups import groups_of
from p2pool.drivers.net.transport.frames import (
    STREAM_ERRORS,
    FrameReader,
    close_stream,
    encode_frame,
)
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.errors import Malformed

PROTOCOL = "/p2pool/dial-back/1"
GREETING = b"p2pool dial-back 1\n"
SECRET_BYTES, PORT_BYTES, DIGEST_BYTES = 16, 2, 32
LINE_BYTES = len(GREETING) + DIGEST_BYTES
FRAME_MAX_BYTES = 64
REACHED, NOT_REACHED, NOT_NOW = b"\x00", b"\x01", b"\x02"
ALL = b"all"
LINE: bytes = encode_delim(MULTISELECT_PROTOCOL_ID.encode())
"""With what each side opens a connection of libp2p."""


def _digest(secret: bytes, whose: bytes) -> bytes:
    return hashlib.sha256(GREETING + whose + secret).digest()


@attrs.define
class DialBack:
    """The peer's side."""

    counters: Counter[str]
    _hosts: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.DIAL_BACKS_PER_HOST_PER_S,
            limits.DIAL_BACKS_PER_HOST_BURST,
            limits.PEERS_TRACKED_MAX,
        )
    )
    _all: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(limits.DIAL_BACKS_PER_S, limits.DIAL_BACKS_BURST, 1)
    )

    async def serve(self, stream: Any) -> None:
        """Answer one question."""
        try:
            with trio.fail_after(limits.DIAL_TIMEOUT_MS / 1000):
                asked = await FrameReader(stream, FRAME_MAX_BYTES).receive()
            answer = await self._answer(stream.get_remote_address(), asked or b"")
            with trio.fail_after(limits.STREAM_WRITE_TIMEOUT_MS / 1000):
                await stream.write(encode_frame(answer))
        except (*STREAM_ERRORS, Malformed):
            self.counters["dial_backs_broken"] += 1
        finally:
            await close_stream(stream)

    async def _answer(self, remote: tuple[str, int] | None, asked: bytes) -> bytes:
        secret, port = asked[:SECRET_BYTES], int.from_bytes(asked[SECRET_BYTES:], "big")
        if remote is None or len(asked) != SECRET_BYTES + PORT_BYTES or port == 0:
            return NOT_NOW
        now_ms = int(trio.current_time() * 1000)
        host = groups_of(remote[0]).narrow
        if not (self._hosts.admit(host, now_ms) and self._all.admit(ALL, now_ms)):
            self.counters["dial_backs_refused"] += 1
            return NOT_NOW
        self.counters["dial_backs"] += 1
        return REACHED if await _reaches(remote[0], port, secret) else NOT_REACHED


async def speaks_as_agent(host: str, port: int) -> bool:
    """Whether something at that port opens a connection as libp2p does. Who connects begins, with
    one line that nobody chose."""
    with trio.move_on_after(limits.DIAL_BACK_TIMEOUT_MS / 1000):
        try:
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(LINE)
                return await _exactly(stream, len(LINE)) == LINE
        except (OSError, trio.BrokenResourceError):
            return False
    return False


async def _reaches(host: str, port: int, secret: bytes) -> bool:
    """Whether whoever knows the secret listens there. Told before we disconnect a peer that says no
    hello."""
    with trio.move_on_after(limits.DIAL_BACK_TIMEOUT_MS / 1000):
        try:
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(GREETING + _digest(secret, b"peer"))
                return await _exactly(stream, DIGEST_BYTES) == _digest(secret, b"node")
        except (OSError, trio.BrokenResourceError):
            return False
    return False


@attrs.define
class Listening:
    """The side of the machine that asks: it listens, for as long as the question takes."""

    secret: bytes = attrs.field(factory=lambda: random(SECRET_BYTES), repr=False)
    heard: bool = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer a peer that knows the secret; nobody else gets a word."""
        async with stream:
            with trio.move_on_after(limits.DIAL_TIMEOUT_MS / 1000):
                try:
                    line = await _exactly(stream, LINE_BYTES)
                    if line == GREETING + _digest(self.secret, b"peer"):
                        self.heard = True
                        await stream.send_all(_digest(self.secret, b"node"))
                except trio.BrokenResourceError:
                    return


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    """So many bytes, or fewer at the end."""
    data = b""
    while len(data) < count:
        part = await stream.receive_some(count - len(data))
        if not part:
            break
        data += part
    return data


@asynccontextmanager
async def listening(addresses: tuple[str, ...]) -> AsyncIterator[Listening]:
    """Listen where an agent would. OSError: an address is taken, or not this machine's."""
    made = Listening()
    listeners: list[trio.SocketListener] = []
    async with AsyncExitStack() as stack:
        for _, host, port in filter(None, map(host_and_port, addresses)):
            for listener in await trio.open_tcp_listeners(port, host=host):
                listeners.append(await stack.enter_async_context(listener))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, made.serve, listeners)
            yield made
            nursery.cancel_scope.cancel()


async def ask(host: Any, peer_id: ID, here: Listening, port: int) -> bool | None:
    """Whether a connected peer reaches us at a port; None: it does not say, or cannot be
    believed."""
    try:
        with trio.fail_after(2 * limits.DIAL_TIMEOUT_MS / 1000):
            stream = await host.new_stream(peer_id, [PROTOCOL])
            await stream.write(encode_frame(here.secret + port.to_bytes(PORT_BYTES, "big")))
            told = await FrameReader(stream, FRAME_MAX_BYTES).receive()
    except (*STREAM_ERRORS, Malformed):
        return None
    if told == REACHED:
        return True if here.heard else None
    return False if told == NOT_REACHED else None
