"""A node's own identity while it runs: the doubt in its disk, and a new store if the disk is lost.

Intuition: a voter is (node, peer key, store). A disk that is not what it was cannot be repaired,
but it can stop being that store: the node takes a new store id, forgets its votes, keeps its
entries (an honest, older copy of the log), and starts over as one that never promised anything. The
leader then gives it a seat like any other. So does one without a seat whose term lies beyond that
of a leader whom a quorum certified since: voters that lied have raised it, and no leader could ever
reach it. A node whose disk refuses to write falls silent, except
that a leader hands leadership on.
Source: docs/design/identities.md, "The store".
"""

from collections.abc import Mapping

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import BeginAnew, Level, SendTo
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.voter.peer_promises import WITNESS_KEY, PeerPromises
from p2pool.core.voter.store_check import StoreCheck
from p2pool.model import limits
from p2pool.model.ids import STORE_ID_BYTES, StoreId
from p2pool.model.log.raft import Voter
from p2pool.model.messages.raft import TimeoutNow
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now


class StoreIdentity:
    """One node's knowledge and doubt of itself."""

    def __init__(self, context: Context, replica: FollowerReplica) -> None:
        """Start without anything from the disk; see `restore`."""
        self.context, self.replica = context, replica
        self.peer_promises = PeerPromises(context)
        self.store_check = StoreCheck(context)
        self.renewed: str | None = None
        self.ends = False
        self.beyond: tuple[int, int] | None = None
        self.renewed_ms: int | None = None

    def restore(self, meta: Mapping[bytes, bytes], now: Now) -> None:
        """The log was restored from disk: doubt it."""
        self.peer_promises.restore(meta.get(WITNESS_KEY))
        if self.context.pool_log.raft is not None:
            self.store_check.begin(now)

    def another_log(self, now: Now) -> None:
        """The log was replaced. We promised nothing in it, unless our disk forgot. One that we
        founded just now needs no check; one that we came back to may have missed its own."""
        pool_log = self.context.pool_log
        if pool_log.last_index == 0 or pool_log.resumed:
            self.store_check.begin(now)
        else:
            self.store_check.end()

    def tick(self, now: Now) -> bool:
        """Do what is due; if the disk is lost, start over and return True."""
        self.store_check.tick(now)
        self.peer_promises.tick(now)
        if not self.ends and self.store_check.begins_anew(now):
            self.ends = True
            self.context.log(Level.WARNING, "this agent begins anew: its clock was behind")
            self.context.effects.append(BeginAnew())
        why = self.store_check.lost or self._out_of_reach(now)
        if why is not None:
            self._renew(why, now)
        return why is not None

    def wakeup_ms(self) -> int | None:
        """When something is due next; the record of promises goes to disk with other writes."""
        return self.store_check.wakeup_ms()

    def _out_of_reach(self, now: Now) -> str | None:
        """Why no leader can give this store a seat, if so: `beyond` holds its term, and the time at
        which we noticed. A leader of a later term may be too young for a certificate, so only what
        was certified after that counts."""
        raft, known = self.context.pool_log.raft, self.context.leader_certificates.known
        if raft is None or known is None or known.log_id != raft.state.log_id:
            return None
        term, before = raft.state.hard.term, self.beyond
        if raft.state.is_voter or known.term >= term:
            self.beyond = None
            return None
        if before is None or before[0] != term:
            noticed_ms = self.context.clocks.time_ms(now) + limits.CLOCK_SKEW_MAX_MS
            self.beyond = (term, max(known.time_ms, noticed_ms))
            return None
        soon = self.renewed_ms is not None and now.mono_ms - self.renewed_ms < limits.RENEW_PAUSE_MS
        if soon or known.time_ms <= before[1]:
            return None
        return f"its term {term} is out of the leader's reach, who was certified in {known.term}"

    def discard_log(self, why: str, now: Now) -> bool:
        """Discard a log that differs from the committee's, to fetch it anew as another store,
        because this one may have promised what it does not hold. False: not now."""
        discarded = self.replica.discard(now)
        if discarded:
            self.store_check.lost = why
        return discarded

    def _renew(self, why: str, now: Now) -> None:
        """Become another store."""
        self.store_check.lost = self.beyond = None
        self.renewed_ms = now.mono_ms
        context = self.context
        old = context.config.me
        me = Voter(old.node_id, old.peer_key, StoreId(context.rng.randbytes(STORE_ID_BYTES)))
        context.config = attrs.evolve(context.config, me=me)
        context.pool_log.renew(me, now)
        self.store_check.end()
        self.renewed = f"This data directory starts over as a learner: {why}."
        context.log(
            Level.WARNING,
            "this node replaces its store id",
            why=why,
            old=old.store_id.hex(),
            new=me.store_id.hex(),
        )

    @property
    def note(self) -> str | None:
        """Why no peer heeds this run, or the notice that the store was given up, until the node
        takes part again; else None."""
        if self.store_check.note is not None:
            return self.store_check.note
        return self.renewed if self.context.pool_log.role is RaftRole.IDLE else None

    # --- silence ----------------------------------------------------------------------------------

    def fall_silent(self) -> None:
        """Stop leading at once: the others need not wait for a timeout."""
        raft = self.context.pool_log.raft
        transferee = self._transferee()
        self.context.pool_log.rest()
        if raft is not None and transferee is not None:
            s = raft.state
            told = TimeoutNow(s.log_id, s.hard.term, s.me, transferee)
            self.context.effects.append(SendTo(transferee.peer_key, told))

    def _transferee(self) -> Voter | None:
        """The most caught-up voter, if we lead."""
        raft = self.context.pool_log.raft
        if raft is None:
            return None
        voters = raft.state.configuration.electors
        able = [f for f in raft.followers() if f.voter in voters and f.caught_up]
        return max(able, key=lambda f: f.match_index).voter if able else None
