"""A node on a real network that is challenged: its frames over libp2p, its cards in a double."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from p2pool import __version__
from p2pool.drivers.net.events import FrameReceived, NetConfig
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.transport.frames import FrameStream
from p2pool.model.ids import STORE_ID_BYTES, PeerKey, PoolRef, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested, PeerKnown
from p2pool.model.messages.registry import Channel, Message
from p2pool.model.messages.verdicts import (
    EvidenceAnswered,
    EvidenceOffered,
    EvidencePart,
    VerdictAnswered,
    VerdictOffered,
)
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.states import Standing
from p2pool.validator.network.conversation import Conversation
from p2pool.validator.network.sealer import Sealer, wall_ms
from p2pool.wire.binding import check_binding, make_binding
from tests.validator.harness.talks import Double

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


@attrs.define
class NodeHost:
    """A node's agent, as far as a validator sees it. `introduces`: other nodes that it names to
    whoever asks for them; `mute`: it names none, and says nothing; `began`: set when a challenge
    has got its first question."""

    double: Double
    pool: PoolRef
    introduces: Sequence["NodeHost"] = ()
    mute: bool = False
    offered: list[VerdictOffered] = attrs.field(factory=list)
    documents: list[bytes] = attrs.field(factory=list)
    guests: list[PeerBinding] = attrs.field(factory=list)
    asked: trio.Event = attrs.field(factory=trio.Event)
    binding: PeerBinding = attrs.field(init=False)
    sealer: Sealer = attrs.field(init=False)
    network: Network = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        node = self.double.node
        self.binding = make_binding(self.pool, node.account, node.key, wall_ms() // 1000 - 60)
        self.sealer = Sealer(self.pool, node.node_id, node.key)
        self.network = Network(
            NetConfig(seed=bytes(node.key), listen=LOOPBACK, gossip=False),
            hello_bytes=self._hello,
            check_gossip=lambda channel, data: False,
            knows_origin=lambda peer_key: False,
            accept_challenges=self._accept,
        )

    def address(self) -> str:
        """Where it is dialled."""
        return self.network.addresses()[0]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["NodeHost"]:
        """On the network within a block."""
        async with self.network.running(), trio.open_nursery() as nursery:
            nursery.start_soon(self._read_events)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    def _hello(self) -> bytes:
        store_id = StoreId(self.binding.peer_key[:STORE_ID_BYTES])
        hello = Hello(__version__, self.binding, store_id, self.network.addresses())
        return self.sealer.seal(hello)[1]

    async def _accept(self, peer_key: PeerKey, stream: FrameStream) -> None:
        async with Conversation(self.sealer, peer_key, stream) as talk:
            first = await talk.hear(60_000)
            if isinstance(first, EvidenceOffered):
                await self._keep(talk, first)
            else:
                await self.double.serve(_Watched(talk, self.asked, [first]))

    async def _keep(self, talk: Conversation, offered: EvidenceOffered) -> None:
        """Take a document of evidence."""
        data, last = b"", False
        await talk.say(EvidenceAnswered(True, offered.size_bytes, ""))
        while not last:
            part = await talk.hear(60_000)
            assert isinstance(part, EvidencePart)
            data, last = data + part.data, part.last
        assert len(data) == offered.size_bytes
        self.documents.append(data)
        await talk.say(EvidenceAnswered(True, len(data), ""))

    async def _read_events(self) -> None:
        async for event in self.network.events:
            if not isinstance(event, FrameReceived):
                continue
            message = self.sealer.opened(event.channel, event.peer_key, event.data).message
            match message:
                case Hello():
                    assert message.binding is not None
                    check_binding(message.binding, self.pool, event.peer_key, wall_ms() // 1000)
                    self.guests.append(message.binding)
                    self.network.set_standing(event.peer_key, Standing.GUEST)
                case BindingsRequested() if self.mute:
                    continue
                case BindingsRequested():
                    known = [
                        PeerKnown(one.binding, one.network.addresses())
                        for one in self.introduces
                        if one.binding.node_id in message.node_ids
                    ]
                    answer = BindingsAnswered(message.request, tuple(known))
                    self._send(event.peer_key, answer)
                case VerdictOffered():
                    self.offered.append(message)
                    self._send(event.peer_key, VerdictAnswered(message.request, True, ""))

    def _send(self, peer_key: PeerKey, message: Message) -> None:
        channel, data = self.sealer.seal(message)
        assert channel is Channel.QUERY
        self.network.send(peer_key, channel, data)


@attrs.frozen
class _Watched:
    """A conversation that tells when its second frame, the challenge, has come."""

    talk: Conversation
    told: trio.Event
    waiting: list[Message]
    heard: list[Message] = attrs.field(factory=list)

    async def say(self, message: Message) -> None:
        """Send a frame."""
        await self.talk.say(message)

    async def hear(self, deadline_ms: int) -> Message:
        """The next frame."""
        message = self.waiting.pop() if self.waiting else await self.talk.hear(deadline_ms)
        self.heard.append(message)
        if len(self.heard) == 2:
            self.told.set()
        return message


async def until(met: Callable[[], Any], wait_s: float = 900.0) -> None:
    """Until `met` is true, or awaits to be; `TooSlowError` if that does not come, on however busy
    a machine."""
    with trio.fail_after(wait_s):
        while True:
            found = met()
            if hasattr(found, "__await__"):
                found = await found
            if found:
                return
            await trio.sleep(0.05)
