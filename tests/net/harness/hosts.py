"""Real hosts for the tests of the network, each with a task that reads its events."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from p2pool.drivers.net.events import (
    FrameReceived,
    GossipReceived,
    NetConfig,
    NetEvent,
    PeerConnected,
    PeerDisconnected,
)
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.pubsub import PoolPubsub
from p2pool.drivers.net.transport.frames import FrameStream
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing

TOPICS: dict[str, Any] = {
    "beat_topic": "/p2pool/1/31337/t/1/beat",
    "announce_topic": "/p2pool/1/31337/t/1/ann",
}
LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)

Judge = Callable[[bytes], Standing | None]


def everyone_is_a_member(hello: bytes) -> Standing | None:
    """The usual judge."""
    return Standing.MEMBER


class Node:
    """A network, what it told so far, and waits for what it is to tell."""

    def __init__(self, number: int, judge: Judge, **options: Any) -> None:
        """`number` makes the seed; `judge` decides the standing from a hello."""
        accept_logs = options.pop("accept_logs", None)
        accept_challenges = options.pop("accept_challenges", None)
        listen = options.pop("listen", LOOPBACK)
        knows_origin = options.pop("knows_origin", lambda peer_key: True)
        config = NetConfig(seed=bytes([number]) * 32, listen=listen, **TOPICS, **options)
        self.network = Network(
            config,
            hello_bytes=lambda: b"hello %d" % number,
            check_gossip=lambda channel, data: not data.startswith(b"bad"),
            knows_origin=knows_origin,
            accept_logs=accept_logs,
            accept_challenges=accept_challenges,
        )
        self.seen: list[NetEvent] = []
        self._judge = judge
        self._told = trio.Event()
        self._free = trio.Event()
        self._free.set()

    @property
    def key(self) -> PeerKey:
        """Its peer key."""
        return self.network.peer_key

    def hold(self) -> trio.Event:
        """Read no more than one event until the event that is returned is set."""
        self._free = trio.Event()
        return self._free

    async def read_events(self) -> None:
        """Keep all events; judge hellos."""
        async for event in self.network.events:
            await self._free.wait()
            self.seen.append(event)
            if isinstance(event, FrameReceived) and event.channel is Channel.HELLO:
                standing = self._judge(event.data)
                if standing is not None:
                    self.network.set_standing(event.peer_key, standing)
            self._told.set()
            self._told = trio.Event()

    async def wait(self, met: Callable[[], bool]) -> None:
        """Until `met`, asked after each event and now and then (counters tell no event)."""
        while not met():
            with trio.move_on_after(0.05):
                await self._told.wait()

    def frames(self, channel: Channel, sender: "Node") -> list[bytes]:
        """Frames of a channel from one node, in order."""
        return [
            event.data
            for event in self.seen
            if isinstance(event, FrameReceived)
            and event.channel is channel
            and event.peer_key == sender.key
        ]

    def gossip(self) -> list[bytes]:
        """Gossip in order of arrival."""
        return [event.data for event in self.seen if isinstance(event, GossipReceived)]

    def comings(self, other: "Node") -> list[str]:
        """How a peer came and went."""
        return [
            "+" if isinstance(event, PeerConnected) else "-"
            for event in self.seen
            if isinstance(event, PeerConnected | PeerDisconnected) and event.peer_key == other.key
        ]


@asynccontextmanager
async def running(
    number: int, judge: Judge = everyone_is_a_member, **options: Any
) -> AsyncIterator[Node]:
    """A node on a free port of loopback, its events read."""
    node = Node(number, judge, **options)
    async with node.network.running(), trio.open_nursery() as nursery:
        nursery.start_soon(node.read_events)
        try:
            yield node
        finally:
            nursery.cancel_scope.cancel()


def pubsub_of(node: Node) -> PoolPubsub:
    """The pubsub of a running node."""
    pubsub = node.network._service.pubsub
    assert pubsub is not None
    return pubsub


def listening_at(node: Node) -> tuple[str, ...]:
    """Where a node listens, as another start of it would be told."""
    return tuple(text.partition("/p2p/")[0] for text in node.network.addresses())


def introduce(one: Node, other: Node) -> None:
    """Tell one node where the other is."""
    one.network.learn(other.key, other.network.addresses())


async def wait_members(*nodes: Node) -> None:
    """Until all these nodes are connected, and members of each other."""
    for node in nodes:
        others = [other.key for other in nodes if other is not node]
        await node.wait(partial(_are_members, node, others))


def _are_members(node: Node, keys: list[PeerKey]) -> bool:
    """Whether a node takes all these for members."""
    return all(node.network.standing(key) is Standing.MEMBER for key in keys)


async def publish_until(sender: Node, receivers: list[Node], data: bytes) -> None:
    """Publish (mesh forming takes a moment) until all receivers have something that begins so."""
    attempt = 0
    while not all(any(got.startswith(data) for got in node.gossip()) for node in receivers):
        sender.network.publish(Channel.BEAT, data + b" %d" % attempt)
        attempt += 1
        await trio.sleep(0.2)


async def echo_lines(peer_key: PeerKey, stream: FrameStream) -> None:
    """A log acceptor: three lines behind the frame it got."""
    asked = await stream.receive_frame(2_000)
    for number in range(3):
        await stream.send_frame(b"%s line %d" % (asked, number))
