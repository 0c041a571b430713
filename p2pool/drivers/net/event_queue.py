"""The bounded queue from the network to the agent.

When the agent does not keep up, frames and gossip are dropped and counted: everything they carry is
sent again. Connects and disconnects are never dropped: a part of the queue is reserved for them.
"""

from collections import Counter

import trio

from p2pool.drivers.net.events import FrameReceived, GossipReceived, NetEvent
from p2pool.model.ids import PeerKey
from p2pool.model.limits import CONNECTIONS_MAX, INPUT_QUEUE_MAX
from p2pool.model.messages.registry import Channel

ROOM_FOR_TRAFFIC = INPUT_QUEUE_MAX - 2 * CONNECTIONS_MAX


class EventQueue:
    """Many producers put; one task receives from `events`."""

    def __init__(self, counters: Counter[str]) -> None:
        """Empty; counts into `counters`."""
        self._counters = counters
        self._send, self.events = trio.open_memory_channel[NetEvent](INPUT_QUEUE_MAX)

    def put(self, event: NetEvent) -> None:
        """Queue an event of any kind."""
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._counters["events_dropped_connection"] += 1

    def put_frame(self, peer_key: PeerKey, channel: Channel, data: bytes) -> None:
        """One frame arrived."""
        self.put_traffic(FrameReceived(peer_key, channel, data))

    def put_traffic(self, event: FrameReceived | GossipReceived) -> None:
        """Queue a frame or gossip while there is room for traffic."""
        kind = event.channel.value
        if self._send.statistics().current_buffer_used >= ROOM_FOR_TRAFFIC:
            self._counters[f"events_dropped_{kind}"] += 1
            return
        self._counters[f"received_{kind}"] += 1
        self.put(event)
