"""The follower replica: how a node without a seat catches up with the pool's log.

Intuition: the fetcher decides whom to ask when, the quarantine what to accept. Accepted entries go
into the same log and the same state as a voter's, through the log's own methods.

Where the voters sign the log's history, that alone makes fetched entries count, whoever gave them,
and a quorum's certificate makes a snapshot count. A leader that gives others is told apart by that,
and is one more peer not to ask for a while.

Invariants: the log does not know the replica. Before it does anything, the replica checks whether
the log was replaced or begun anew; if so, it forgets what it asked and heard about the last one.
Source: docs/design/consensus.md, "Follower replicas".
"""

from random import Random

import attrs

from p2pool.core.follower.fetcher import Ask, Entries, LogFetcher, Whole
from p2pool.core.follower.quarantine import Quarantine
from p2pool.core.log.histories import Diverged
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.log.raft import EntryKind
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.timing import Now


@attrs.define
class FollowerReplica:
    """Fetcher and quarantine of one node, above its log. `followed`: the beginning of the log that
    both belong to; `contradictions`: how often what a quorum signed did not follow on what is held
    here, while no quorum signed that itself."""

    log: PoolLog
    fetcher: LogFetcher
    quarantine: Quarantine
    followed: int = 0
    discarded_ms: int | None = None
    contradictions: int = 0

    @classmethod
    def of(cls, log: PoolLog) -> "FollowerReplica":
        """A replica with its own random source, seeded before the log draws from its own, so that
        fetching does not move elections."""
        fetcher = LogFetcher(Random(log.rng.randrange(2**32)))
        return cls(log, fetcher, Quarantine(fetcher))

    def wakeup_ms(self) -> int | None:
        """When to call `ask` next, on the monotonic clock."""
        self._follow()
        return self.fetcher.wakeup_ms() if self.log.fetches else None

    def want(self, index: int, holder: PeerKey | None, members: int, now: Now) -> None:
        """A caller here waits for what is committed up to an index, and `holder` has it."""
        self._follow()
        holder = self.quarantine.trusted(holder, now)
        self.quarantine.wanted_of(holder)
        self.quarantine.place(self.log.commit_index)
        self.fetcher.want(index, members, now, holder)

    def ask(
        self, request: int, connected: tuple[PeerKey, ...], members: int, now: Now
    ) -> Ask | None:
        """The question to send to a peer now, if any."""
        self._follow()
        if not self.log.fetches:
            return None
        if self.fetcher.insists:
            self.quarantine.drop()  # What waits comes from another peer than we ask next.
        peers = self.quarantine.peers(connected, now)
        self.quarantine.place(self.log.commit_index)
        return self.fetcher.tick(request, peers, members, now)

    def announced(
        self, announcement: Announcement, members: int, sender: PeerKey | None, now: Now
    ) -> None:
        """A certified leader announced how far the log is, and vouches for its history."""
        self._follow()
        self.log.commit_signed()
        if not self.log.fetches or announcement.log_id != self.log.log_id:
            return
        if not self.log.distrusts:
            self.quarantine.vouch(announcement.commit_index, announcement.history)
        self._prove(now)
        self.quarantine.place(self.log.commit_index)
        signed = max(self.log.histories.signed, default=0) if self.log.distrusts else 0
        self.fetcher.announced(announcement, members, now, sender, signed)

    def answered(
        self,
        answer: StateAnswered,
        peer: PeerKey,
        next_request: int,
        leader: PeerKey | None,
        now: Now,
    ) -> Ask | None:
        """Handle a peer's answer; give the next question, if one follows at once. `leader` holds a
        certificate in force, so its entries need no other word."""
        self._follow()
        if not self.log.fetches:
            return None
        self.quarantine.place(self.log.commit_index)
        distrusts = self.log.distrusts
        taken = self.fetcher.answered(answer, peer, next_request, now, leader, from_any=distrusts)
        if isinstance(taken, Entries):
            self.quarantine.add(taken.entries, peer, now)
            if peer == leader and not distrusts:
                self._take_word(peer, now)
            self._prove(now)
            if self.quarantine.waiting is not None and self.fetcher.holder not in (None, peer):
                self.quarantine.drop()  # A caller waits, and `holder` has what it needs.
                self.fetcher.fetch_now(now)
        elif isinstance(taken, Whole):
            good = self.log.adopt_snapshot(taken.snapshot, peer)
            if not good:
                self.fetcher.distrust(peer, now)
        return taken if isinstance(taken, Ask) else None

    def discard(self, now: Now) -> bool:
        """Discard the log, unless this node has a seat, and fetch it anew; not too often."""
        last_ms = self.discarded_ms
        soon = last_ms is not None and now.mono_ms - last_ms < limits.DISCARD_PAUSE_MS
        if soon or not self.log.discard(now):
            return False
        self.discarded_ms = now.mono_ms
        return True

    def _follow(self) -> None:
        """Start over if the log was replaced or begun anew."""
        name = self.log.log_id
        if name is None or self.followed == self.log.beginnings:
            return
        self.followed = self.log.beginnings
        self.fetcher.follow(name, self.log.commit_index)
        self.quarantine.clear()
        self.contradictions = 0

    def _take_word(self, leader: PeerKey, now: Now) -> None:
        """Adopt what a certified leader gave, up to the level from which on the voters sign it."""
        entries = self.quarantine.release()
        begin = 0
        for number, entry in enumerate(entries, start=1):
            if entry.kind == EntryKind.FEATURE_LEVEL or number == len(entries):
                self.log.adopt(entries[begin:number])
                begin = number
            if not self.log.fetches:
                return  # It has a seat now: its leader sends the rest.
            if self.log.distrusts and begin < len(entries):
                self.quarantine.add(entries[begin:], leader, now)
                return

    def _prove(self, now: Now) -> None:
        """Adopt the waiting entries that a history vouches for."""
        log, quarantine = self.log, self.quarantine
        vouched = log.histories.signed if log.distrusts else quarantine.vouched_history
        liars, at = len(quarantine.lied), log.applied_index
        proven = quarantine.prove(log.history, vouched, now)
        if proven:
            log.adopt(proven)
            self.contradictions = 0
        elif len(quarantine.lied) > liars and at > log.histories.proven_index:
            # Nobody has signed what we hold: perhaps that is what is wrong.
            self.contradictions += 1

    def compare(self) -> Diverged | None:
        """Whether what a quorum signed is not what this node holds."""
        found = self.log.histories.contradicted_index
        self.log.histories.contradicted_index = None
        if found is None and self.contradictions >= limits.CONTRADICTIONS_MAX:
            found = self.log.applied_index
        if found is not None:
            self.contradictions = 0
        return Diverged(found) if found is not None else None

    def take_liars(self) -> list[PeerKey]:
        """Who gave something else than what was vouched for, since the last call."""
        found, self.quarantine.lied = self.quarantine.lied, []
        return found
