"""Hints: addresses of a peer that another peer named.

Intuition: nobody signs where somebody else listens, so such an address may be anything, a machine
that has nothing to do with the pool too. A newcomer cannot do without, since it knows nobody. So a
hint is worth one attempt, and whoever gives bad ones is soon heard no more.

Invariants: of each peer at most HINTS_PER_PEER_MAX hints are kept, of each source so many at one
peer and so many in all, so none fills the room of the others; one that failed is gone and charged
to its source, which gives none while it is in debt. Pure: time is an argument.
"""

from collections import Counter

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.ids import PeerKey


@attrs.define
class Hints:
    """The hints about all peers: by peer and address, who gave each."""

    _given: dict[PeerKey, dict[str, PeerKey]] = attrs.field(factory=dict)
    _held: Counter[PeerKey] = attrs.field(factory=Counter)
    _wrong: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.HINTS_WRONG_PER_S, limits.HINTS_WRONG_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    _tried: BoundedDict[tuple[PeerKey, str], int] = attrs.field(
        factory=lambda: BoundedDict(limits.HINTS_TRIED_MAX)
    )

    def add(
        self, peer_key: PeerKey, addresses: tuple[str, ...], source: PeerKey, now_ms: int
    ) -> bool:
        """Keep what a source says of a peer, as far as the bounds go; whether anything is new."""
        if self._wrong.indebted(source, now_ms):
            return False
        known = self._given.get(peer_key, {})
        mine = sum(by == source for by in known.values())
        before = len(known)
        for address in addresses[: limits.ADDRESSES_MAX]:
            full = (
                len(known) >= limits.HINTS_PER_PEER_MAX
                or mine >= limits.HINTS_PER_PEER_AND_SOURCE_MAX
                or self._held[source] >= limits.HINTS_PER_SOURCE_MAX
            )
            if full:
                break
            tried_ms = self._tried.get((peer_key, address))
            waits = tried_ms is not None and now_ms - tried_ms < limits.DIAL_BACKOFF_MAX_MS
            if address not in known and not waits:
                known[address] = source
                self._held[source] += 1
                mine += 1
        if known:
            self._given[peer_key] = known
        return len(known) > before

    def of(self, peer_key: PeerKey) -> tuple[str, ...]:
        """Where others say that a peer listens."""
        return tuple(self._given.get(peer_key, ()))

    def failed(self, peer_key: PeerKey, address: str, now_ms: int, *, tried: bool = True) -> None:
        """Nobody of that key answered there: once is enough, for a while, whoever says it again.
        Where nothing was tried, since it is not to be dialled from here, it may well be right."""
        source = self._given.get(peer_key, {}).get(address)
        if source is not None:
            self._tried.renew((peer_key, address), now_ms)
            if tried:
                self._wrong.charge(source, now_ms, 1)
            self.forget(peer_key, address)

    def forget(self, peer_key: PeerKey, address: str | None = None) -> None:
        """Drop a peer's hints, or one of them."""
        known = self._given.get(peer_key, {})
        for gone in tuple(known) if address is None else (address,):
            source = known.pop(gone, None)
            if source is not None:
                self._held[source] -= 1
                if not self._held[source]:
                    del self._held[source]
        if not known:
            self._given.pop(peer_key, None)
