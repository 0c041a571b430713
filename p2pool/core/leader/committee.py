"""A leader's care for the committee: it checks, proposes the next change, hands leadership on.

Intuition: `leader.reconfiguration` decides the change from what the leader sees: who answers its
appends, who is healthy and eligible, who shows which disk. A voter that the chain has put out goes
only once a majority of the other voters has read the same (`voter.voter_standings`), and one such
voter a minute, so that no single endpoint takes a committee apart. The log's own word needs no
confirmation: a banned voter goes.

A leader that is drained, banned, out of the pool or wrong of clock hands leadership to a voter that
is fit. A leader that is out hands it only to a voter that has read the same: otherwise a lying
endpoint could move leadership. If no voter can take it, it leads on.

Invariants: no change before an entry of this term and the last change are committed; after a failed
transfer the leader tries the other voters, then pauses. A participant's silence counts from when it
got its seat. If this leader never heard a voter itself, its silence counts from the log's judgement
that it is unreachable, whoever led then.
Source: docs/design/consensus.md, "The committee"; thesis, 3.10 and 4.
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.feature_levels import pool_level, too_old
from p2pool.core.fsm.requests import setting_in
from p2pool.core.leader.candidates import Candidates
from p2pool.core.leader.reconfiguration import Aims, Candidate, Seat, next_change
from p2pool.core.raft import confchange
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import NodeId
from p2pool.model.log.configuration_steps import step_refusal
from p2pool.model.log.raft import Configuration, Voter
from p2pool.model.states import Intent, Reachability
from p2pool.model.timing import Now

GONE = (Reachability.UNREACHABLE, Reachability.DEAD)


@attrs.define
class CommitteeManager:
    """One leader's care for the committee."""

    context: Context
    eligibility: LeaderEligibility
    since_ms: int
    due_ms: int = 0
    pair_since_ms: int | None = None
    out_since_ms: int | None = None
    seated_ms: dict[Voter, int] = attrs.field(factory=dict)
    candidates: Candidates = attrs.field(factory=Candidates)
    tried: list[NodeId] = attrs.field(factory=list)
    hand_on_due_ms: int = 0
    ineligible_since_ms: int | None = None

    def tick(self, now: Now) -> None:
        """Propose the next change, if one is due and the last one is committed."""
        pool_log = self.context.pool_log
        if pool_log.raft is None:
            return
        if self._hand_on(now) or now.mono_ms < self.due_ms:
            return
        self.due_ms = now.mono_ms + limits.COMMITTEE_INTERVAL_MS
        members = {m.node_id: m.provider for m in self.context.roster.members()}
        now_is = pool_log.configuration
        self._note_seats(now_is, now)
        self.eligibility.unseated = self.candidates.problem(now)
        seats, candidates = self._seats(now), self._candidates(now)
        aims = self._aims(seats, now)
        wanted = next_change(now_is, pool_log.me, seats, candidates, aims, members)
        if wanted is None:
            return
        refused = step_refusal(now_is, wanted)
        if refused is not None:
            for voter in wanted.everybody:
                if voter not in now_is.everybody:
                    self.candidates.failed(voter.node_id, "it names another's store", now)
            return
        try:
            pool_log.change(wanted, now)
        except P2poolError:
            return  # The last change is not committed yet, or we no longer lead: try again later.
        self._note_failures(now_is, wanted, seats, candidates, now)
        self.context.log(
            Level.INFO,
            "the committee changes",
            voters=len(wanted.voters),
            learners=len(wanted.learners),
        )

    # --- what is wanted ---------------------------------------------------------------------------

    def _note_seats(self, now_is: Configuration, now: Now) -> None:
        """Since when each participant has its seat, as this leader has seen it."""
        since = self.seated_ms
        self.seated_ms = {v: since.get(v, now.mono_ms) for v in now_is.everybody}

    def _note_failures(
        self,
        before: Configuration,
        wanted: Configuration,
        seats: dict[Voter, Seat],
        candidates: list[Candidate],
        now: Now,
    ) -> None:
        """A participant that loses its seat for its silence, or for another store, has failed."""
        shown = {c.voter.node_id: c.voter for c in candidates}
        for voter in before.everybody:
            if voter in wanted.voters or voter in wanted.learners:
                continue
            if shown.get(voter.node_id, voter) != voter:
                self.candidates.renewed(voter.node_id, now)
            elif voter in seats and seats[voter].silent:
                self.candidates.failed(voter.node_id, "it did not answer", now)

    def _aims(self, seats: dict[Voter, Seat], now: Now) -> Aims:
        state = self.context.pool_log.state
        named = setting_in(state, "committee") if state is not None else None
        size = int(named) if named is not None else self.context.config.committee_size
        if len(self.context.pool_log.configuration.voters) != 2:
            self.pair_since_ms = None
        elif self.pair_since_ms is None:
            self.pair_since_ms = now.mono_ms
        since_ms = self.pair_since_ms
        waited_ms = now.mono_ms - since_ms if since_ms is not None else 0
        lone = since_ms is not None and (
            waited_ms >= limits.VOTER_REPLACE_AFTER_MS or self._is_left_alone(now)
        )
        out = any(seats[v].out for v in self.context.pool_log.configuration.voters if v in seats)
        if not out:
            self.out_since_ms = None
        elif self.out_since_ms is None:
            self.out_since_ms = now.mono_ms
        waits_ms = now.mono_ms - self.out_since_ms if self.out_since_ms is not None else 0
        return Aims(
            size=size,
            leaving=self.eligibility.ineligible_reason is not None,
            lone=lone,
            joint=pool_level(self.context) >= DISTRUST_LEVEL,
            impatient=waits_ms >= limits.OUT_PATIENCE_MS,
            seed=self._seed(),
        )

    def _is_left_alone(self, now: Now) -> bool:
        """Whether the other one of two is out: with it the log would end, and without a third it
        loses its seat in a minute, out or not."""
        context, standings = self.context, self.eligibility.standings
        others = [v for v in context.pool_log.configuration.voters if v.node_id != context.me]
        out = any(standings.confirmed(v.node_id, now) for v in others)
        return out and not context.roster.reads_out(context.me)

    def _seed(self) -> bytes | None:
        """What no member can foresee when it chooses its node id: the latest certified state."""
        known, log_id = self.context.leader_certificates.known, self.context.pool_log.log_id
        if known is not None and known.log_id == log_id:
            return known.state_digest
        return log_id

    def _seats(self, now: Now) -> dict[Voter, Seat]:
        """What we see of each other participant."""
        raft = self.context.pool_log.raft
        assert raft is not None
        voters = self.context.pool_log.configuration.voters
        out: dict[Voter, Seat] = {}
        for seen in raft.followers():
            voter = seen.voter
            silent = self._silent(seen, now)
            goes = self._banned(voter.node_id) or (
                self._put_out(voter, now)
                if voter in voters
                else self.context.roster.barred(voter.node_id)
            )
            out[voter] = Seat(silent, seen.caught_up and not silent, goes)
        return out

    def _silent(self, seen: confchange.FollowerProgress, now: Now) -> bool:
        """Whether a participant has been silent long enough to replace it, or has taken too long
        to catch up."""
        limit_ms, heard_ms = limits.VOTER_REPLACE_AFTER_MS, seen.heard_ms
        since_ms = max(self.since_ms, self.seated_ms.get(seen.voter, now.mono_ms))
        learns = seen.voter in self.context.pool_log.configuration.learners
        if now.mono_ms - max(since_ms, heard_ms or 0) >= limit_ms:
            return True
        if learns and heard_ms is None and now.mono_ms - since_ms >= limits.LEARNER_ANSWER_MS:
            return True
        if learns and not seen.caught_up and now.mono_ms - since_ms >= limits.LEARNER_CATCH_UP_MS:
            return True
        state = self.context.pool_log.state
        if state is None or heard_ms is not None:
            return False
        judged = state.node(seen.voter.node_id)
        at_ms = max(self.context.clocks.time_ms(now), state.log_time_ms)
        return judged.reachability in GONE and at_ms - judged.changed_at_ms >= limit_ms

    def _put_out(self, voter: Voter, now: Now) -> bool:
        """Whether a voter goes because the chain says so: confirmed, one a minute, and never by a
        leader that is out as well: if all are out, they are all that the log has."""
        if self.context.roster.reads_out(self.context.me):
            return False
        out = self.eligibility.standings.confirmed(voter.node_id, now)
        return out and self._may_remove(now)

    def _may_remove(self, now: Now) -> bool:
        """Whether the last removal, by any leader, is long enough ago."""
        raft, state = self.context.pool_log.raft, self.context.pool_log.state
        assert raft is not None
        assert state is not None
        at_ms = max(self.context.clocks.time_ms(now), state.log_time_ms)
        last_ms = confchange.last_removal_ms(raft.state)
        return last_ms is None or at_ms - last_ms >= limits.REMOVAL_INTERVAL_MS

    def _banned(self, node_id: NodeId) -> bool:
        return self._intent(node_id) is Intent.BANNED

    def _intent(self, node_id: NodeId) -> Intent:
        state = self.context.pool_log.state
        return state.node(node_id).intent if state is not None else Intent.ELIGIBLE

    def _candidates(self, now: Now) -> list[Candidate]:
        """Connected eligible members with a heartbeat: those fit for a seat, and those that have
        one, fit or not, to see which disk they show. Who failed lately waits; who failed often is
        there only if nobody else is."""
        context, found = self.context, []
        last: list[Candidate] = []
        seated = dict.fromkeys(v.node_id for v in context.pool_log.configuration.everybody)
        for peer_key, node_id in context.bindings.connected_members():
            beat = context.heartbeats.newest.get(node_id)
            member = context.roster.member(node_id)
            if beat is None or member is None or not context.roster.eligible(node_id):
                continue
            candidate = Candidate(
                Voter(node_id, peer_key, beat.heartbeat.store_id), member.provider
            )
            if node_id in seated:
                found.append(candidate)
            elif not self._fit(node_id) or too_old(context, node_id) is not None:
                continue
            elif not self.candidates.put_off(node_id, now):
                (last if self.candidates.comes_last(node_id, now) else found).append(candidate)
        if all(c.voter.node_id in seated for c in found):
            found += last
        return sorted(found, key=lambda c: c.voter)

    def _fit(self, node_id: NodeId) -> bool:
        """Whether a member may get a seat."""
        state = self.context.pool_log.state
        if state is None:
            return False
        judged = state.node(node_id)
        return (judged.reachability, judged.intent) == (Reachability.HEALTHY, Intent.ELIGIBLE)

    # --- handing leadership on --------------------------------------------------------------------

    def _hand_on(self, now: Now) -> bool:
        """If we should not lead, hand leadership on; True while that is under way."""
        context, raft = self.context, self.context.pool_log.raft
        assert raft is not None
        if self.eligibility.ineligible_reason is None:
            self.ineligible_since_ms, self.tried = None, []
            return False
        if raft.state.transfer is not None:
            return True
        if self.ineligible_since_ms is None:
            self.ineligible_since_ms = now.mono_ms
        if now.mono_ms < self.hand_on_due_ms:
            return False
        transferees = self._transferees(now)
        for voter in transferees:
            if voter.node_id not in self.tried:
                self.tried.append(voter.node_id)
                return self._transfer(voter, now)
        if transferees:
            self.tried = []
            self.hand_on_due_ms = now.mono_ms + limits.HAND_ON_PAUSE_MS
        waited_ms = now.mono_ms - self.ineligible_since_ms
        alone = len(context.pool_log.configuration.voters) == 1
        stuck = waited_ms >= limits.HAND_ON_PAUSE_MS and not alone
        if context.clocks.wrong is not None and stuck:
            context.log(Level.WARNING, "this node steps down", reason=context.clocks.wrong)
            context.pool_log.resign(now)
            return True
        return False

    def _transferees(self, now: Now) -> list[Voter]:
        """Voters that could lead in our place."""
        context, seats = self.context, self._seats(now)
        transferees = [
            v
            for v in context.pool_log.configuration.voters
            if v in seats and seats[v].caught_up and self._may_lead(v.node_id, now)
        ]
        if context.roster.reads_out(context.me) and self._intent(context.me) is Intent.ELIGIBLE:
            agreeing = self.eligibility.standings.agreeing(context.me, now)
            transferees = [v for v in transferees if v in agreeing]
        return transferees

    def _may_lead(self, node_id: NodeId, now: Now) -> bool:
        context = self.context
        offset_ms = context.clocks.offset_ms(node_id, now) or 0
        agrees = abs(offset_ms) <= limits.CLOCK_SKEW_MAX_MS or context.clocks.wrong is not None
        fit = self._intent(node_id) is Intent.ELIGIBLE and not context.roster.reads_out(node_id)
        return fit and agrees

    def _transfer(self, voter: Voter, now: Now) -> bool:
        try:
            self.context.pool_log.transfer(voter, now)
        except P2poolError:
            return False
        self.context.log(
            Level.INFO,
            "leadership is handed on",
            to=voter.node_id.hex(),
            reason=self.eligibility.ineligible_reason or "this agent ends",
        )
        return True

    def retire(self, now: Now) -> bool:
        """This agent stops: hand leadership to a caught-up voter, preferably one that may lead;
        False if there is none."""
        raft = self.context.pool_log.raft
        assert raft is not None
        if raft.state.transfer is not None:
            return False
        seats = self._seats(now)
        voters = self.context.pool_log.configuration.voters
        ready = [v for v in voters if v in seats and seats[v].caught_up]
        ready.sort(key=lambda v: not self._may_lead(v.node_id, now))
        return bool(ready) and self._transfer(ready[0], now)
