"""Gossipsub among members alone, with a guard for every trap that we measured.

Streams. Each member writes on a stream of its own and reads one of the other's. The writer looks
after it: `keep_stream` opens it, announces our subscriptions on it, reads it to its end (nothing
else arrives on it, so a refusal shows without a write) and opens the next. A stream in the
library's list may still be dead. A peer's subscriptions, and its place in our meshes, came on its
stream and live exactly as long: the library forgets both when *ours* ends, and the peer, unaware of
that, would never repeat them. A member whose stream stays missing may take a dead one for alive (a
reset that was never written): then we reopen ours, and a new stream from a peer makes us reopen
ours too unless it is new itself; so both start over, once.

- Streams are opened to, and accepted from, peers with a member's standing only; an inbound stream
  that arrives before its peer's standing is decided waits for the decision.
- Message ids stay `from` + sequence number (so that js-libp2p and we name messages alike), but the
  counter starts at `time_ns`: after a restart no id is used again, however busy the node was.
- Inbound messages go straight to the sink; outbound ones wait in a queue of GOSSIP_PEER_QUEUE_MAX.
  The library's queues of 32, which drop the rest of any burst, are bypassed. One task writes each
  stream: the library replays past the queue, and two writers may interleave.
- Inbound messages are judged by `gossip_intake`, not by the library, which checks signatures before
  any bound. A verdict that is kept rests on size, form and signature alone (`check_gossip`), never
  on a roster. Between two messages that cost signatures, everybody else gets a turn.
- A peer's signed record is verified when it changes, not twice with every message.
- Frames are read through a buffer, and messages handled in the order of their stream.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from google.protobuf.message import DecodeError
from libp2p.peer.envelope import consume_envelope
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.utils import encode_varint_prefixed

from p2pool.drivers.net.gossip_intake import GossipIntake
from p2pool.drivers.net.mesh import PoolRouter
from p2pool.drivers.net.transport.frames import READ_BYTES, STREAM_ERRORS, FrameReader, reset_stream
from p2pool.drivers.net.transport.muxer import read_some
from p2pool.model.errors import Malformed
from p2pool.model.ids import PEER_KEY_BYTES, PeerKey
from p2pool.model.limits import (
    DIAL_TIMEOUT_MS,
    GOSSIP_PEER_QUEUE_MAX,
    GOSSIP_PER_TURN_MAX,
    STREAM_CHECK_MS,
    STREAM_REOPEN_MAX_MS,
    STREAM_REOPEN_MIN_MS,
    STREAM_YOUNG_MS,
)
from p2pool.model.messages.registry import Channel

logger = logging.getLogger(__name__)


REOPEN_GROWTH = 2
"""The factor by which each wait for a peer that refuses us exceeds the one before."""


@attrs.define(eq=False)
class _Outbound:
    """Our stream to a member; ends when `reading` is cancelled. `opened_s` is on trio's clock."""

    stream: Any
    queue: RpcQueue
    opened_s: float
    reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class PoolPubsub(Pubsub):  # type: ignore[misc]
    """The library's pubsub for members only."""

    def __init__(
        self,
        host: Any,
        *,
        topics: dict[str, Channel],
        is_member: Callable[[ID], bool],
        wait_member: Callable[[ID], Awaitable[bool]],
        intake: GossipIntake,
        deliver: Callable[[Channel, PeerKey, bytes], None],
        counters: Counter[str],
    ) -> None:
        """`wait_member` waits until a peer's standing is decided, for a bounded time."""
        router = PoolRouter(counters)
        super().__init__(host, router, strict_signing=True, allowed_topics=frozenset(topics))
        self.counter = time.time_ns()
        self.pool_router = router
        self._topics = topics
        self._is_member = is_member
        self._wait_member = wait_member
        self._intake = intake
        self._deliver = deliver
        self._counters = counters
        self._records: dict[ID, bytes] = {}
        self._inbound: dict[ID, trio.CancelScope] = {}
        self._outbound: dict[ID, _Outbound] = {}
        self._keepers: dict[ID, trio.CancelScope] = {}
        self._called: dict[ID, trio.Event] = {}

    async def push_msg(self, msg_forwarder: ID, msg: Any) -> None:
        """Take a message of our own, as the library does; others' come through `_take_message`."""
        assert msg_forwarder == self.my_id, "a message of another came past the intake"
        await super().push_msg(msg_forwarder, msg)

    def notify_subscriptions(self, publish_message: Any) -> None:
        """Nothing: what we say ourselves is not delivered."""

    async def _take_message(self, forwarder: ID, message: Any) -> bool:
        """Deliver and pass on what is new and valid; whether it cost the check of a signature."""
        intake, sender = self._intake, forwarder.to_bytes()
        if self._is_msg_seen(message) or not intake.may_check(sender, message):
            return False
        if not intake.is_signed(sender, message):
            return True
        # Signed by its origin: nobody else can make it seem seen.
        self._mark_msg_seen(message)
        if message.from_id != self.my_id.to_bytes() and intake.is_passed_on(message):
            origin = PeerKey(message.from_id[-PEER_KEY_BYTES:])
            self._deliver(self._topics[message.topicIDs[0]], origin, message.data)
            await self.router.publish(forwarder, message)
        return True

    # --- streams of others -----------------------------------------------------------------------

    async def stream_handler(self, stream: Any) -> None:
        """An inbound gossip stream: refused unless its peer is a member, read while it is one."""
        peer_id = stream.muxed_conn.peer_id
        if not await self._wait_member(peer_id):
            self._counters["gossip_streams_refused"] += 1
            await reset_stream(stream)
            return
        self._forget_inbound(peer_id)
        try:
            with trio.CancelScope() as scope:
                self._inbound[peer_id] = scope
                self._start_over(peer_id)
                await self.continuously_read_stream(stream)
        except (*STREAM_ERRORS, Malformed, DecodeError):
            self._counters["gossip_streams_broken"] += 1
        finally:
            if self._inbound.get(peer_id) is scope:
                self._forget_inbound(peer_id)
            await reset_stream(stream)

    def _forget_inbound(self, peer_id: ID) -> None:
        """End a peer's stream, and forget everything that came on it."""
        scope = self._inbound.pop(peer_id, None)
        if scope is not None:
            scope.cancel()
        self._records.pop(peer_id, None)
        self._forget_all_subscriptions(peer_id)
        for peers in self.pool_router.mesh.values():
            peers.discard(peer_id)

    def _start_over(self, peer_id: ID) -> None:
        """A peer opened its stream: it takes us for a member, and may have lost ours."""
        called = self._called.get(peer_id)
        if called is not None:
            called.set()
        outbound = self._outbound.get(peer_id)
        if (
            outbound is not None
            and trio.current_time() - outbound.opened_s > STREAM_YOUNG_MS / 1000
        ):
            self._counters["gossip_streams_started_over"] += 1
            outbound.reading.cancel()

    async def continuously_read_stream(self, stream: Any) -> None:
        """Read and handle RPC frames until the stream ends."""
        peer_id = stream.muxed_conn.peer_id
        reader = FrameReader(stream, self.max_inbound_rpc_size)
        while self.manager.is_running:
            incoming = await reader.receive()
            if incoming is None:
                return
            rpc = rpc_pb2.RPC()
            rpc.ParseFromString(incoming)
            if not self._check_record(rpc, peer_id):
                self._counters["gossip_refused_record"] += 1
                continue
            await self._take_rpc(peer_id, rpc)

    def _check_record(self, rpc: Any, peer_id: ID) -> bool:
        """Verify a sender's record unless it is the one verified last; the router need not.

        It does not go into the library's peer store: addresses come with hellos, and the store
        refuses a record older than its own, and with it all gossip of a peer whose clock was set
        back.
        """
        if rpc.HasField("senderRecord"):
            record = bytes(rpc.senderRecord)
            if self._records.get(peer_id) != record:
                if not _is_record_of(record, peer_id):
                    return False
                self._records[peer_id] = record
            rpc.ClearField("senderRecord")
        return True

    async def _take_rpc(self, peer_id: ID, rpc: Any) -> None:
        """Messages, subscriptions and control of one RPC, in this order as the library does."""
        sender = peer_id.to_bytes()
        for count, message in enumerate(rpc.publish, 1):
            if not self._intake.is_heard(sender):
                break
            if await self._take_message(peer_id, message) or count % GOSSIP_PER_TURN_MAX == 0:
                # One RPC has room for thousands.
                await trio.lowlevel.checkpoint()
        if rpc.subscriptions and self.pool_router.admits(peer_id, len(rpc.subscriptions)):
            for subscription in rpc.subscriptions:
                self.handle_subscription(peer_id, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer_id)

    # --- our streams -----------------------------------------------------------------------------

    async def keep_stream(self, peer_id: ID) -> None:
        """Make sure that a peer has a live stream of ours for as long as it is a member.

        A peer that refuses us is retried after STREAM_REOPEN_MIN_MS, then after twice that, up to
        STREAM_REOPEN_MAX_MS. It is retried at once when it opens its own stream, but only once in
        that time: else a peer that resets our stream and opens its own each time could make us open
        one after another. Of two keepers the later one stays.
        """
        self._end_keeper(peer_id)
        with trio.CancelScope() as scope:
            self._keepers[peer_id] = scope
            try:
                await self._keep_stream(peer_id)
            finally:
                if self._keepers.get(peer_id) is scope:
                    del self._keepers[peer_id]
                    self._called.pop(peer_id, None)

    async def _keep_stream(self, peer_id: ID) -> None:
        """The loop of `keep_stream`."""
        shortest_s, longest_s = STREAM_REOPEN_MIN_MS / 1000, STREAM_REOPEN_MAX_MS / 1000
        wait_s = shortest_s
        heed_from_s = -math.inf
        while self._is_member(peer_id):
            self._called[peer_id] = called = trio.Event()
            began_s = trio.current_time()
            try:
                await self._hold_stream(peer_id)
            except STREAM_ERRORS:
                self._counters["gossip_opens_failed"] += 1
            if trio.current_time() - began_s > longest_s:
                wait_s = shortest_s
            await trio.sleep(shortest_s)
            with trio.move_on_after(wait_s - shortest_s):
                await trio.sleep_until(heed_from_s)
                await called.wait()
                heed_from_s = trio.current_time() + longest_s
            wait_s = min(REOPEN_GROWTH * wait_s, longest_s)

    async def _hold_stream(self, peer_id: ID) -> None:
        """Open one stream and hold it to its end. STREAM_ERRORS: it could not be opened."""
        stream = outbound = None
        try:
            with trio.fail_after(DIAL_TIMEOUT_MS / 1000):
                stream = await self.host.new_stream(peer_id, self.protocols)
                await stream.write(_encode(self.get_hello_packet()))
            outbound = _Outbound(
                stream, RpcQueue(max_size=GOSSIP_PEER_QUEUE_MAX), trio.current_time()
            )
            await self._register(peer_id, outbound)
            with outbound.reading:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._miss_inbound, peer_id, outbound)
                    await _read_to_end(stream)
                    nursery.cancel_scope.cancel()
            self._counters["gossip_streams_ended"] += 1
        finally:
            if outbound is not None:
                self._drop(peer_id, outbound)
            if stream is not None:
                await reset_stream(stream)

    async def _register(self, peer_id: ID, outbound: _Outbound) -> None:
        """Register a stream with the library, and send what was kept for its peer."""
        self.router.add_peer(peer_id, outbound.stream.get_protocol())
        self._outbound[peer_id] = outbound
        self.peers[peer_id], self.peer_queues[peer_id] = outbound.stream, outbound.queue
        self.manager.run_task(self._write_queue, outbound)
        await self.router.flush_pending_messages(peer_id)
        await self._send_recent_messages_to_new_peer(peer_id)

    def _drop(self, peer_id: ID, outbound: _Outbound) -> None:
        """Let the library forget a stream, unless it has a newer one to that peer."""
        outbound.queue.close()
        if self._outbound.get(peer_id) is not outbound:
            return
        del self._outbound[peer_id], self.peers[peer_id], self.peer_queues[peer_id]
        self._clear_pending_announce_retries_for_peer(peer_id)
        self._replayed_recent_topics.pop(peer_id, None)
        self.router.remove_peer(peer_id)

    async def _miss_inbound(self, peer_id: ID, outbound: _Outbound) -> None:
        """A peer that reads our stream opens its own; if it does not, ours is reopened."""
        looks = 0
        while looks < 2:
            await trio.sleep(STREAM_CHECK_MS / 1000)
            looks = 0 if peer_id in self._inbound else looks + 1
        self._counters["gossip_streams_missed"] += 1
        outbound.reading.cancel()

    async def _write_queue(self, outbound: _Outbound) -> None:
        """Write to one peer until its queue is closed, or its stream fails."""
        try:
            while (rpc := await outbound.queue.pop()) is not None:
                if rpc.ByteSize():
                    # An empty RPC says nothing, and an empty frame would end the stream.
                    await outbound.stream.write(_encode(rpc))
        except Exception as error:
            # A task of the library's service, which any exception would end; only Cancelled may.
            if not isinstance(error, STREAM_ERRORS):
                logger.exception("Writing a gossip stream raised; the stream is opened anew.")
            self._counters["gossip_writes_failed"] += 1
        outbound.reading.cancel()

    async def write_msg(self, stream: Any, rpc_msg: Any) -> bool:
        """Queue what the library would write past the queue; False if it is not sent."""
        outbound = self._outbound.get(stream.muxed_conn.peer_id)
        if outbound is None or outbound.stream is not stream:
            return False
        return bool(outbound.queue.push(rpc_msg))

    def expel(self, peer_id: ID) -> None:
        """The peer is no longer a member, or gone: end its gossip both ways, at once."""
        outbound = self._outbound.get(peer_id)
        if outbound is not None:
            self._drop(peer_id, outbound)
        self._end_keeper(peer_id)
        self._called.pop(peer_id, None)
        self._forget_inbound(peer_id)

    def _end_keeper(self, peer_id: ID) -> None:
        """Cancel the task that keeps a stream; that task resets the stream itself."""
        keeper = self._keepers.pop(peer_id, None)
        if keeper is not None:
            keeper.cancel()

    # --- what the library would do by itself -----------------------------------------------------

    async def _handle_new_peer_with_retry(self, peer_id: ID, timeout: float | None = None) -> None:
        """Does nothing: a new peer is not a member yet, and `keep_stream` opens the streams."""

    def _handle_dead_peer(self, peer_id: ID) -> None:
        """Does nothing: the task that reads a stream sees its end."""


def _is_record_of(record: bytes, peer_id: ID) -> bool:
    """Whether a peer record is about a peer, and signed by it."""
    try:
        envelope, said = consume_envelope(record, "libp2p-peer-record")
        return bool(said.peer_id == peer_id == ID.from_pubkey(envelope.public_key))
    except (*STREAM_ERRORS, DecodeError):
        return False


def _encode(rpc: Any) -> bytes:
    """An RPC with its length prefix."""
    encoded: bytes = encode_varint_prefixed(rpc.SerializeToString())
    return encoded


async def _read_to_end(stream: Any) -> None:
    """Wait until our stream is closed or reset; discard whatever the peer sends on it."""
    try:
        while await read_some(stream, READ_BYTES):
            pass
    except STREAM_ERRORS:
        return
