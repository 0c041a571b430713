"""The follower replica: how a node that is no participant catches up with the pool's log.

Intuition: whom to ask when is decided by the fetcher, what may be taken by the quarantine. What is
taken goes into the same log and the same state as a voter's, through the log's own methods.

Invariants: the log knows no follower. The replica notices by itself, before it does anything, that
the log is another one or was begun anew; then nothing counts that was asked or said of the last.
Source: docs/design/consensus.md, "Follower replicas".
"""

from random import Random

import attrs

from p2pool.core.follower.fetcher import Ask, Entries, LogFetcher, Whole
from p2pool.core.follower.quarantine import Quarantine
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.timing import Now


@attrs.define
class FollowerReplica:
    """Fetcher and quarantine of one node, above its log. `followed`: which beginning of the log
    both belong to."""

    log: PoolLog
    fetcher: LogFetcher
    quarantine: Quarantine
    followed: int = 0
    discarded_ms: int | None = None

    @classmethod
    def of(cls, log: PoolLog) -> "FollowerReplica":
        """A replica of its own chance, drawn before the log draws any, so that fetching does not
        move elections."""
        fetcher = LogFetcher(Random(log.rng.randrange(2**32)))
        return cls(log, fetcher, Quarantine(fetcher))

    def wakeup_ms(self) -> int | None:
        """When `ask` is wanted next, on the monotonic clock."""
        self._follow()
        return self.fetcher.wakeup_ms() if self.log.fetches else None

    def want(self, index: int, holder: PeerKey | None, members: int, now: Now) -> None:
        """Somebody here waits for what is committed up to an index, which `holder` has."""
        self._follow()
        self.quarantine.wanted_of(holder)
        self.quarantine.place(self.log.commit_index)
        self.fetcher.want(index, members, now, holder)

    def ask(
        self, request: int, connected: tuple[PeerKey, ...], members: int, now: Now
    ) -> Ask | None:
        """The question to put to a peer now, if any."""
        self._follow()
        if not self.log.fetches:
            return None
        if self.fetcher.insists:
            self.quarantine.drop()  # What waits is of another than who is asked next.
        peers = self.quarantine.peers(connected, now)
        self.quarantine.place(self.log.commit_index)
        return self.fetcher.tick(request, peers, members, now)

    def announced(
        self, announcement: Announcement, members: int, sender: PeerKey | None, now: Now
    ) -> None:
        """An announcement of a certified leader: what it vouches for, and how far it is."""
        self._follow()
        if not self.log.fetches or announcement.log_id != self.log.log_id:
            return
        self.quarantine.vouch(announcement.commit_index, announcement.history)
        self._prove(now)
        self.quarantine.place(self.log.commit_index)
        self.fetcher.announced(announcement, members, now, sender)

    def answered(
        self,
        answer: StateAnswered,
        peer: PeerKey,
        next_request: int,
        leader: PeerKey | None,
        now: Now,
    ) -> Ask | None:
        """A peer's answer; the next question, where one follows at once. `leader`: by a certificate
        in force, whose own word needs no other."""
        self._follow()
        if not self.log.fetches:
            return None
        self.quarantine.place(self.log.commit_index)
        taken = self.fetcher.answered(answer, peer, next_request, now, leader)
        if isinstance(taken, Entries):
            self.quarantine.add(taken.entries, peer, now)
            if peer == leader:
                self.log.adopt(self.quarantine.release())
            self._prove(now)
            if self.quarantine.waiting is not None and self.fetcher.holder not in (None, peer):
                self.quarantine.drop()  # Somebody waits, and another can vouch for it.
                self.fetcher.fetch_now(now)
        elif isinstance(taken, Whole) and not self.log.adopt_snapshot(taken.snapshot, peer):
            self.fetcher.distrust(peer, now)
        return taken if isinstance(taken, Ask) else None

    def discard(self, now: Now) -> bool:
        """Throw away what is held, being no participant, and fetch it anew; not too often."""
        last_ms = self.discarded_ms
        soon = last_ms is not None and now.mono_ms - last_ms < limits.DISCARD_PAUSE_MS
        if soon or not self.log.discard(now):
            return False
        self.discarded_ms = now.mono_ms
        return True

    def _follow(self) -> None:
        """Another log, or the same one anew: nothing that was said of the last one counts."""
        name = self.log.log_id
        if name is None or self.followed == self.log.beginnings:
            return
        self.followed = self.log.beginnings
        self.fetcher.follow(name, self.log.commit_index)
        self.quarantine.clear()

    def _prove(self, now: Now) -> None:
        """Take what waits, as far as somebody vouches for it."""
        proven = self.quarantine.prove(self.log.history, now)
        if proven:
            self.log.adopt(proven)
