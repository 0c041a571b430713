"""What a follower replica may take of what its peers hand it: what a certified leader vouches for.

Intuition: any member may be asked for committed entries, and any may lie. So each announcement of a
leader with a certificate in force carries the log's history: a hash over every entry up to its
commit index. What a peer gives waits here, unread, until a history that was told covers it and is
the one that it makes; then it is taken. One that makes another was not what is committed: it is
thrown away, and its giver is not asked again for a while. What the leader itself gives is its own
word, and is taken at once; a snapshot, whose content no history names, is taken of it alone.

A quorum's word comes after: every minute its certificate names the digest of the state at an index,
and a replica that had another one there starts anew (`voter.signatures`). So a member that lies
changes nothing here, and a leader that lies is found out within a minute.

Invariants: nothing here is applied, kept on the disk or shown; what waits is of one peer, follows
on what is committed here, is bounded in bytes and in time.
Source: docs/design/consensus.md, "Follower replicas".
"""

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
    """Entries that one peer gave and nobody has vouched for yet."""

    peer_key: PeerKey
    since_ms: int
    entries: list[Entry] = attrs.field(factory=list)
    size: int = 0


@attrs.define
class Quarantine:
    """What waits, what was vouched for (a hash at an index), and who has lied, until when."""

    fetcher: LogFetcher
    vouched_history: BoundedDict[int, Digest] = attrs.field(
        factory=lambda: BoundedDict(limits.HISTORIES_KEPT_MAX)
    )
    waiting: UnverifiedEntries | None = None
    distrusted: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )

    def clear(self) -> None:
        """Another log, or the same one anew: nothing that was said of the last one counts."""
        self.vouched_history.clear()
        self.waiting = None

    def drop(self) -> None:
        """Give up what waits."""
        self.waiting = None

    def place(self, commit_index: int) -> None:
        """What is committed here, and what waits behind it, is held and not asked for again."""
        found = self.waiting
        if found is not None and found.entries and found.entries[0].index != commit_index + 1:
            found = self.waiting = None
        count = len(found.entries) if found is not None else 0
        self.fetcher.held_index = commit_index + count

    # --- asking -----------------------------------------------------------------------------------

    def peers(self, connected: tuple[PeerKey, ...], now: Now) -> tuple[PeerKey, ...]:
        """Whom to ask: while something waits the one that gave it, and nobody who has lied."""
        fetch, found = self.fetcher.fetch, self.waiting
        if fetch is not None and now.mono_ms >= fetch.deadline_ms:
            found = self.waiting = None
        if found is not None and now.mono_ms - found.since_ms >= limits.FETCH_WHOLE_MAX_MS:
            # Nobody vouched for it, or it comes by drops; it is begun anew with somebody else.
            self.waiting = None
            self.fetcher.distrust(found.peer_key, now)
        elif found is not None and found.peer_key in connected:
            return (found.peer_key,)
        self.waiting = None
        return tuple(key for key in connected if self.distrusted.get(key, 0) <= now.mono_ms)

    def wanted_of(self, holder: PeerKey | None) -> None:
        """Somebody waits, and this peer is known to have it: what another gave need not wait."""
        if self.waiting is not None and holder not in (None, self.waiting.peer_key):
            self.waiting = None

    # --- taking -----------------------------------------------------------------------------------

    def add(self, entries: tuple[Entry, ...], peer_key: PeerKey, now: Now) -> None:
        """Let what a peer gave wait."""
        found = self.waiting
        if found is None or found.peer_key != peer_key:
            found = self.waiting = UnverifiedEntries(peer_key, now.mono_ms)
        found.entries += entries
        found.size += sum(len(entry.body) for entry in entries)
        if found.size > limits.SNAPSHOT_MAX_BYTES:
            self._lied(peer_key, now)

    def release(self) -> tuple[Entry, ...]:
        """All that waits, without a further word: its giver is the leader."""
        found, self.waiting = self.waiting, None
        return tuple(found.entries) if found is not None else ()

    def vouch(self, index: int, history: Digest) -> None:
        """A certified leader says what the history is at an index."""
        self.vouched_history.renew(index, history)

    def prove(self, history: Digest, now: Now) -> tuple[Entry, ...]:
        """What of the waiting entries is vouched for, given the history before the first."""
        found, good = self.waiting, 0
        if found is None:
            return ()
        entries = tuple(found.entries)
        for number, entry in enumerate(entries, start=1):
            history = history_after(history, entry)
            said = self.vouched_history.get(entry.index)
            if said is not None and said != history:
                self._lied(found.peer_key, now)
                return entries[:good]
            good = number if said is not None else good
        found.entries = found.entries[good:]
        if not found.entries:
            self.waiting = None
        return entries[:good]

    def _lied(self, peer_key: PeerKey, now: Now) -> None:
        """It is not asked for a while; the leader is asked next, for perhaps it was not its lie."""
        self.waiting = None
        self.fetcher.distrust(peer_key, now)
        self.distrusted.renew(peer_key, now.mono_ms + limits.DISTRUSTED_MS)
