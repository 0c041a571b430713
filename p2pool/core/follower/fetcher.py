"""The fetcher of a follower replica: how a node without a seat gets the committed log.

Intuition: the leader announces how far the log is committed. A node that is behind waits a little
(longer in a larger pool, so that not all ask at once), then fetches what it lacks from any
connected member and keeps it: so every node answers queries, and says how old its answer is.

How far the log is, anybody may say. What a quorum signed is so; anybody's bare word counts until
that peer, or several others, were asked and had no more.

Invariants: nobody keeps a node asking for what nobody has; the fetcher accepts only entries that
extend the log, in order and without gaps; one fetch is in flight at a time, with a deadline; an
answer to no question is dropped; a snapshot is accepted only whole. A follower replica is no Raft
learner: it never counts.
Source: docs/design/consensus.md, "Follower replicas".
"""

from random import Random

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.log.raft import Entry
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered, StateRequested
from p2pool.model.timing import Now

FETCH_TIMEOUT_MS = limits.FORWARD_DEADLINE_MS


@attrs.frozen
class Fetch:
    """A question in flight: its number, the peer asked, and when its time is up."""

    request: int
    peer_key: PeerKey
    deadline_ms: int


@attrs.frozen
class Ask:
    """Send this question to that peer."""

    peer_key: PeerKey
    message: StateRequested | SnapshotRequested


@attrs.frozen
class Entries:
    """Entries that extend the log and, so the peer says, are committed."""

    entries: tuple[Entry, ...]


@attrs.frozen
class Whole:
    """An encoded snapshot that replaces the log, and a quorum's signatures over it, if any."""

    snapshot: bytes


@attrs.define
class Claim:
    """How far the log is committed by a peer's word, and how often somebody had no more since."""

    index: int
    misses: int = 0


@attrs.define
class LogFetcher:
    """How far the log reaches, and the fetch in flight. The owner moves `held_index`. `claims`: by
    whose word; None: somebody whom we do not know."""

    rng: Random
    log_id: Digest | None = None
    held_index: int = 0
    certified_index: int = 0
    claims: BoundedDict[PeerKey | None, Claim] = attrs.field(
        factory=lambda: BoundedDict(limits.FETCH_CLAIMS_MAX)
    )
    fetch_at_ms: int | None = None
    fetch: Fetch | None = None
    failed_with: PeerKey | None = None
    holder: PeerKey | None = None
    insists: bool = False
    announcer: PeerKey | None = None
    parts: bytearray = attrs.field(factory=bytearray)
    parts_total: int = 0

    @property
    def target_index(self) -> int:
        """Up to where the log is committed, as far as we know."""
        return max([self.certified_index, *(claim.index for claim in self.claims.values())])

    def announced(
        self,
        announcement: Announcement,
        members: int,
        now: Now,
        sender: PeerKey | None = None,
        certified_index: int = 0,
    ) -> None:
        """The log's leader announced its commit index, and a quorum signed the log up to
        `certified_index`: plan a fetch if we are behind.

        The first question may go to any peer; if that one has no more than we do, the next goes to
        the leader.
        """
        if announcement.log_id != self.log_id:
            return
        self.announcer = sender
        self.certified_index = max(self.certified_index, certified_index)
        self.claims.renew(sender, Claim(announcement.commit_index))
        self._plan(members, now)

    def want(self, index: int, members: int, now: Now, holder: PeerKey | None = None) -> None:
        """Plan a fetch of what is committed up to an index, if we are behind.

        `holder` has it, and somebody waits: ask it at once. Only we do, so the load needs no
        spreading.
        """
        known = self.claims.get(holder)
        self.claims.renew(holder, Claim(max(index, known.index if known is not None else 0)))
        self._plan(members, now)
        if holder is not None and self.fetch_at_ms is not None:
            self.fetch_at_ms, self.holder = now.mono_ms, holder
        elif holder is not None and self.fetch is not None:
            self.holder = holder

    def fetch_now(self, now: Now) -> None:
        """Ask for what is missing in this step."""
        self.fetch_at_ms = now.mono_ms

    def turn_to(self, holder: PeerKey | None, now: Now) -> None:
        """Ask only this peer next, connected or not; if None, wait a while."""
        self._give_up(None)
        self.holder, self.insists = holder, holder is not None
        self.fetch_at_ms = now.mono_ms + (0 if self.insists else limits.PROBE_INTERVAL_MS)

    def _plan(self, members: int, now: Now) -> None:
        if self.held_index >= self.target_index or self.fetch or self.fetch_at_ms is not None:
            return
        spread_ms = members * limits.FETCH_SPREAD_PER_MEMBER_MS
        self.fetch_at_ms = now.mono_ms + self.rng.randrange(spread_ms + 1)

    def wakeup_ms(self) -> int | None:
        """When the fetcher has work next, on the monotonic clock."""
        return self.fetch.deadline_ms if self.fetch else self.fetch_at_ms

    def tick(self, request: int, peers: tuple[PeerKey, ...], members: int, now: Now) -> Ask | None:
        """Start a planned fetch, or give up an unanswered one and plan another."""
        if self.fetch is not None and now.mono_ms >= self.fetch.deadline_ms:
            self._give_up(self.fetch.peer_key)
            self._plan(members, now)
        due = self.fetch_at_ms is not None and now.mono_ms >= self.fetch_at_ms
        if not due or self.fetch is not None or self.log_id is None:
            return None
        # Ask the peer that failed last only if there is no other.
        others = tuple(p for p in peers if p != self.failed_with) or peers
        if self.insists and self.holder is not None:
            others = (self.holder,)
        if not others:
            self.fetch_at_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
            return None
        self.fetch_at_ms = None
        peer = others[self.rng.randrange(len(others))]
        if self.holder in others:
            peer = self.holder
        # One that is not to be asked is waited for no longer: the others have it too, or will.
        self.holder, self.insists = None, False
        self.fetch = Fetch(request, peer, now.mono_ms + FETCH_TIMEOUT_MS)
        return Ask(peer, StateRequested(request, self.log_id, self.held_index))

    def answered(
        self,
        answer: StateAnswered,
        peer_key: PeerKey,
        next_request: int,
        now: Now,
        leader: PeerKey | None = None,
        *,
        from_any: bool = False,
    ) -> Entries | Whole | Ask | None:
        """Handle an answer: it gives entries, a whole snapshot, or the next question. Only the
        certified leader may send a snapshot; if another peer offers one, ask the leader. Where a
        quorum has to vouch for it, it may come `from_any` peer."""
        fetch = self.fetch
        if fetch is None or (answer.request, peer_key) != (fetch.request, fetch.peer_key):
            return None
        if answer.log_id != self.log_id:
            self._give_up(peer_key)
            return None
        self.claims.renew(peer_key, Claim(answer.commit_index))
        if answer.snapshot_total_bytes and peer_key != leader and not from_any:
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
            self._missed(peer_key)
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
        self.fetch, self.failed_with = None, None
        self.parts, self.parts_total = bytearray(), 0
        if peer_key is not None:
            self._missed(peer_key)

    def _missed(self, peer_key: PeerKey) -> None:
        """A peer gave nothing more: its own word is void, and each other one has a miss more."""
        self.failed_with = peer_key
        self.claims.pop(peer_key, None)
        for source, claim in tuple(self.claims.items()):
            claim.misses += 1
            if claim.misses >= limits.FETCH_MISSES_MAX:
                del self.claims[source]

    def distrust(self, peer_key: PeerKey, now: Now) -> None:
        """A peer's answer was bad: ask it again only if there is no other."""
        self._give_up(peer_key)
        self.fetch_at_ms = now.mono_ms + limits.PROBE_INTERVAL_MS

    def follow(self, log_id: Digest, held_index: int) -> None:
        """Follow another log from an index; drop the fetch in flight."""
        self._give_up(None)
        self.log_id, self.held_index, self.certified_index = log_id, held_index, 0
        self.claims.clear()
        self.fetch_at_ms, self.holder, self.insists = None, None, False
