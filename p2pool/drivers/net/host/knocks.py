"""Whose turn it is to shake hands, where more knock than a host can answer.

Intuition: a handshake costs curves, so a host has so many in a second and no more. Where hundreds
knock at once, chance would serve whoever knocks most. So the next turn goes to the neighbourhood
that has had none for longest: who knocks for the first time goes before a crowd that knocks again
and again, wherever in its networks each of the crowd comes from.

Invariants: the places to wait are bounded; where all are taken, the most crowded neighbourhood
gives one up, and its latest knock at that. One address has no more turns than its own rate.
Source: docs/design/messages.md, "What a peer may cost".
"""

from collections import Counter
from collections.abc import Callable

import attrs
import trio

from p2pool.drivers.net.host.slots import Slot
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets

ALL = b""


@attrs.define(eq=False)
class _Knock:
    """Somebody who waits. `answered`: it has its turn, or is turned away."""

    slot: Slot
    came_ms: int
    answered: trio.Event = attrs.field(factory=trio.Event)
    turn: bool = False


class Knocks:
    """Those who wait for a handshake with one host."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._hosts = TokenBuckets(
            limits.CONNECTS_PER_HOST_PER_S,
            limits.CONNECTS_PER_HOST_BURST,
            limits.PEERS_TRACKED_MAX,
        )
        self._all = TokenBuckets(limits.CONNECTS_PER_S, limits.CONNECTS_BURST, 1)
        self._waiting: dict[_Knock, None] = {}
        self._crowds: Counter[bytes] = Counter()
        self._served: BoundedDict[bytes, int] = BoundedDict(limits.PEERS_TRACKED_MAX)
        self._look_due_ms = 0
        self._turns = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def turn(self, slot: Slot, stays: Callable[[], bool]) -> bool:
        """Wait for a turn; False: turned away, since too many wait or it took too long, or because
        the slot lost its place (`stays`)."""
        knock = _Knock(slot, now_ms())
        self._enter(knock)
        try:
            while not knock.answered.is_set() and stays():
                self._serve(now_ms())
                if not knock.answered.is_set() and now_ms() >= knock.came_ms + limits.KNOCK_WAIT_MS:
                    break
                with trio.move_on_after(limits.KNOCK_RETRY_MS / 1000):
                    await knock.answered.wait()
                slot.heard(now_ms())  # It waits for us, not we for it.
            return knock.turn
        finally:
            self._leave(knock)

    def _enter(self, knock: _Knock) -> None:
        self._waiting[knock] = None
        self._crowds[knock.slot.groups.broad] += 1
        if len(self._waiting) > limits.KNOCKS_WAITING_MAX:
            away = max(self._waiting, key=self._crowding)
            self._leave(away)
            away.answered.set()
        else:
            self._look_due_ms = 0

    def _leave(self, knock: _Knock) -> None:
        if knock in self._waiting:
            del self._waiting[knock]
            broad = knock.slot.groups.broad
            self._crowds[broad] -= 1
            if not self._crowds[broad]:
                del self._crowds[broad]

    def _serve(self, at_ms: int) -> None:
        """Give as many turns as there may be now, by order; looked at now and then."""
        if at_ms < self._look_due_ms:
            return
        self._look_due_ms = at_ms + limits.KNOCK_LOOK_MS
        while self._waiting and self._all.affords(ALL, at_ms):
            ready = (k for k in self._waiting if self._hosts.affords(_host(k), at_ms))
            knock = min(ready, key=self._order, default=None)
            if knock is None:
                return
            self._hosts.admit(_host(knock), at_ms)
            self._all.admit(ALL, at_ms)
            self._turns += 1
            for group in attrs.astuple(knock.slot.groups):
                self._served.renew(group, self._turns)
            self._leave(knock)
            knock.turn = True
            knock.answered.set()

    def _order(self, knock: _Knock) -> tuple[int, ...]:
        """Whose is lowest is next: of the neighbourhood, in it of the network, of the address that
        was served longest ago, who waits longest."""
        groups = knock.slot.groups
        served = (self._served.get(g, 0) for g in (groups.broad, groups.wide, groups.narrow))
        return (*served, knock.came_ms)

    def _crowding(self, knock: _Knock) -> tuple[int, ...]:
        """Whose is highest gives up its place."""
        return self._crowds[knock.slot.groups.broad], *self._order(knock)


def _host(knock: _Knock) -> bytes:
    return knock.slot.groups.narrow


def now_ms() -> int:
    """Now, by the clock that a simulation of time controls."""
    return int(trio.current_time() * 1000)
