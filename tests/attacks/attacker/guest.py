"""A guest: a key that anybody can make, a binding that is true, and our hello."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import attrs
import trio
from eth_account import Account
from nacl.signing import SigningKey
from nacl.utils import random

from p2pool import __version__
from p2pool.agent.clock import read_clock
from p2pool.agent.wire.sealer import Sealer
from p2pool.codec.text.peer_id import peer_id
from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.transport.frames import decode_length, encode_frame
from p2pool.model.ids import PeerKey, PoolRef, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested, PeerKnown
from p2pool.model.messages.registry import Channel, Message
from p2pool.model.peer_binding import PeerBinding
from p2pool.wire.binding import make_binding
from p2pool.wire.envelope import open_sealed
from tests.attacks.attacker.line import At, Line, connected

STORE_BYTES = 16
ANSWER_MAX_BYTES = 2**20


@attrs.define(eq=False)
class Guest:
    """An identity: its keys, its binding and what it says where it lives."""

    pool: PoolRef
    addresses: tuple[str, ...] = ()
    seed: bytes = attrs.field(factory=lambda: random(32), repr=False)
    binding: PeerBinding | None = None
    sealer: Sealer = attrs.field(init=False)
    store_id: StoreId = attrs.field(factory=lambda: StoreId(random(STORE_BYTES)))

    def __attrs_post_init__(self) -> None:
        """Sign the binding: two signatures, the whole price of an identity."""
        key = SigningKey(self.seed)
        now = read_clock()
        if self.binding is None:
            account = Account.from_key(random(32))
            self.binding = make_binding(self.pool, account, key, now.wall_ms // 1000)
        self.sealer = Sealer(
            pool=self.pool,
            node_id=self.binding.node_id,
            peer_key=PeerKey(bytes(key.verify_key)),
            incarnation=now.wall_ms,
            signing_key=key,
        )

    @property
    def peer_key(self) -> PeerKey:
        """Its key."""
        return self.sealer.peer_key

    def at(self, address: str) -> str:
        """An address with its own peer behind it."""
        return f"{address}/p2p/{peer_id(self.peer_key)}"

    def sealed(self, message: Message) -> bytes:
        """A message in its envelope, as a frame."""
        return encode_frame(self.sealer.seal(message, read_clock())[1])

    def hello(self) -> bytes:
        """Its hello, as a frame."""
        return self.sealed(Hello(__version__, self.binding, self.store_id, self.addresses))

    async def greet(self, line: Line) -> None:
        """Say hello on a connection."""
        await line.open(PROTOCOLS[Channel.HELLO], self.hello())


@asynccontextmanager
async def visiting(at: At, guest: Guest, *, reads: bool = True) -> AsyncIterator[Line]:
    """A guest that is connected and has said hello; `reads`: what comes back is read."""
    async with connected(at, guest.seed, reads=reads) as line:
        await guest.greet(line)
        yield line


async def bindings(at: At, guest: Guest, seconds: float) -> tuple[PeerKnown, ...]:
    """What a newcomer is told of others. One of DEAD: it was turned away, or nothing came in
    time."""
    with trio.fail_after(seconds):
        async with visiting(at, guest) as line:
            await line.open(PROTOCOLS[Channel.QUERY], guest.sealed(BindingsRequested(1, ())))
            while True:
                for message in answers(line, guest.pool):
                    if isinstance(message, BindingsAnswered):
                        return message.peers
                if line.ended:
                    raise EOFError
                await line.told.wait()


def answers(line: Line, pool: PoolRef) -> Iterator[Message]:
    """The messages on the streams that the other side opened, as far as they are whole."""
    for said in line.said():
        data = bytearray(said)
        while data:
            found = decode_length(data)
            if found is None or len(data) < sum(found):
                break
            length, start = found
            sealed = bytes(data[start : start + length])
            del data[: start + length]
            yield open_sealed(sealed, pool, max_bytes=ANSWER_MAX_BYTES).message
