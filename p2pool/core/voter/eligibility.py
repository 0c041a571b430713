"""Which voters should not lead, and how the others overrule a leader that is out unknowingly.

Intuition: the log says who counts, the chain only who should lead. A voter that is out of the pool
by its own finalized reads, drained or banned, or wrong of clock still serves like any other: it
follows, acknowledges, votes. But it leaves campaigning to the others for half a minute without a
leader; if nobody leads by then, nobody else could, and it does. So a log whose voters are all out
goes on.

A leader that is out hands leadership on (`leader.committee`). One whose endpoint is stuck or lies
does not know that it is out: once a majority of the other voters has read so, and for half a
minute, one of them campaigns although it hears a leader. In a committee of two that takes the
leader's own vote, which it gives if its endpoint shows no new block: then it cannot know. If the
two read opposite things, nobody can tell which endpoint lies: this node says so and does nothing.

A leader that a quorum has not certified for three minutes gets nothing committed: it cannot, or it
withholds what the voters would sign. However often it is heard, it then keeps no other voter from
being elected, and its followers campaign over it. Only a certificate or another leader starts the
count anew: a new term or a silence does not, since the leader itself could bring that about.

Invariants: nothing here keeps a voter from following, acknowledging or voting; reluctance ends by
itself; a voter overrules a leader at most every ten seconds, through PreVote.
Source: docs/design/consensus.md, "Who should lead".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.raft.raft import Raft
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.log.raft import Voter
from p2pool.model.states import ChainStanding, Intent, RaftRole
from p2pool.model.timing import Now


@attrs.define
class LeaderEligibility:
    """One voter's part in who leads. `unseated`: which members this leader offers seats in vain;
    `followed`: the log, the leader that we followed last, and the time of its last certificate;
    `unproven_ms`: for how long we have followed it since, up to `looked_ms`."""

    context: Context
    standings: VoterStandings
    ineligible_reason: str | None = None
    disputed: str | None = None
    unseated: str | None = None
    overrule_due_ms: int | None = None
    followed: tuple[Digest, Voter, int] | None = None
    unproven_ms: int = 0
    looked_ms: int = 0

    def tick(self, now: Now) -> None:
        """Check ourselves, and the leader that we follow."""
        pool_log = self.context.pool_log
        if not pool_log.leads:
            self.unseated = None
        if pool_log.raft is None:
            return
        self.ineligible_reason = self._why_ineligible()
        others = len(pool_log.configuration.electors) > 1
        pool_log.raft.state.patience_ms = (
            limits.RELUCTANT_MS if self.ineligible_reason is not None and others else 0
        )
        pool_log.raft.state.leader_out = self._leader_may_be_out(now)
        pool_log.raft.state.leader_unproven = self._leader_is_unproven(pool_log.raft, now)
        self._look_at_leader(now)

    def wakeup_ms(self) -> int | None:
        """Nothing wakes a node for this alone: every step checks it."""
        return None

    def _why_ineligible(self) -> str | None:
        """Why this node should not lead, or None."""
        context = self.context
        if context.status.silent:
            return "another agent uses its node key"
        if context.roster.reads_out(context.me):
            return "the chain has put it out of the pool"
        state = context.pool_log.state
        intent = state.node(context.me).intent if state is not None else Intent.ELIGIBLE
        if intent is not Intent.ELIGIBLE:
            return f"it is {intent.name.lower()}"
        return context.clocks.wrong

    def _leader_may_be_out(self, now: Now) -> bool:
        """Whether a voter may campaign over the leader, by our own reading of the chain."""
        context = self.context
        raft = context.pool_log.raft
        leader = raft.state.leader if raft is not None else None
        if leader is None:
            return False
        if leader.node_id != context.me:
            return self.standings.out_since_ms(leader.node_id) is not None
        # The other of two needs our vote, and cannot make us blind: only our own endpoint can.
        chain, patience_ms = context.clocks.chain, limits.LEADER_OUT_PATIENCE_MS
        return self._has_the_last_word(leader) and chain.stands_still(patience_ms, now)

    def _leader_is_unproven(self, raft: Raft, now: Now) -> bool:
        """Whether the leader that we follow has had no quorum's certificate for long."""
        s, known, time_ms = raft.state, self.context.leader_certificates.known, 0
        passed_ms, self.looked_ms = now.mono_ms - self.looked_ms, now.mono_ms
        if s.leader is None:
            return False  # The time of a leader that is gone, or silent, does not count.
        if known is not None and (known.log_id, known.leader) == (s.log_id, s.leader):
            time_ms = known.time_ms
        self.unproven_ms += passed_ms
        followed = self.followed
        if followed is None or followed[:2] != (s.log_id, s.leader) or followed[2] < time_ms:
            self.followed, self.unproven_ms = (s.log_id, s.leader, time_ms), 0
        return s.role is RaftRole.FOLLOWER and self.unproven_ms > limits.LEADER_UNPROVEN_MS

    def _has_the_last_word(self, leader: Voter) -> bool:
        """Whether the others are no quorum without the leader: it is one of two."""
        committee = self.context.pool_log.configuration
        others = [v.store_id for v in committee.electors if v != leader]
        return bool(others) and not committee.has_quorum(others)

    def _look_at_leader(self, now: Now) -> None:
        """Overrule a leader once it is certainly out."""
        context = self.context
        raft = context.pool_log.raft
        assert raft is not None
        leader, self.disputed = raft.state.leader, None
        follows = raft.state.role is RaftRole.FOLLOWER
        if self.ineligible_reason is not None or leader is None or not follows:
            return
        if raft.state.leader_unproven:
            self._overrule("no quorum certifies the leader: overruling it", now)
            return
        since_ms = self.standings.out_since_ms(leader.node_id)
        if since_ms is None or leader.node_id == context.me:
            self.overrule_due_ms = None
            return
        if now.mono_ms - since_ms < limits.LEADER_OUT_PATIENCE_MS:
            return
        if self._has_the_last_word(leader):
            word = self.standings.own_answer(leader.node_id, now)
            if word is ChainStanding.IN:
                self.disputed = (
                    f"The chain endpoints disagree whether the leader {leader.node_id.hex()} is in "
                    "the pool, and there is no third voter: compare the endpoints of both."
                )
            if word in (None, ChainStanding.IN):
                return
        if self.standings.confirmed(leader.node_id, now):
            self._overrule("the leader is out of the pool: overruling it", now)

    def _overrule(self, why: str, now: Now) -> None:
        # Several voters get here at once: a random delay for each keeps the vote from splitting.
        if self.overrule_due_ms is None:
            spread_ms = limits.COMMITTEE_INTERVAL_MS
            self.overrule_due_ms = now.mono_ms + self.context.rng.randrange(spread_ms)
        if now.mono_ms < self.overrule_due_ms:
            return
        self.overrule_due_ms = now.mono_ms + limits.HAND_ON_PAUSE_MS
        self.context.log(Level.WARNING, why)
        self.context.pool_log.force_campaign(now)
