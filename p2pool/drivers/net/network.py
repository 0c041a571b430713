"""The network as the agent sees it: peers come and go, frames and gossip go in and come out.

One task of the agent reads `events`, a bounded queue, and calls the synchronous methods, none of
which blocks. Invariants: a connection is reported before anything from it, and that report is never
dropped for lack of room, while frames and gossip are (a part of the queue is reserved). Until
`set_standing` a peer can only say hello; within HELLO_TIMEOUT_MS it is judged or disconnected.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.rcmgr import Direction

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.net.dedicated_streams import DedicatedStreams, StreamAcceptor
from p2pool.drivers.net.event_queue import EventQueue
from p2pool.drivers.net.events import (
    NetConfig,
    NetEvent,
    PeerConnected,
    PeerDisconnected,
)
from p2pool.drivers.net.gossip_intake import GossipIntake
from p2pool.drivers.net.host.host import DEFAULT_MUXER, build_host
from p2pool.drivers.net.host.lifecycle import HostLifecycle
from p2pool.drivers.net.host.open_files import raise_open_files, say_accept_failures_seldom
from p2pool.drivers.net.patience import wait_awake
from p2pool.drivers.net.peer_link import FRAME_CHANNELS, PROTOCOLS, SENDABLE, PeerLink
from p2pool.drivers.net.peers.addresses import (
    announced,
    check_listen_addresses,
    dialable_of,
    expand_wildcards,
    parse_full_address,
    peer_key_of,
)
from p2pool.drivers.net.peers.dialer import Dialler
from p2pool.drivers.net.peers.peer_book import PeerBook
from p2pool.drivers.net.peers.ranges import Neighbourhood
from p2pool.drivers.net.pubsub import PoolPubsub
from p2pool.drivers.net.reachability import dial_back
from p2pool.drivers.net.transport.frames import (
    STREAM_ERRORS,
    FrameStream,
    encode_frame,
    reset_stream,
)
from p2pool.model.errors import NotFound
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    DIAL_TIMEOUT_MS,
    GOSSIP_MESSAGE_MAX_BYTES,
    GOSSIP_QUEUE_MAX,
    HELLO_TIMEOUT_MS,
    HERE_KEPT_MS,
    SHUTDOWN_DEADLINE_MS,
)
from p2pool.model.messages.registry import DEDICATED_CHANNELS, Channel
from p2pool.model.states import Standing

log = get_logger(__name__)

MUTE_PEERS = 2
"""So many hellos that did not come, while none did, are worth a line."""


class Network:
    """One libp2p host with its peers. Create it once, run it once."""

    def __init__(
        self,
        config: NetConfig,
        *,
        hello_bytes: Callable[[], bytes],
        check_gossip: Callable[[Channel, bytes], bool],
        knows_origin: Callable[[PeerKey], bool],
        accept_logs: StreamAcceptor | None = None,
        accept_challenges: StreamAcceptor | None = None,
        muxer: str = DEFAULT_MUXER,
    ) -> None:
        """Opens nothing yet. Misconfigured: a bootstrap or announced address that is none.

        `hello_bytes` returns the sealed hello for each connection; `check_gossip` decides from
        size, form and signature alone whether a message may be passed on; `knows_origin` whether a
        peer key is a member's; `accept_logs` runs for each inbound log stream of a member, and
        `accept_challenges` for each of anybody who is not refused, in a task of its own, and may
        take as long as it likes.
        """
        self.counters: Counter[str] = Counter()
        self._config = config
        self._hello_bytes = hello_bytes
        self._check_gossip = check_gossip
        self._knows_origin = knows_origin
        self._host = build_host(config.seed, self.counters, muxer, members=config.gossip)
        key = peer_key_of(self._host.get_id())
        assert key is not None
        self.peer_key: PeerKey = key
        self._announced = announced(config.announce, key)
        self._queue = EventQueue(self.counters)
        self.events: AsyncIterator[NetEvent] = self._queue
        self._publish_send, self._publish_receive = trio.open_memory_channel[tuple[str, bytes]](
            GOSSIP_QUEUE_MAX
        )
        self._links: dict[PeerKey, PeerLink] = {}
        self._mute_said = False
        self._nursery: trio.Nursery | None = None
        self._book = PeerBook(key, random.Random(config.random_seed))
        self._near = Neighbourhood(self._here, self._hosts, self._book.is_bootstrap)
        self._dialler = Dialler(
            self._host, self._book, self.counters, lambda: len(self._links), self._near.may_dial
        )
        for text in config.bootstrap:
            known = parse_full_address(text)
            self._book.learn(known.peer_key, known.addresses, bootstrap=True)
        for known in config.peers:
            self.learn(known.peer_key, known.addresses)
        self._here_now: tuple[str, ...] = ()
        self._here_at: int | None = None
        self._topic_of = {
            Channel.BEAT: config.beat_topic,
            Channel.ANNOUNCE: config.announce_topic,
        }
        handlers = {channel: self._frame_handler(channel) for channel in FRAME_CHANNELS}
        dedicated = DedicatedStreams(
            {Channel.LOGS: accept_logs, Channel.CHALLENGE: accept_challenges},
            lambda stream: self._link(stream.muxed_conn.peer_id),
            self.counters,
        )
        self._service = HostLifecycle(
            self._host,
            self.counters,
            opened=self._opened,
            ended=self._unlink,
            handlers={PROTOCOLS[channel]: handler for channel, handler in handlers.items()}
            | dedicated.handlers()
            | {dial_back.PROTOCOL: dial_back.DialBack(self.counters).serve},
            make_pubsub=self._make_pubsub if config.gossip else None,
        )

    # --- what the agent calls --------------------------------------------------------------------

    def addresses(self) -> tuple[str, ...]:
        """Where others can dial us, with `/p2p/<peer id>`: what is announced, else where we listen,
        with real ports; empty before running."""
        if self._announced:
            return self._announced
        raw = tuple(str(address) for address in self._host.get_transport_addrs())
        return tuple(f"{text}/p2p/{self._host.get_id()}" for text in expand_wildcards(raw))

    def _here(self) -> tuple[str, ...]:
        """Where others may dial us, or this machine listens, as the system said a moment ago. Of
        one that listens nowhere, as a guest need not: where its operator sent it, and it came."""
        if not (self._announced or self._config.listen):
            return self._given_ends()
        now_ms = self._dialler.now_ms()
        if self._here_at is None or now_ms - self._here_at >= HERE_KEPT_MS:
            raw = tuple(str(address) for address in self._host.get_transport_addrs())
            self._here_now, self._here_at = (*self._announced, *expand_wildcards(raw)), now_ms
        return self._here_now

    def _connected_at(self, link: PeerLink) -> tuple[str, ...]:
        """The hosts at the other ends of the connections to a peer."""
        found = self._host.get_network().get_connections(link.peer_id)
        ends = (one.muxed_conn.get_remote_address() for one in found)
        return tuple(end[0] for end in ends if end is not None)

    def _hosts(self) -> tuple[str, ...]:
        """The hosts of all connections."""
        return tuple(host for link in self._links.values() for host in self._connected_at(link))

    def _given_ends(self) -> tuple[str, ...]:
        """Where the peers are that the operator gave, and that are reached."""
        given = (link for key, link in self._links.items() if self._book.is_bootstrap(key))
        hosts = (host.partition("%")[0] for link in given for host in self._connected_at(link))
        return tuple(f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/1" for host in hosts)

    def hosts_of(self, peer_key: PeerKey) -> tuple[str, ...]:
        """The hosts from or to which a peer is connected; none if it is not."""
        link = self._links.get(peer_key)
        return () if link is None else self._connected_at(link)

    def connected(self) -> tuple[PeerKey, ...]:
        """Connected peers in the order of their keys."""
        return tuple(sorted(self._links))

    def standing(self, peer_key: PeerKey) -> Standing | None:
        """The decision about a connected peer; None if it is undecided or not connected."""
        link = self._links.get(peer_key)
        return None if link is None else link.standing

    def set_standing(self, peer_key: PeerKey, standing: Standing) -> bool:
        """Decide what a connected peer may do; False if it is not connected (any longer)."""
        link = self._links.get(peer_key)
        if link is None:
            return False
        before = link.standing
        link.set_standing(standing)
        self._queue.set_member(peer_key, standing is Standing.MEMBER)
        self._host.get_network().door.judged(link.peer_id, standing)
        if standing is Standing.REFUSED:
            self.counters["peers_refused"] += 1
            self._book.refused(peer_key, self._dialler.now_ms())
            link.spawn(self._disconnect, link)
        else:
            self._book.judged(peer_key)
            self._mute_said = False
        if self._service.pubsub is not None and standing is not before:
            if standing is Standing.MEMBER:
                link.spawn(self._keep_gossip, link)
            elif before is Standing.MEMBER:
                self._service.pubsub.expel(link.peer_id)
        return True

    def send(self, peer_key: PeerKey, channel: Channel, frame: bytes) -> bool:
        """Queue a frame for a peer; never blocks. False, and counted, if it was dropped.

        For RAFT, WORK and QUERY. Malformed: longer than STREAM_FRAME_MAX_BYTES. A known peer that
        is not connected is dialled, whatever the number of connections.
        """
        assert channel in SENDABLE, channel
        encoded = encode_frame(frame)
        link = self._links.get(peer_key)
        if link is None:
            self.counters[f"send_dropped_unconnected_{channel.value}"] += 1
            self._book.want(peer_key)
            self._dialler.wake()
            return False
        return link.send(channel, encoded)

    def publish(self, channel: Channel, data: bytes) -> bool:
        """Queue a gossip message (BEAT or ANNOUNCE); False, and counted, if it was dropped."""
        assert self._config.gossip, "a node without gossip publishes nothing"
        assert len(data) <= GOSSIP_MESSAGE_MAX_BYTES, len(data)
        try:
            self._publish_send.send_nowait((self._topic_of[channel], data))
        except trio.WouldBlock:
            self.counters[f"publish_dropped_{channel.value}"] += 1
            return False
        return True

    async def open_stream(
        self, peer_key: PeerKey, channel: Channel, deadline_ms: int = DIAL_TIMEOUT_MS
    ) -> FrameStream:
        """A dedicated stream of frames (LOGS, CHALLENGE) to a connected peer.

        NotFound: not connected. NotAllowed: its standing does not open the channel. Unavailable:
        could not be opened in time.
        """
        assert channel in DEDICATED_CHANNELS, channel
        link = self._links.get(peer_key)
        if link is None:
            self._book.want(peer_key)
            self._dialler.wake()
            raise NotFound("The peer is not connected.", hint="It is being dialled; try again.")
        return await link.open_frames(channel, deadline_ms)

    def greet(self, peer_key: PeerKey) -> None:
        """Send our hello again, because its binding was renewed."""
        link = self._links.get(peer_key)
        if link is not None:
            link.spawn(link.send_hello, self._hello_bytes)

    def learn(
        self, peer_key: PeerKey, addresses: tuple[str, ...], source: PeerKey | None = None
    ) -> bool:
        """Take a peer's own addresses (with or without `/p2p/...`), or what the peer `source` says
        they are; those that can never be dialled are dropped and counted. False: not kept."""
        by = source if source is not None else peer_key
        if (link := self._links.get(by)) is not None:
            self._near.named(peer_key, by, self._connected_at(link))
        kept = dialable_of(peer_key, addresses)
        self.counters["addresses_dropped"] += len(set(addresses)) - len(kept)
        if source is None:
            learnt = self._book.learn(peer_key, kept)
        else:
            learnt = self._book.hint(peer_key, kept, source, self._dialler.now_ms())
        if peer_key in self._links:
            self._book.connected(peer_key)
        self._dialler.wake()
        return learnt

    # --- life ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Network"]:
        """Run within a block. PortTaken, Misconfigured: a listen address."""
        check_listen_addresses(self._config.listen)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and serve until cancelled. PortTaken, Misconfigured: before it began."""
        listen = check_listen_addresses(self._config.listen)
        raise_open_files()
        say_accept_failures_seldom()
        async with trio.open_nursery() as outer:
            try:
                async with trio.open_nursery() as nursery:
                    # Links need the nursery, so it exists before the first connection is let in.
                    self._nursery = nursery
                    outer.start_soon(self._service.run, listen)
                    await self._service.ready.wait()
                    nursery.start_soon(self._publish_forever)
                    nursery.start_soon(self._dialler.run)
                    task_status.started()
                    await trio.sleep_forever()
            finally:
                self._nursery = None
                for link in self._links.values():
                    link.close()
                self._service.stop(SHUTDOWN_DEADLINE_MS)

    def _make_pubsub(self) -> PoolPubsub:
        """Pubsub for the two topics, wired to this network's peers and events."""
        topics = {topic: channel for channel, topic in self._topic_of.items()}
        return PoolPubsub(
            self._host,
            topics=topics,
            is_member=self._permits_gossip,
            wait_member=self._wait_member,
            intake=GossipIntake(
                topics,
                knows_origin=self._knows_origin,
                check_gossip=self._check_gossip,
                counters=self.counters,
            ),
            deliver=self._queue.put_gossip,
            counters=self.counters,
        )

    async def _publish_forever(self) -> None:
        """Hand queued messages to pubsub, one by one."""
        async for topic, data in self._publish_receive:
            if self._service.pubsub is None:
                return
            try:
                await self._service.pubsub.publish(topic, data)
                self.counters["published"] += 1
            except STREAM_ERRORS:
                self.counters["publish_failed"] += 1

    # --- connections -----------------------------------------------------------------------------

    def _opened(self, conn: Any) -> None:
        """A connection is up: link it, and say hello on it."""
        link = self._link(conn.muxed_conn.peer_id)
        if link is not None:
            link.spawn(link.send_hello, self._hello_bytes)

    def _link(self, peer_id: ID) -> PeerLink | None:
        """A connected peer's link, created and reported if it is new; None if not connected."""
        key = peer_key_of(peer_id)
        if key is None or self._nursery is None:
            return None
        link = self._links.get(key)
        if link is not None:
            return link
        connections = self._host.get_network().get_connections(peer_id)
        if not connections:
            return None
        link = self._links[key] = PeerLink(
            key,
            peer_id,
            host=self._host,
            nursery=self._nursery,
            counters=self.counters,
            gossip=self._config.gossip,
        )
        self._book.connected(key)
        addresses = tuple(str(a) for a in connections[0].get_transport_addresses())
        outbound = connections[0].direction is Direction.OUTBOUND
        self._queue.put(PeerConnected(key, addresses, outbound))
        link.spawn(self._watch_standing, link)
        return link

    async def _watch_standing(self, link: PeerLink) -> None:
        """Disconnect a peer without a decision in time: it sent no good hello."""
        await wait_awake(HELLO_TIMEOUT_MS)
        if link.standing is None:
            self.counters["hello_timeouts"] += 1
            self._book.silent(link.peer_key, self._dialler.now_ms())
            self._name_silence()
            await self._disconnect(link)

    def _name_silence(self) -> None:
        """Say once why peers may be mute: they answer on the connection that they have to a peer
        key, and another agent may hold that one."""
        met = any(link.standing is not None for link in self._links.values())
        if self._mute_said or met or self.counters["hello_timeouts"] < MUTE_PEERS:
            return
        self._mute_said = True
        log.warning(
            "peers take our connections and say no hello: another agent may be running with a copy"
            " of this data directory"
        )

    async def _disconnect(self, link: PeerLink) -> None:
        """Close all connections to a peer; `disconnected` follows."""
        try:
            await self._host.get_network().close_peer(link.peer_id)
        except STREAM_ERRORS:
            self.counters["close_failed"] += 1

    def _unlink(self, peer_id: ID) -> None:
        """A connection ended: if it was the last, the peer is gone."""
        key = peer_key_of(peer_id)
        link = None if key is None else self._links.get(key)
        if link is None or self._host.get_network().get_connections(peer_id):
            return
        del self._links[link.peer_key]
        link.close()
        if self._service.pubsub is not None:
            self._service.pubsub.expel(peer_id)
        self._book.disconnected(link.peer_key, self._dialler.now_ms())
        self._dialler.wake()
        self._queue.set_member(link.peer_key, False)
        self._host.get_network().door.gone(peer_id)
        self._queue.put(PeerDisconnected(link.peer_key))

    # --- streams and gossip ----------------------------------------------------------------------

    def _frame_handler(self, channel: Channel) -> Callable[[Any], Awaitable[None]]:
        """The handler of inbound streams of one channel."""

        async def handle(stream: Any) -> None:
            link = self._link(stream.muxed_conn.peer_id)
            if link is None:
                await reset_stream(stream)
                return
            await link.read_frames(channel, stream, self._queue.take_frame)

        return handle

    def _permits_gossip(self, peer_id: ID) -> bool:
        """Whether a peer is a connected member."""
        key = peer_key_of(peer_id)
        link = None if key is None else self._links.get(key)
        return link is not None and link.permits(Channel.BEAT)

    async def _wait_member(self, peer_id: ID) -> bool:
        """For an inbound gossip stream: wait for the decision about its peer."""
        link = self._link(peer_id)
        return link is not None and await link.wait_permitted(Channel.BEAT)

    async def _keep_gossip(self, link: PeerLink) -> None:
        """Our gossip stream to a member: opened after both hellos, kept while it is a member."""
        await link.wait_open()
        pubsub = self._service.pubsub
        if pubsub is not None and link.standing is Standing.MEMBER:
            await pubsub.keep_stream(link.peer_id)
