"""Follower replicas: how a peer that is not a voter comes by the committed state.

Intuition: the leader announces how far the log is committed. A peer that is behind waits a little
(longer in a larger pool, so that not all ask at once), then fetches what it misses from any member
that is connected, and keeps it: so every peer answers queries, and says how old its answer is.

Invariants: only entries that follow on what is held are taken, in order and without gaps; one
fetch is under way at a time and has a deadline; an answer to nothing that was asked is dropped; a
snapshot is taken only whole. "Follower replica" is not a Raft learner: it never counts.
Source: docs/design/consensus.md, "Follower replicas".
"""

from random import Random

import attrs

from p2pool.model import limits
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.log.raft import Entry
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered, StateRequested
from p2pool.model.timing import Now

FETCH_TIMEOUT_MS = limits.FORWARD_DEADLINE_MS


@attrs.frozen
class Fetch:
    """A question under way: its number, whom it was put to, until when it may be answered."""

    request: int
    peer_key: PeerKey
    deadline_ms: int


@attrs.frozen
class Ask:
    """Put this question to that peer."""

    peer_key: PeerKey
    message: StateRequested | SnapshotRequested


@attrs.frozen
class Entries:
    """Committed entries that follow on what is held."""

    entries: tuple[Entry, ...]


@attrs.frozen
class Whole:
    """An encoded snapshot that takes the place of what is held."""

    snapshot: bytes


@attrs.define
class LogFetcher:
    """What is held of a log, and the fetch under way. `held_index` is moved by the owner."""

    rng: Random
    log_id: Digest | None = None
    held_index: int = 0
    target_index: int = 0
    fetch_at_ms: int | None = None
    fetch: Fetch | None = None
    failed_with: PeerKey | None = None
    holder: PeerKey | None = None
    insists: bool = False
    announcer: PeerKey | None = None
    parts: bytearray = attrs.field(factory=bytearray)
    parts_total: int = 0

    def announced(
        self, announcement: Announcement, members: int, now: Now, sender: PeerKey | None = None
    ) -> None:
        """An announcement of the log's leader: plan a fetch if we are behind.

        Anybody may be asked first; whoever turns out to have no more than we had no time to fetch
        it either, and the leader is asked next.
        """
        if announcement.log_id != self.log_id:
            return
        self.announcer = sender
        self.want(announcement.commit_index, members, now)

    def want(self, index: int, members: int, now: Now, holder: PeerKey | None = None) -> None:
        """What is committed up to an index is wanted: plan a fetch if we are behind.

        `holder` is known to have it, and somebody waits: it is asked at once, and by us alone, so
        nothing has to be spread.
        """
        self.target_index = max(self.target_index, index)
        self._plan(members, now)
        if holder is not None and self.fetch_at_ms is not None:
            self.fetch_at_ms, self.holder = now.mono_ms, holder
        elif holder is not None and self.fetch is not None:
            self.holder = holder

    def fetch_now(self, now: Now) -> None:
        """What is missing is asked for in this step."""
        self.fetch_at_ms = now.mono_ms

    def turn_to(self, holder: PeerKey | None, now: Now) -> None:
        """Only this peer will do, connected or not; nobody: wait until there is one."""
        self._give_up(None)
        self.holder, self.insists = holder, holder is not None
        self.fetch_at_ms = now.mono_ms + (0 if self.insists else limits.PROBE_INTERVAL_MS)

    def _plan(self, members: int, now: Now) -> None:
        if self.held_index >= self.target_index or self.fetch or self.fetch_at_ms is not None:
            return
        spread_ms = members * limits.FETCH_SPREAD_PER_MEMBER_MS
        self.fetch_at_ms = now.mono_ms + self.rng.randrange(spread_ms + 1)

    def wakeup_ms(self) -> int | None:
        """When something has to be done next, on the monotonic clock."""
        return self.fetch.deadline_ms if self.fetch else self.fetch_at_ms

    def tick(self, request: int, peers: tuple[PeerKey, ...], members: int, now: Now) -> Ask | None:
        """Start a planned fetch, or give up one that was not answered and plan another."""
        if self.fetch is not None and now.mono_ms >= self.fetch.deadline_ms:
            self._give_up(self.fetch.peer_key)
            self._plan(members, now)
        due = self.fetch_at_ms is not None and now.mono_ms >= self.fetch_at_ms
        if not due or self.fetch is not None or self.log_id is None:
            return None
        # Whoever failed us last is asked again only where there is nobody else.
        others = tuple(p for p in peers if p != self.failed_with) or peers
        if self.insists and self.holder is not None:
            others = (self.holder,)
        if not others:
            self.fetch_at_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
            return None
        self.fetch_at_ms = None
        peer = others[self.rng.randrange(len(others))]
        if self.holder in others:
            peer, self.holder, self.insists = self.holder, None, False
        self.fetch = Fetch(request, peer, now.mono_ms + FETCH_TIMEOUT_MS)
        return Ask(peer, StateRequested(request, self.log_id, self.held_index))

    def answered(
        self,
        answer: StateAnswered,
        peer_key: PeerKey,
        next_request: int,
        now: Now,
        leader: PeerKey | None = None,
    ) -> Entries | Whole | Ask | None:
        """Take an answer: entries, a whole snapshot, or the next question. A snapshot is taken of
        the certified leader alone, who is asked for it."""
        fetch = self.fetch
        if fetch is None or (answer.request, peer_key) != (fetch.request, fetch.peer_key):
            return None
        if answer.log_id != self.log_id:
            self._give_up(peer_key)
            return None
        self.target_index = max(self.target_index, answer.commit_index)
        if answer.snapshot_total_bytes and peer_key != leader:
            self.turn_to(leader, now)
            return None
        if answer.snapshot_total_bytes:
            return self._take_part(answer, peer_key, next_request, now)
        self.fetch, self.failed_with = None, None
        taken: list[Entry] = []
        for entry in answer.entries:
            if entry.index == self.held_index + len(taken) + 1:
                taken.append(entry)
        if not taken:
            self.failed_with = peer_key
            if self.held_index < self.target_index:
                self.holder, self.announcer = self.announcer, None
                again = self.holder not in (None, peer_key)
                wait_ms = limits.FETCH_RETRY_MS if again else limits.PROBE_INTERVAL_MS
                self.fetch_at_ms = now.mono_ms + wait_ms
            return None
        if self.held_index + len(taken) < self.target_index:
            self.fetch_at_ms = now.mono_ms
        return Entries(tuple(taken))

    def _take_part(
        self, answer: StateAnswered, peer_key: PeerKey, next_request: int, now: Now
    ) -> Whole | Ask | None:
        total = answer.snapshot_total_bytes
        good = answer.snapshot_offset == len(self.parts) and self.parts_total in (0, total)
        if not good or total > limits.SNAPSHOT_MAX_BYTES or not answer.snapshot:
            self._give_up(peer_key)
            return None
        self.parts_total = total
        self.parts += answer.snapshot
        if len(self.parts) < total:
            assert self.log_id is not None
            self.fetch = Fetch(next_request, peer_key, now.mono_ms + FETCH_TIMEOUT_MS)
            return Ask(peer_key, SnapshotRequested(next_request, self.log_id, len(self.parts)))
        whole = bytes(self.parts)
        self._give_up(None)
        self.fetch_at_ms = now.mono_ms
        return Whole(whole)

    def _give_up(self, peer_key: PeerKey | None) -> None:
        self.fetch, self.failed_with = None, peer_key
        self.parts, self.parts_total = bytearray(), 0

    def distrust(self, peer_key: PeerKey, now: Now) -> None:
        """What a peer gave is no good: it is asked again only where there is nobody else."""
        self._give_up(peer_key)
        self.fetch_at_ms = now.mono_ms + limits.PROBE_INTERVAL_MS

    def follow(self, log_id: Digest, held_index: int) -> None:
        """Follow another log from an index; what was under way is dropped."""
        self._give_up(None)
        self.log_id, self.held_index, self.target_index = log_id, held_index, held_index
        self.fetch_at_ms, self.holder, self.insists = None, None, False
