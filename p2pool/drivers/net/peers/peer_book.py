"""The peer book: the known peers, their addresses, and when to dial whom.

Pure: time is an argument, jitter comes from a seeded generator, and `peers.dialer` does the
dialling.

Invariants: at most PEER_BOOK_MAX peers and ADDRESSES_MAX addresses each; our own key never enters.
An unreachable peer is tried again after a wait that doubles from DIAL_BACKOFF_MIN_MS to
DIAL_BACKOFF_MAX_MS, half of it jitter, so that a pool coming back does not dial in step. Absence
never removes a peer; only a full book displaces one. Addresses are what peers say: whoever makes up
peers, or addresses of one, over and over takes no turn from those that somebody has a message for,
and jumps no queue. What others say of a peer's addresses is a hint: it comes after what the peer
says itself, is tried once, and is bounded for each peer, for each source, and for a source at one
peer (`peers.hints`).
"""

import random

import attrs

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.peers.hints import Hints
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    ADDRESSES_MAX,
    DIAL_BACKOFF_MAX_MS,
    DIAL_BACKOFF_MIN_MS,
    DIALS_RESERVED,
    PEER_BOOK_MAX,
)


@attrs.define
class _Entry:
    """One peer; `next_dial_ms` is on the monotonic clock, `wanted` peers pass every bound.
    `renewed`: a new address made it due at once since the last connection."""

    peer_key: PeerKey
    addresses: tuple[str, ...]
    bootstrap: bool = False
    wanted: bool = False
    connected: bool = False
    dialling: bool = False
    renewed: bool = False
    failures: int = 0
    silences: int = 0
    next_dial_ms: int = 0


class PeerBook:
    """Addresses by peer key and the schedule of dials."""

    def __init__(self, own: PeerKey, rng: random.Random, max_peers: int = PEER_BOOK_MAX) -> None:
        """An empty book of the node with key `own`."""
        self._own = own
        self._rng = rng
        self._max_peers = max_peers
        self._entries: dict[PeerKey, _Entry] = {}
        self._hints = Hints()

    def __len__(self) -> int:
        """How many peers are known."""
        return len(self._entries)

    def learn(
        self, peer_key: PeerKey, addresses: tuple[str, ...], *, bootstrap: bool = False
    ) -> bool:
        """Put `addresses` before those known; False if there is no room or nothing to learn.

        A new address makes the peer due at once, earlier failures say nothing about it; but only
        once until it connects.
        """
        if peer_key == self._own or not addresses:
            return False
        entry = self._entries.get(peer_key)
        if entry is None:
            if len(self._entries) >= self._max_peers and not self._displace():
                return False
            entry = self._entries[peer_key] = _Entry(peer_key, ())
        new = any(address not in entry.addresses for address in addresses[:ADDRESSES_MAX])
        if new and not (entry.renewed and entry.addresses):
            entry.renewed = bool(entry.addresses)
            entry.failures, entry.next_dial_ms = 0, 0
        entry.addresses = tuple(dict.fromkeys(addresses + entry.addresses))[:ADDRESSES_MAX]
        entry.bootstrap = entry.bootstrap or bootstrap
        return True

    def hint(
        self, peer_key: PeerKey, addresses: tuple[str, ...], source: PeerKey, now_ms: int
    ) -> bool:
        """Note what `source` says of a peer's addresses; False if there is no room or nothing to
        learn. It brings no dial forward, unless we know no address of that peer."""
        entry = self._entries.get(peer_key)
        known = entry.addresses if entry is not None else ()
        new = tuple(address for address in addresses if address not in known)
        if peer_key == self._own or not new:
            return False
        if entry is None and len(self._entries) >= self._max_peers:
            return False  # What somebody else says displaces nobody.
        if not self._hints.add(peer_key, new, source, now_ms):
            return False
        if entry is None:
            self._entries[peer_key] = _Entry(peer_key, ())
        return True

    def failed_at(
        self, peer_key: PeerKey, address: str, now_ms: int, *, tried: bool = True
    ) -> None:
        """Nobody of that key answered there: a hint is dropped, and its source pays for it if
        anything was tried."""
        self._hints.failed(peer_key, address, now_ms, tried=tried)

    def answered_at(self, peer_key: PeerKey, address: str) -> None:
        """The peer answered there, so a hint was right, and costs its source nothing."""
        self._hints.forget(peer_key, address)

    def _displace(self) -> bool:
        """Drop the disconnected peer that failed most; among equals, the longest known."""
        idle = [e for e in self._entries.values() if not (e.connected or e.bootstrap or e.dialling)]
        if not idle:
            return False
        gone = max(idle, key=lambda entry: entry.failures).peer_key
        del self._entries[gone]
        self._hints.forget(gone)
        return True

    def addresses(self, peer_key: PeerKey) -> tuple[str, ...]:
        """A peer's known addresses; empty if it is not known."""
        entry = self._entries.get(peer_key)
        return () if entry is None else (*entry.addresses, *self._hints.of(peer_key))

    def is_bootstrap(self, peer_key: PeerKey) -> bool:
        """Whether the operator gave the addresses of this peer."""
        entry = self._entries.get(peer_key)
        return entry is not None and entry.bootstrap

    def want(self, peer_key: PeerKey) -> None:
        """Somebody has a message for this peer: dial it even beyond the usual number."""
        entry = self._entries.get(peer_key)
        if entry is not None:
            entry.wanted = True

    def due(self, now_ms: int, room: int, slots: int) -> tuple[KnownPeer, ...]:
        """Up to `slots` peers to dial now, wanted ones first; others only while there is `room`,
        and up to the slots reserved for wanted ones.

        They count as being dialled until `connected`, `dial_failed` or `disconnected` is called.
        """
        ready = [
            entry
            for entry in self._entries.values()
            if not (entry.connected or entry.dialling) and entry.next_dial_ms <= now_ms
        ]
        ready.sort(key=lambda entry: (not entry.wanted, entry.next_dial_ms, entry.peer_key))
        chosen: list[KnownPeer] = []
        for entry in ready:
            if len(chosen) >= slots:
                break
            if entry.wanted or len(chosen) < min(room, slots - DIALS_RESERVED):
                entry.dialling = True
                chosen.append(KnownPeer(entry.peer_key, self.addresses(entry.peer_key)))
        return tuple(chosen)

    def next_due_ms(self) -> int | None:
        """When the next dial is due, None if there is nobody to dial."""
        times = [
            entry.next_dial_ms
            for entry in self._entries.values()
            if not (entry.connected or entry.dialling)
        ]
        return min(times, default=None)

    def connected(self, peer_key: PeerKey) -> None:
        """A connection is up, whoever dialled."""
        entry = self._entries.get(peer_key)
        if entry is None:
            return
        entry.dialling = False
        if not entry.connected:
            # A second report must not undo the wait that a refusal in between asked for.
            entry.connected, entry.failures, entry.next_dial_ms = True, 0, 0
            entry.renewed = False

    def disconnected(self, peer_key: PeerKey, now_ms: int) -> None:
        """The last connection is gone: dial again soon, with jitter since the other does too."""
        entry = self._entries.get(peer_key)
        if entry is not None:
            entry.connected, entry.dialling, entry.wanted = False, False, False
            soon_ms = now_ms + self._jittered(DIAL_BACKOFF_MIN_MS)
            # A refusal while it was connected asked for a longer wait, which stays.
            entry.next_dial_ms = max(entry.next_dial_ms, soon_ms)

    def dial_failed(self, peer_key: PeerKey, now_ms: int) -> None:
        """No address answered: wait longer than the last time."""
        entry = self._entries.get(peer_key)
        if entry is None or entry.connected:
            return
        if not self.addresses(peer_key):
            del self._entries[peer_key]  # All that we had were hints, and all were wrong.
            return
        wait_ms = min(DIAL_BACKOFF_MIN_MS << min(entry.failures, 20), DIAL_BACKOFF_MAX_MS)
        entry.failures += 1
        entry.dialling, entry.wanted = False, False
        entry.next_dial_ms = now_ms + self._jittered(wait_ms)

    def judged(self, peer_key: PeerKey) -> None:
        """The peer said hello, and is wanted here."""
        entry = self._entries.get(peer_key)
        if entry is not None:
            entry.silences = 0

    def silent(self, peer_key: PeerKey, now_ms: int) -> None:
        """It said no hello in time, or we did not get to it: wait longer than the last time."""
        entry = self._entries.get(peer_key)
        if entry is not None:
            wait_ms = min(DIAL_BACKOFF_MIN_MS << min(entry.silences, 20), DIAL_BACKOFF_MAX_MS)
            entry.silences += 1
            entry.dialling, entry.wanted = False, False
            entry.next_dial_ms = now_ms + self._jittered(wait_ms)

    def refused(self, peer_key: PeerKey, now_ms: int) -> None:
        """We do not want this peer for now: leave it alone for a long time."""
        entry = self._entries.get(peer_key)
        if entry is not None:
            entry.dialling, entry.wanted = False, False
            entry.next_dial_ms = now_ms + self._jittered(DIAL_BACKOFF_MAX_MS)

    def _jittered(self, wait_ms: int) -> int:
        """Between half of `wait_ms` and all of it."""
        return wait_ms // 2 + self._rng.randrange(wait_ms // 2 + 1)
