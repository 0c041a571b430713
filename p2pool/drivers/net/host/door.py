"""The way into a host: each inbound connection has a slot, and pays for its handshake.

Intuition: a socket costs a descriptor, a handshake costs curves. So the slots (`host.slots`) decide
who keeps his socket, and a handshake is charged to the address that asks for it, and to all, once
its first message is there: sockets that say nothing use up nothing that others need. One that comes
too fast waits for its turn, as honest ones do, and is refused only after a while.

What a stranger sends is decrypted and taken apart before it is a frame that could be refused. So it
is left unread where it sends too much, and where all strangers together do, unless it is little.

Invariants: whoever is displaced is closed at once, whatever it is about to do. What a slot knows of
a peer ends with its last connection.
"""

from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport

from p2pool.drivers.net.host.address_groups import NOWHERE, AddressGroups, groups_of
from p2pool.drivers.net.host.slots import Slot, Slots, Stage
from p2pool.drivers.net.transport.frames import STREAM_ERRORS
from p2pool.drivers.net.transport.pace import Pace
from p2pool.drivers.net.transport.raw_stream import remote_address
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.states import Standing

FIRST_READ_BYTES = 4096
MOMENT_S = 0.001
"""What is due within that is paid."""
ALL = b""
STAGES = {Standing.MEMBER: Stage.MEMBER, Standing.GUEST: Stage.GUEST}


class InboundStream(ReadWriteCloser):  # type: ignore[misc]
    """The bytes of an inbound connection; its slot is told when any arrive. Until it is a member's
    it is read at the pace of strangers: `shared` is what all of them together may send."""

    def __init__(self, stream: Any, slot: Slot, shared: Pace) -> None:
        """In the place of `stream`."""
        self._stream = stream
        self._remote = remote_address(stream)
        self._first = b""
        self.slot = slot
        self._own = Pace(limits.GUEST_KIB_PER_S, limits.GUEST_KIB_BURST)
        self._sure = Pace(limits.GUEST_KIB_SURE_PER_S, limits.GUEST_KIB_SURE_BURST)
        self._shared = shared

    async def speaks(self) -> bool:
        """Wait for the first bytes, for as long as a handshake may take: who connects begins. False
        if none come. Until then the connection costs its socket, and nothing is said to it."""
        with trio.move_on_after(limits.HANDSHAKE_TIMEOUT_MS / 1000), suppress(*STREAM_ERRORS):
            self._first = await self.read(FIRST_READ_BYTES)
        return bool(self._first)

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes; none at the end."""
        if self._first:
            first = self._first[:n]
            self._first = self._first[len(first) :]
            return first
        if self.slot.stage is Stage.MEMBER:
            member_data: bytes = await self._stream.read(n)
            return member_data
        await self._hold_back()
        most = limits.GUEST_READ_BYTES
        data: bytes = await self._stream.read(most if n is None else min(n, most))
        if data:
            self.slot.heard(now_ms())
            self._owe(len(data) / 1024)
        return data

    def _owe(self, kib: float) -> None:
        """So much came. What is sure is not taken from others."""
        self._own.owe(kib)
        self._sure.owe(kib)
        if self._sure.left < 0:
            self._shared.owe(kib)

    async def _hold_back(self) -> None:
        """Leave the connection unread until it is paid off what it sent, and, if that is more than
        a little, what all strangers sent. TCP holds its sender back meanwhile."""
        while self.slot.stage is not Stage.MEMBER:
            due_s = due(self._own)
            if self._sure.left < 0:
                due_s = max(due_s, min(due(self._sure), due(self._shared)))
            if due_s < MOMENT_S:
                return
            await trio.sleep(min(due_s, limits.GUEST_HELD_BACK_MS / 1000))

    async def write(self, data: bytes) -> None:
        """Write the bytes unchanged."""
        await self._stream.write(data)

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """The other side's address."""
        return self._remote


class Door:
    """The inbound connections of one host."""

    def __init__(self, counters: Counter[str], members_reserved: int) -> None:
        """Nobody is in. `members_reserved`: how many places guests leave to members."""
        self._counters = counters
        self._slots = Slots(members_reserved)
        self._streams: dict[Slot, Any] = {}
        self._peer_of: dict[Slot, ID] = {}
        self._of_peer: defaultdict[ID, set[Slot]] = defaultdict(set)
        self._stages: dict[ID, Stage] = {}
        self._knocks = TokenBuckets(
            limits.CONNECTS_PER_HOST_PER_S,
            limits.CONNECTS_PER_HOST_BURST,
            limits.PEERS_TRACKED_MAX,
        )
        self._all_knocks = TokenBuckets(limits.CONNECTS_PER_S, limits.CONNECTS_BURST, 1)
        self._waiting: dict[Slot, None] = {}
        self._shared: Pace | None = None  # made under trio's clock

    def count(self, stage: Stage) -> int:
        """How many connections have come so far, and no further."""
        return self._slots.count(stage)

    def enter(self, stream: Any) -> InboundStream | None:
        """Give a new connection a slot, whoever has to leave for it; None if nobody can."""
        remote = remote_address(stream)
        groups = groups_of(remote[0]) if remote is not None else NOWHERE
        slot, displaced = self._slots.come(groups, now_ms())
        self._show_out(displaced)
        if slot is None:
            self._counters["connections_refused_full"] += 1
            return None
        self._streams[slot] = stream
        if self._shared is None:
            self._shared = Pace(limits.GUESTS_KIB_PER_S, limits.GUESTS_KIB_BURST)
        return InboundStream(stream, slot, self._shared)

    def leave(self, slot: Slot) -> None:
        """A connection has ended."""
        self._slots.leave(slot)
        self._streams.pop(slot, None)
        peer_id = self._peer_of.pop(slot, None)
        if peer_id is not None:
            self._of_peer[peer_id].discard(slot)
            if not self._of_peer[peer_id]:
                del self._of_peer[peer_id]

    async def pay(self, slot: Slot) -> None:
        """Wait until the slot's address, and all together, may have another handshake.
        SwarmException: too many wait, or too long, or it had to give way."""
        deadline_ms = now_ms() + limits.KNOCK_WAIT_MS
        self._waiting[slot] = None
        try:
            while self._slots.holds(slot) and not self._admits(slot.groups):
                if now_ms() >= deadline_ms or self._is_crowded_out(slot):
                    self._counters["connections_refused_rate"] += 1
                    raise SwarmException("the host connects too often")
                await trio.sleep(limits.KNOCK_RETRY_MS / 1000)
                slot.heard(now_ms())  # It waits for us, not we for it.
        finally:
            del self._waiting[slot]
        self._advance(slot, Stage.HANDSHAKE)

    def _is_crowded_out(self, slot: Slot) -> bool:
        """Whether too many handshakes wait, and this is the one to go: of the most crowded network,
        of its most crowded address, the last that came. So nobody fills the places of others; one
        that goes for a newcomer does so when it looks next."""
        over = len(self._waiting) - limits.KNOCKS_WAITING_MAX
        if over <= 0:
            return False
        if over > limits.KNOCKS_WAITING_MAX:
            return True
        wide = Counter(one.groups.wide for one in self._waiting)
        narrow = Counter(one.groups.narrow for one in self._waiting)
        last_first = reversed(self._waiting)
        return slot is max(last_first, key=lambda s: (wide[s.groups.wide], narrow[s.groups.narrow]))

    def _admits(self, groups: AddressGroups) -> bool:
        """Whether there may be one more handshake now; if so, it counts."""
        at_ms = now_ms()
        if not self._all_knocks.affords(ALL, at_ms):
            return False
        return self._knocks.admit(groups.narrow, at_ms) and self._all_knocks.admit(ALL, at_ms)

    def authenticated(self, slot: Slot, peer_id: ID) -> None:
        """A connection has proved its key. SwarmException: it had to give way meanwhile."""
        self._advance(slot, self._stages.get(peer_id, Stage.STRANGER))
        self._peer_of[slot] = peer_id
        self._of_peer[peer_id].add(slot)

    def _advance(self, slot: Slot, stage: Stage) -> None:
        displaced = self._slots.reach(slot, stage)
        if displaced is None:
            raise SwarmException("the connection gave way to another")
        self._show_out(displaced)

    def judged(self, peer_id: ID, standing: Standing) -> None:
        """A peer's standing was decided, for all its connections."""
        stage = self._stages[peer_id] = STAGES.get(standing, Stage.STRANGER)
        for slot in tuple(self._of_peer.get(peer_id, ())):
            self._show_out(self._slots.reach(slot, stage) or [])

    def gone(self, peer_id: ID) -> None:
        """A peer's last connection has ended: its next one is a stranger's."""
        self._stages.pop(peer_id, None)

    def _show_out(self, displaced: list[Slot]) -> None:
        """Close whoever gave way: its socket, which ends everything that reads or writes it."""
        for slot in displaced:
            self._counters[f"connections_displaced_{slot.stage.name.lower()}"] += 1
            stream = self._streams.pop(slot, None)
            if stream is not None:
                stream.stream.socket.close()


class _Charged:
    """An inbound connection whose handshake is paid for when its first message has begun; from
    then on as it is."""

    def __init__(self, connection: Any, door: Door, slot: Slot) -> None:
        self._connection = connection
        self._door = door
        self._slot = slot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def read(self, n: int | None = None) -> bytes:
        """As the connection's, the first time late."""
        data: bytes = await self._connection.read(n)
        await self._door.pay(self._slot)
        self.read = self._connection.read  # type: ignore[method-assign]
        return data


class PoolNoise(NoiseTransport):  # type: ignore[misc]
    """The library's handshake, of which the door knows."""

    door: Door

    async def secure_inbound(self, conn: Any) -> Any:
        """Prove both keys to each other."""
        slot: Slot = conn.pool_slot
        secured = await super().secure_inbound(_Charged(conn, self.door, slot))
        self.door.authenticated(slot, secured.get_remote_peer())
        return secured


def due(pace: Pace) -> float:
    """How many seconds until what was taken is paid off."""
    pace.owe(0)
    return max(0.0, -pace.left / pace.per_s)


def now_ms() -> int:
    """Now, by the clock that a simulation of time controls."""
    return int(trio.current_time() * 1000)
