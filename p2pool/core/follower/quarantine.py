"""The quarantine of a follower replica: fetched entries wait until a quorum has signed them.

Intuition: a replica may ask any member for committed entries, and any may lie, the leader too. So
the voters sign the log's history: a hash over every entry up to an index (`log.histories`). Entries
from a peer wait here, unread, until a signed history covers them. If they hash to it, the replica
accepts them; if not, they are not what is committed: it drops them and does not ask that peer for a
while.

In a pool below feature level 2 nobody signs histories. There a certified leader's announcement
vouches for them, entries from the leader itself need no other word, and a lie of its is found out
within a minute, by the digest of the state in its next certificate (`voter.signatures`).

Invariants: nothing here is applied, stored on disk or shown; what waits comes from one peer,
extends what is committed here, and is bounded in bytes and in time.
Source: docs/design/consensus.md, "Follower replicas".
"""

from collections.abc import Mapping

import attrs

from p2pool.core.follower.fetcher import LogFetcher
from p2pool.core.fsm.state import history_after
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.log.raft import Entry
from p2pool.model.timing import Now


@attrs.define
class UnverifiedEntries:
    """Entries from one peer that nobody has vouched for yet."""

    peer_key: PeerKey
    since_ms: int
    entries: list[Entry] = attrs.field(factory=list)
    size: int = 0


@attrs.define
class Quarantine:
    """What waits, the histories that leaders vouched for by index, and how long to distrust which
    peer."""

    fetcher: LogFetcher
    vouched_history: BoundedDict[int, Digest] = attrs.field(
        factory=lambda: BoundedDict(limits.HISTORIES_KEPT_MAX)
    )
    waiting: UnverifiedEntries | None = None
    lied: list[PeerKey] = attrs.field(factory=list)
    distrusted: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )

    def clear(self) -> None:
        """The log was replaced or begun anew: forget what was vouched for."""
        self.vouched_history.clear()
        self.waiting = None

    def drop(self) -> None:
        """Drop what waits."""
        self.waiting = None

    def place(self, commit_index: int) -> None:
        """Count what is committed here and what waits behind it as held, so we ask beyond it."""
        found = self.waiting
        if found is not None and found.entries and found.entries[0].index != commit_index + 1:
            found = self.waiting = None
        count = len(found.entries) if found is not None else 0
        self.fetcher.held_index = commit_index + count

    # --- asking -----------------------------------------------------------------------------------

    def peers(self, connected: tuple[PeerKey, ...], now: Now) -> tuple[PeerKey, ...]:
        """Whom to ask: while something waits, its sender; otherwise any peer that has not lied."""
        fetch, found = self.fetcher.fetch, self.waiting
        if fetch is not None and now.mono_ms >= fetch.deadline_ms:
            found = self.waiting = None
        if found is not None and now.mono_ms - found.since_ms >= limits.FETCH_WHOLE_MAX_MS:
            # Nobody vouched for it, or it trickles in: start over with another peer.
            self.waiting = None
            self.fetcher.distrust(found.peer_key, now)
        elif found is not None and found.peer_key in connected:
            return (found.peer_key,)
        self.waiting = None
        return tuple(key for key in connected if self.trusted(key, now) is not None)

    def trusted(self, peer_key: PeerKey | None, now: Now) -> PeerKey | None:
        """This peer, unless it lied lately."""
        if peer_key is None or self.distrusted.get(peer_key, 0) > now.mono_ms:
            return None
        return peer_key

    def wanted_of(self, holder: PeerKey | None) -> None:
        """A caller waits for what this peer has: drop what waits from another."""
        if self.waiting is not None and holder not in (None, self.waiting.peer_key):
            self.waiting = None

    # --- accepting --------------------------------------------------------------------------------

    def add(self, entries: tuple[Entry, ...], peer_key: PeerKey, now: Now) -> None:
        """Let a peer's entries wait."""
        found = self.waiting
        if found is None or found.peer_key != peer_key:
            found = self.waiting = UnverifiedEntries(peer_key, now.mono_ms)
        found.entries += entries
        found.size += sum(len(entry.body) for entry in entries)
        if found.size > limits.SNAPSHOT_MAX_BYTES:
            self._lied(peer_key, now)

    def release(self) -> tuple[Entry, ...]:
        """Release all that waits, unproven: it came from the leader."""
        found, self.waiting = self.waiting, None
        return tuple(found.entries) if found is not None else ()

    def vouch(self, index: int, history: Digest) -> None:
        """Note the history at an index that a certified leader announced."""
        self.vouched_history.renew(index, history)

    def prove(self, history: Digest, vouched: Mapping[int, Digest], now: Now) -> tuple[Entry, ...]:
        """Release the entries that a history vouches for, given the one before the first, and the
        `vouched` ones by index."""
        found, good = self.waiting, 0
        if found is None:
            return ()
        entries = tuple(found.entries)
        for number, entry in enumerate(entries, start=1):
            history = history_after(history, entry)
            said = vouched.get(entry.index)
            if said is not None and said != history:
                self._lied(found.peer_key, now)
                return entries[:good]
            good = number if said is not None else good
        found.entries = found.entries[good:]
        if not found.entries:
            self.waiting = None
        return entries[:good]

    def _lied(self, peer_key: PeerKey, now: Now) -> None:
        """Distrust a peer for a while; drop its entries."""
        self.waiting = None
        self.lied.append(peer_key)
        self.fetcher.distrust(peer_key, now)
        self.distrusted.renew(peer_key, now.mono_ms + limits.DISTRUSTED_MS)
