"""The bounded queue from the network to the agent, in which every peer has a line of its own.

Intuition: one peer can say more in a moment than the agent takes in a second. With one line for
all, that would keep everybody else's frames outside. So each peer has a line, and the agent takes
from each in turn: who floods waits for himself. Gossip waits in the line of the peer that signed
it, whoever handed it on. Lines cost nothing either, for who has many identities: so the
lines of members come first, and others have a turn now and then. Who is no member is also left
unread for a while where it says more than a guest may: it costs less to hold it back than to refuse
what it says.

Invariants: what comes from one peer keeps its order. A line has room for so many frames and bytes;
where all lines together have too many, the longest gives way, and any other one before a member's.
What does not fit is dropped and counted: all that frames and gossip carry is sent again. Connects
and disconnects are never dropped for lack of room. No member waits for more than one event of
anybody else.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable

import attrs
import trio

from p2pool.drivers.net.events import FrameReceived, GossipReceived, NetEvent
from p2pool.drivers.net.transport.pace import Pace
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    CONNECTIONS_MAX,
    INPUT_QUEUE_MAX,
    INPUT_QUEUE_MAX_BYTES,
    PEER_INPUTS_MAX,
    PEER_INPUTS_MAX_BYTES,
)
from p2pool.model.messages.registry import Channel

MOMENT_S = 0.001
"""What is due within that is paid."""
ROOM_FOR_TRAFFIC = INPUT_QUEUE_MAX - 2 * CONNECTIONS_MAX


@attrs.define(eq=False)
class _Line:
    """What waits from one peer; `traffic`: its frames and gossip messages, of so many bytes."""

    peer_key: PeerKey
    events: deque[NetEvent] = attrs.field(factory=deque)
    traffic: int = 0
    size_bytes: int = 0
    emptied: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class _GuestPace:
    """How fast one that is no member is read: its frames, and their bytes."""

    frames: Pace = attrs.field(
        factory=lambda: Pace(limits.GUEST_FRAMES_PER_S, limits.GUEST_FRAMES_BURST)
    )
    kib: Pace = attrs.field(
        factory=lambda: Pace(limits.GUEST_FRAMES_KIB_PER_S, limits.GUEST_FRAMES_KIB_BURST)
    )

    def owe(self, size_bytes: int) -> None:
        """It sent a frame of so many bytes."""
        self.frames.owe(1)
        self.kib.owe(size_bytes / 1024)


def _due_s(pace: Pace) -> float:
    """How long until what was taken is paid off."""
    pace.owe(0)
    return max(0.0, -pace.left / pace.per_s)


class EventQueue:
    """Many producers put; one task receives, by iterating."""

    def __init__(self, counters: Counter[str]) -> None:
        """Empty; counts into `counters`."""
        self._counters = counters
        self._members: set[PeerKey] = set()
        self._first: OrderedDict[PeerKey, _Line] = OrderedDict()
        self._others: OrderedDict[PeerKey, _Line] = OrderedDict()
        self._in_a_row = 0
        self._paces: BoundedDict[PeerKey, _GuestPace] = BoundedDict(limits.CONNECTIONS_MAX)
        self._traffic = 0
        self._bytes = 0
        self._waiting = 0
        self._filled = trio.Event()

    def __len__(self) -> int:
        """How many events wait."""
        return self._waiting

    def set_member(self, peer_key: PeerKey, member: bool) -> None:
        """A peer is a member from now on, or is none."""
        if not member:
            self._members.discard(peer_key)
            return
        self._members.add(peer_key)
        self._paces.pop(peer_key, None)
        line = self._others.pop(peer_key, None)
        if line is not None:
            self._first[peer_key] = line

    def _line_of(self, peer_key: PeerKey) -> _Line | None:
        return self._first.get(peer_key) or self._others.get(peer_key)

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
        """Queue a frame, and wait until its peer's line is no longer than `ahead`, and a guest's
        pace allows more: meanwhile the stream is left unread, and nothing of an honest burst is
        lost."""
        self.put_frame(peer_key, channel, data)
        while (line := self._line_of(peer_key)) and line.traffic > ahead:
            await line.emptied.wait()
        if peer_key not in self._members:
            await self._hold_back(peer_key, len(data))

    async def _hold_back(self, peer_key: PeerKey, size_bytes: int) -> None:
        """Leave one that is no member unread until what it sent is paid off."""
        pace = self._paces.get(peer_key) or _GuestPace()
        self._paces.renew(peer_key, pace)
        pace.owe(size_bytes)
        while (
            peer_key not in self._members
            and (due_s := max(_due_s(pace.frames), _due_s(pace.kib))) > MOMENT_S
        ):
            self._counters["guests_held_back"] += 1
            await trio.sleep(min(due_s, limits.GUEST_HELD_BACK_MS / 1000))

    def put_gossip(self, channel: Channel, origin: PeerKey, data: bytes) -> None:
        """One gossip message arrived that `origin` signed."""
        self._put_traffic(origin, GossipReceived(channel, data), first=True)

    def _put_traffic(
        self, peer_key: PeerKey, event: FrameReceived | GossipReceived, *, first: bool = False
    ) -> None:
        """Queue a frame or gossip while its line has room, and all lines have it or can make it.
        `first`: a member's, connected or not."""
        kind, size = event.channel.value, len(event.data)
        line = self._line_of(peer_key) or _Line(peer_key)
        first = first or peer_key in self._members or peer_key in self._first
        full = line.traffic >= PEER_INPUTS_MAX or line.size_bytes + size > PEER_INPUTS_MAX_BYTES
        if full or not self._make_room(line, size, first):
            self._counters[f"events_dropped_{kind}"] += 1
            return
        self._counters[f"received_{kind}"] += 1
        self._append(peer_key, event, first=first)

    def _make_room(self, line: _Line, size: int, first: bool) -> bool:
        """Whether one more fits in, after others gave way: any that is no member's, for a member's
        line, and then longer ones."""
        while self._traffic >= ROOM_FOR_TRAFFIC:
            longest, yields = self._longest(lambda one: one.traffic, first)
            if longest is None or (longest.traffic <= line.traffic and not yields):
                return False
            self._give_way(longest)
        while self._bytes + size > INPUT_QUEUE_MAX_BYTES:
            largest, yields = self._longest(lambda one: one.size_bytes, first)
            if largest is None or (largest.size_bytes <= line.size_bytes + size and not yields):
                return False
            self._give_way(largest)
        return True

    def _longest(self, length: Callable[[_Line], int], first: bool) -> tuple[_Line | None, bool]:
        """The line that gives way next, and whether it does so however short it is."""
        other = max(self._others.values(), key=length, default=None)
        if other is not None and length(other) > 0:
            return other, first
        return max(self._first.values(), key=length, default=None) if first else None, False

    def _give_way(self, line: _Line) -> None:
        """Drop the newest frame or gossip message of a line."""
        for place in range(len(line.events) - 1, -1, -1):
            event = line.events[place]
            if isinstance(event, FrameReceived | GossipReceived):
                del line.events[place]
                self._count(line, event, -1)
                self._counters[f"events_dropped_{event.channel.value}"] += 1
                if not line.events:
                    self._first.pop(line.peer_key, None)
                    self._others.pop(line.peer_key, None)
                return
        raise AssertionError("a line without traffic gives way")

    def _append(self, peer_key: PeerKey, event: NetEvent, *, first: bool = False) -> None:
        line = self._line_of(peer_key)
        if line is None:
            lines = self._first if first or peer_key in self._members else self._others
            line = lines[peer_key] = _Line(peer_key)
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
        while not self._first and not self._others:
            self._filled = trio.Event()
            await self._filled.wait()
        peer_key, line = next(iter(self._next_lines().items()))
        event = line.events.popleft()
        self._count(line, event, -1)
        lines = self._first if peer_key in self._first else self._others
        if line.events:
            lines.move_to_end(peer_key)
        else:
            del lines[peer_key]
        return event

    def _next_lines(self) -> OrderedDict[PeerKey, _Line]:
        """The lines whose turn it is: members' so many times, then the others' once."""
        self._in_a_row += 1
        if self._others and (not self._first or self._in_a_row > limits.MEMBERS_IN_A_ROW):
            self._in_a_row = 0
            return self._others
        return self._first
