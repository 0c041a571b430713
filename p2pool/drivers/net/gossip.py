"""Gossipsub among members alone, with a guard for every trap that was measured.

- Streams are opened to, and accepted from, peers with a member's standing only; an inbound one that
  comes before its peer's standing is decided waits for that.
- Message ids stay `from` + sequence number (so that js-libp2p and we name messages alike), but the
  counter starts at `time_ns`: after a restart no id is used again, however busy the node was.
- What arrives goes straight to the sink, what leaves waits in a queue of GOSSIP_PEER_QUEUE_MAX; the
  library's queues of 32, which drop the rest of any burst, are not in the way.
- The verdict of a validator is kept for minutes and lowers the forwarder's score, so it rests on
  size, form and signature alone (`check_gossip`), never on a roster; and on a rate per origin.
- A peer's signed record is verified when it changes, not twice with every message.
- Frames are read through a buffer, and messages handled in the order of their stream.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from google.protobuf.message import DecodeError
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.pubsub.utils import maybe_consume_signed_record

from p2pool.drivers.net.frames import STREAM_ERRORS, FrameReader, reset_stream
from p2pool.model.errors import Malformed
from p2pool.model.limits import (
    GOSSIP_MESSAGE_MAX_BYTES,
    GOSSIP_PEER_QUEUE_MAX,
    GOSSIP_PER_FORWARDER_PER_S,
    GOSSIP_PER_ORIGIN_BURST,
    GOSSIP_PER_ORIGIN_PER_S,
    MEMBERS_MAX,
)
from p2pool.model.messages import Channel
from p2pool.wire.rate import Rate

DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12
HEARTBEAT_INTERVAL_S = 1
UNSUBSCRIBE_BACK_OFF_S = 1
KEEP_INTERVAL_S = 1.0


class PoolPubsub(Pubsub):  # type: ignore[misc]
    """The library's pubsub for members only."""

    def __init__(
        self,
        host: Any,
        *,
        topics: dict[str, Channel],
        is_member: Callable[[ID], bool],
        wait_member: Callable[[ID], Awaitable[bool]],
        check_gossip: Callable[[Channel, bytes], bool],
        deliver: Callable[[Channel, bytes], None],
        counters: Counter[str],
    ) -> None:
        """`wait_member` waits until a peer's standing is decided, for a bounded time."""
        router = GossipSub(
            protocols=[PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_INTERVAL_S,
            unsubscribe_back_off=UNSUBSCRIBE_BACK_OFF_S,
            max_messages_per_topic_per_second=float(GOSSIP_PER_FORWARDER_PER_S),
            do_px=False,
        )
        super().__init__(host, router, strict_signing=True, allowed_topics=frozenset(topics))
        self.counter = time.time_ns()
        self.pool_router = router
        self._topics = topics
        self._is_member = is_member
        self._wait_member = wait_member
        self._check_gossip = check_gossip
        self._deliver = deliver
        self._counters = counters
        self._origins = Rate(GOSSIP_PER_ORIGIN_PER_S, GOSSIP_PER_ORIGIN_BURST, MEMBERS_MAX)
        self._records: dict[ID, bytes] = {}
        self._inbound: defaultdict[ID, set[trio.CancelScope]] = defaultdict(set)
        self._opening: defaultdict[ID, trio.Lock] = defaultdict(trio.Lock)
        for topic in topics:
            self.set_topic_validator(topic, self._validate, False)

    def _validate(self, forwarder: ID, message: Any) -> bool:
        """Whether a message may be passed on; asked after its signature was verified."""
        if len(message.topicIDs) != 1 or len(message.data) > GOSSIP_MESSAGE_MAX_BYTES:
            self._counters["gossip_refused_form"] += 1
            return False
        if forwarder == self.my_id:
            return True
        if not self._origins.admit(message.from_id, int(trio.current_time() * 1000)):
            self._counters["gossip_refused_rate"] += 1
            return False
        if not self._check_gossip(self._topics[message.topicIDs[0]], message.data):
            self._counters["gossip_refused_check"] += 1
            return False
        return True

    def notify_subscriptions(self, publish_message: Any) -> None:
        """Deliver a new and valid message, our own excepted."""
        channel = self._topics.get(publish_message.topicIDs[0])
        if channel is not None and publish_message.from_id != self.my_id.to_bytes():
            self._deliver(channel, publish_message.data)

    async def stream_handler(self, stream: Any) -> None:
        """An inbound gossip stream: refused unless its peer is a member, read while it is one."""
        peer_id = stream.muxed_conn.peer_id
        if not await self._wait_member(peer_id):
            self._counters["gossip_streams_refused"] += 1
            await reset_stream(stream)
            return
        with trio.CancelScope() as scope:
            self._inbound[peer_id].add(scope)
            try:
                await self.continuously_read_stream(stream)
            except (*STREAM_ERRORS, Malformed, DecodeError):
                self._counters["gossip_streams_broken"] += 1
                await reset_stream(stream)
                if len(self._inbound[peer_id]) == 1:
                    await self._start_over(peer_id)
            finally:
                self._inbound[peer_id].discard(scope)
                if not self._inbound[peer_id]:
                    del self._inbound[peer_id]
        if scope.cancelled_caught:
            await reset_stream(stream)

    async def _start_over(self, peer_id: ID) -> None:
        """The one stream from a peer broke: drop ours too; both sides open theirs anew."""
        outbound = self.peers.get(peer_id)
        self._handle_dead_peer(peer_id)
        if outbound is not None:
            await reset_stream(outbound)

    async def handle_sending_messages(self, peer_id: ID, stream: Any, queue: Any) -> None:
        """Send to one peer, from a queue that holds more than the library's 32."""
        if self.peer_queues.get(peer_id) is not queue:
            return
        larger = RpcQueue(max_size=GOSSIP_PEER_QUEUE_MAX)
        self.peer_queues[peer_id] = larger
        while len(queue):
            larger.push(await queue.pop())
        await super().handle_sending_messages(peer_id, stream, larger)

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
        """Verify a sender's record unless it is the one verified last; the router need not."""
        if rpc.HasField("senderRecord"):
            record = bytes(rpc.senderRecord)
            if self._records.get(peer_id) != record:
                if not maybe_consume_signed_record(rpc, self.host, peer_id):
                    return False
                self._records[peer_id] = record
            rpc.ClearField("senderRecord")
        return True

    async def _take_rpc(self, peer_id: ID, rpc: Any) -> None:
        """Messages, subscriptions and control of one RPC, in this order as the library does."""
        for message in rpc.publish:
            if self._is_subscribed_to_msg(message):
                await self.push_msg(peer_id, message)
        if len(rpc.subscriptions) <= self.max_subscriptions_per_rpc:
            for subscription in rpc.subscriptions:
                self.handle_subscription(peer_id, subscription)
        if rpc.HasField("control"):
            await self.router.handle_rpc(rpc, peer_id)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        """Open our stream to a member; one attempt at a time, and to nobody else."""
        async with self._opening[peer_id]:
            if self._is_member(peer_id):
                await super()._handle_new_peer(peer_id)

    async def keep_stream(self, peer_id: ID) -> None:
        """See to it that a peer has a gossip stream for as long as it is a member."""
        while self._is_member(peer_id):
            if peer_id not in self.peers:
                try:
                    await self._handle_new_peer(peer_id)
                except STREAM_ERRORS:
                    self._counters["gossip_opens_failed"] += 1
            await trio.sleep(KEEP_INTERVAL_S)

    def expel(self, peer_id: ID) -> Any | None:
        """No member any more, or gone: end its gossip; the caller resets the stream returned."""
        for scope in self._inbound.pop(peer_id, set()):
            scope.cancel()
        stream = self.peers.get(peer_id)
        self._handle_dead_peer(peer_id)
        self._records.pop(peer_id, None)
        self._opening.pop(peer_id, None)
        return stream
