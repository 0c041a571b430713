"""Keeps the node connected: dials the peers that the peer book says are due, a few at a time.

It tries a peer's addresses one after the other through `dial_addr`, each for DIAL_TIMEOUT_MS at
most: the library's `dial_peer` would pick one address per transport, leave out loopback if there is
any other, and refuse the peer for a minute after a failure. When two peers dial each other at the
same time both connections stay and count as one peer.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.peers.addresses import is_numbered, peer_id_of, resolve
from p2pool.drivers.net.peers.peer_book import PeerBook
from p2pool.drivers.net.transport.frames import STREAM_ERRORS
from p2pool.model.ids import PeerKey
from p2pool.model.limits import CONNECTIONS_AIM, DIAL_IDLE_MS, DIAL_TIMEOUT_MS, DIALS_IN_FLIGHT_MAX


class Dialler:
    """The one task that dials."""

    def __init__(
        self,
        host: Any,
        book: PeerBook,
        counters: Counter[str],
        connections: Callable[[], int],
        may_dial: Callable[[PeerKey, str], bool],
    ) -> None:
        """`connections` returns the number of connected peers; `may_dial`, whether to dial a peer
        at an address, names looked up."""
        self._host = host
        self._book = book
        self._counters = counters
        self._connections = connections
        self._may_dial = may_dial
        self._in_flight = 0
        self._changed = trio.Event()

    @staticmethod
    def now_ms() -> int:
        """Monotonic time."""
        return int(trio.current_time() * 1000)

    def wake(self) -> None:
        """The book changed."""
        self._changed.set()

    async def run(self) -> None:
        """Dial until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                room = CONNECTIONS_AIM - self._connections() - self._in_flight
                slots = DIALS_IN_FLIGHT_MAX - self._in_flight
                for peer in self._book.due(self.now_ms(), max(room, 0), slots):
                    self._in_flight += 1
                    nursery.start_soon(self._dial, peer)
                due_ms = self._book.next_due_ms()
                wait_ms = (
                    DIAL_IDLE_MS if due_ms is None else min(due_ms - self.now_ms(), DIAL_IDLE_MS)
                )
                with trio.move_on_after(max(wait_ms, 20) / 1000):
                    await self._changed.wait()

    async def _dial(self, peer: KnownPeer) -> None:
        """Try each address until one connects."""
        try:
            for address in peer.addresses:
                reached = await self._dial_address(peer, address)
                if reached:
                    self._book.answered_at(peer.peer_key, address)
                    break
                tried = reached is not None
                self._book.failed_at(peer.peer_key, address, self.now_ms(), tried=tried)
            if self._host.get_network().get_connections(peer_id_of(peer.peer_key)):
                self._counters["dials_connected"] += 1
                self._book.connected(peer.peer_key)
            else:
                # Nobody answered, or the peer disconnected at once, which is no better.
                self._counters["dials_failed"] += 1
                self._book.dial_failed(peer.peer_key, self.now_ms())
        finally:
            self._in_flight -= 1
            self.wake()

    async def _dial_address(self, peer: KnownPeer, address: str) -> bool | None:
        """Whether a connection to exactly this peer came about; None: nothing was dialled, nor
        looked up, since the address means another machine here."""
        peer_id = peer_id_of(peer.peer_key)
        swarm = self._host.get_network()
        with trio.move_on_after(DIAL_TIMEOUT_MS / 1000):
            try:
                for target in await resolve(address):
                    if swarm.get_connections(peer_id):
                        return True
                    if not self._may_dial(peer.peer_key, str(target)):
                        self._counters["dials_refused_range"] += 1
                        continue
                    await swarm.dial_addr(target, peer_id)
                    return True
            except STREAM_ERRORS:
                return False
            return None if is_numbered(address) else False
        return False
