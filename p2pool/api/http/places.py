"""Decides whose connection ends when a newcomer finds all places taken.

Intuition: whoever can reach the port can open connections and say nothing. Were the newcomer
refused, a few hundred idle sockets would lock out the owner for as long as they like. So the
newcomer always gets in, and who has shown nothing for longest goes.

Invariants: those that have not shown the token (strangers) hold no more than their share, so they
never displace who has. Of strangers the one that waits for longest goes first, then one that is
being answered; of those that have shown it only one that asks nothing. Where all of these are being
answered, and only there, the newcomer is told to come back. Every end of this kind is counted, and
logged once a minute. A choice looks at no more than the ends of four queues.
"""

from collections import Counter

import structlog
import trio

from p2pool.model import limits

_log = structlog.get_logger("p2pool.api")

# Not `token`: the log would take the number for one, and hide it.
EVICTED = "evicted_unauthenticated"
EVICTED_IDLE = "evicted_idle"
REFUSED = "refused"
NO_FILES = "no_file_descriptors"
SLOW_HEAD = "slow_head"
SLOW_HANDSHAKE = "slow_handshake"


class Place:
    """One connection's place; `scope` ends the connection."""

    __slots__ = ("_places", "_trusted", "busy", "known", "scope", "waiting")

    def __init__(self, places: "Places", known: bool) -> None:
        """`known`: it has shown that it may be here, by the way it came."""
        self._places, self.known, self.busy, self._trusted = places, known, False, known
        self.scope = trio.CancelScope()
        self.waiting: trio.CancelScope | None = None

    def show(self) -> None:
        """It showed the token."""
        if not self.known:
            self._places.move(self, known=True, busy=self.busy)

    def doubt(self) -> None:
        """It showed no token, or one that is over: what an earlier one gave it ends, so nobody
        keeps places by a token that was revoked."""
        if self.known and not self._trusted:
            self._places.move(self, known=False, busy=self.busy)

    def rest(self) -> None:
        """It asks nothing from now on; what it waits in ends with the server."""
        self._places.move(self, known=self.known, busy=False)

    def work(self) -> None:
        """It is being answered from now on."""
        self._places.move(self, known=self.known, busy=True)

    def leave(self) -> None:
        """It ended."""
        self._places.drop(self)


class Places:
    """All places of one API."""

    def __init__(self, counters: Counter[str] | None = None) -> None:
        """`counters`: where ends are counted, by kind."""
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.ending = False
        self._queues: dict[tuple[bool, bool], dict[Place, None]] = {
            (known, busy): {} for known in (False, True) for busy in (False, True)
        }
        self._untold: Counter[str] = Counter()
        self._last_s: dict[str, float] = {}
        self._told_s = float("-inf")

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def take(self, *, known: bool = False) -> Place | None:
        """A place for a newcomer, at the cost of another where all are taken; None where everybody
        is being answered."""
        strangers = len(self._queues[False, False]) + len(self._queues[False, True])
        full = len(self) >= limits.API_CONNECTIONS_MAX
        crowded = not known and strangers >= limits.API_STRANGERS_MAX
        if (full or crowded) and not self.make_room():
            self.note(REFUSED)
            return None
        place = Place(self, known)
        self._queues[known, False][place] = None
        return place

    def make_room(self) -> bool:
        """End the connection that can be missed most; false where there is none."""
        for known, busy in ((False, False), (False, True), (True, False)):
            if queue := self._queues[known, busy]:
                place = next(iter(queue))
                del queue[place]
                place.scope.cancel()
                self.note(EVICTED_IDLE if known else EVICTED)
                return True
        return False

    def move(self, place: Place, *, known: bool, busy: bool) -> None:
        """Put a place that is still held at the end of the queue that it belongs to now."""
        queue = self._queues[place.known, place.busy]
        place.known, place.busy = known, busy
        if place in queue:
            del queue[place]
            self._queues[known, busy][place] = None

    def drop(self, place: Place) -> None:
        """Free a place."""
        self._queues[place.known, place.busy].pop(place, None)

    def end(self) -> None:
        """The server ends: who waits for nothing goes, who is being answered goes after that."""
        self.ending = True
        for queue in self._queues.values():
            for place in queue:
                if place.waiting is not None:
                    place.waiting.cancel()

    # --- what is told ---------------------------------------------------------------------------

    def note(self, event: str) -> None:
        """Count an end, and log it if none was logged for a minute."""
        now = trio.current_time()
        self.counters[event] += 1
        self._untold[event] += 1
        self._last_s[event] = now
        if now - self._told_s >= limits.API_TOLD_EVERY_MS / 1000:
            self._told_s = now
            _log.warning("api_connections_cut", open=len(self), **self._untold)
            self._untold.clear()

    def warnings(self) -> tuple[str, ...]:
        """What the agent's status says of the last minute, by what was short then."""
        since_s, told = trio.current_time() - limits.API_TOLD_EVERY_MS / 1000, []
        recent = {event for event, at_s in self._last_s.items() if at_s > since_s}
        cut = self.counters[EVICTED]
        if NO_FILES in recent:
            told.append(
                f"The API ran out of file descriptors, and closed {cut} connections since it"
                " began: raise the limit of open files (ulimit -n)."
            )
        elif EVICTED in recent:
            told.append(
                "Somebody fills the API's places with connections that show no token; it closed"
                f" {cut} since it began."
            )
        if REFUSED in recent:
            told.append(
                f"All {limits.API_CONNECTIONS_MAX} places of the API were being answered; it"
                f" turned {self.counters[REFUSED]} connections away since it began: end streams"
                " that nobody reads."
            )
        return tuple(told)
