"""The bounded queue from the network to the agent, in which every peer has a line of its own.

Intuition: one peer can say more in a moment than the agent takes in a second. With one line for
all, that would keep everybody else's frames outside. So each peer has a line, and the agent takes
from each in turn: who floods waits for himself. Gossip waits in the line of the peer that signed
it, whoever handed it on.

Invariants: what comes from one peer keeps its order. A line has room for so many frames and bytes;
where all lines together have too many, the longest gives way. What does not fit is dropped and
counted: all that frames and gossip carry is sent again. Connects and disconnects are never dropped
for lack of room.
"""

from collections import Counter, OrderedDict, deque

import attrs
import trio

from p2pool.drivers.net.events import FrameReceived, GossipReceived, NetEvent
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    CONNECTIONS_MAX,
    INPUT_QUEUE_MAX,
    INPUT_QUEUE_MAX_BYTES,
    PEER_INPUTS_MAX,
    PEER_INPUTS_MAX_BYTES,
)
from p2pool.model.messages.registry import Channel

ROOM_FOR_TRAFFIC = INPUT_QUEUE_MAX - 2 * CONNECTIONS_MAX


@attrs.define(eq=False)
class _Line:
    """What waits from one peer; `traffic`: its frames and gossip messages, of so many bytes."""

    peer_key: PeerKey
    events: deque[NetEvent] = attrs.field(factory=deque)
    traffic: int = 0
    size_bytes: int = 0
    emptied: trio.Event = attrs.field(factory=trio.Event)


class EventQueue:
    """Many producers put; one task receives, by iterating."""

    def __init__(self, counters: Counter[str]) -> None:
        """Empty; counts into `counters`."""
        self._counters = counters
        self._lines: OrderedDict[PeerKey, _Line] = OrderedDict()
        self._traffic = 0
        self._bytes = 0
        self._waiting = 0
        self._filled = trio.Event()

    def __len__(self) -> int:
        """How many events wait."""
        return self._waiting

    def put(self, event: NetEvent) -> None:
        """Queue a connect or a disconnect."""
        assert not isinstance(event, GossipReceived)
        if self._waiting >= INPUT_QUEUE_MAX:
            self._counters["events_dropped_connection"] += 1
            return
        self._append(event.peer_key, event)

    def put_frame(self, peer_key: PeerKey, channel: Channel, data: bytes) -> None:
        """One frame arrived."""
        self._put_traffic(peer_key, FrameReceived(peer_key, channel, data))

    async def take_frame(
        self, peer_key: PeerKey, channel: Channel, data: bytes, ahead: int = PEER_INPUTS_MAX // 2
    ) -> None:
        """Queue a frame, and wait until its peer's line is no longer than `ahead`: meanwhile the
        stream is left unread, and nothing of an honest burst is lost."""
        self.put_frame(peer_key, channel, data)
        while (line := self._lines.get(peer_key)) and line.traffic > ahead:
            await line.emptied.wait()

    def put_gossip(self, channel: Channel, origin: PeerKey, data: bytes) -> None:
        """One gossip message arrived that `origin` signed."""
        self._put_traffic(origin, GossipReceived(channel, data))

    def _put_traffic(self, peer_key: PeerKey, event: FrameReceived | GossipReceived) -> None:
        """Queue a frame or gossip while its line has room, and all lines have it or can make it."""
        kind, size = event.channel.value, len(event.data)
        line = self._lines.get(peer_key) or _Line(peer_key)
        full = line.traffic >= PEER_INPUTS_MAX or line.size_bytes + size > PEER_INPUTS_MAX_BYTES
        if full or not self._make_room(line, size):
            self._counters[f"events_dropped_{kind}"] += 1
            return
        self._counters[f"received_{kind}"] += 1
        self._append(peer_key, event)

    def _make_room(self, line: _Line, size: int) -> bool:
        """Whether one more fits in, after longer lines gave way."""
        while self._traffic >= ROOM_FOR_TRAFFIC:
            longest = max(self._lines.values(), key=lambda one: one.traffic)
            if longest.traffic <= line.traffic:
                return False
            self._give_way(longest)
        while self._bytes + size > INPUT_QUEUE_MAX_BYTES:
            largest = max(self._lines.values(), key=lambda one: one.size_bytes)
            if largest.size_bytes <= line.size_bytes + size:
                return False
            self._give_way(largest)
        return True

    def _give_way(self, line: _Line) -> None:
        """Drop the newest frame or gossip message of a line."""
        for place in range(len(line.events) - 1, -1, -1):
            event = line.events[place]
            if isinstance(event, FrameReceived | GossipReceived):
                del line.events[place]
                self._count(line, event, -1)
                self._counters[f"events_dropped_{event.channel.value}"] += 1
                if not line.events:
                    del self._lines[line.peer_key]
                return
        raise AssertionError("a line without traffic gives way")

    def _append(self, peer_key: PeerKey, event: NetEvent) -> None:
        line = self._lines.setdefault(peer_key, _Line(peer_key))
        line.events.append(event)
        self._count(line, event, 1)
        self._filled.set()

    def _count(self, line: _Line, event: NetEvent, sign: int) -> None:
        self._waiting += sign
        if isinstance(event, FrameReceived | GossipReceived):
            size = sign * len(event.data)
            line.traffic, line.size_bytes = line.traffic + sign, line.size_bytes + size
            self._traffic, self._bytes = self._traffic + sign, self._bytes + size
        if line.traffic <= PEER_INPUTS_MAX // 2 and line.emptied.statistics().tasks_waiting:
            line.emptied.set()
            line.emptied = trio.Event()

    def __aiter__(self) -> "EventQueue":
        """Receive without end."""
        return self

    async def __anext__(self) -> NetEvent:
        """The next event of the peer whose turn it is."""
        await trio.lowlevel.checkpoint()
        while not self._lines:
            self._filled = trio.Event()
            await self._filled.wait()
        peer_key, line = next(iter(self._lines.items()))
        event = line.events.popleft()
        self._count(line, event, -1)
        if line.events:
            self._lines.move_to_end(peer_key)
        else:
            del self._lines[peer_key]
        return event
