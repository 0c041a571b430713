"""The leader at work: one object for each term in which this node leads.

Intuition: a leader is a loop over the committed state: judge who is alive, log what is lost, place
what waits, order each node its share, keep the committee whole, and announce that it leads. It
holds nothing that another leader could not recover from the log and the nodes' reports.

Invariants: it decides only on a state that includes its own earlier decisions, so it plans no GPU
twice; applying a proposal checks it again; orders leave only after commit.
Source: docs/design/consensus.md, "What a leader does".
"""

from functools import partial
from random import Random

import attrs

from p2pool.codec.entries import Record, encode_body
from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.tasks import wants_copy
from p2pool.core.inputs import Sender
from p2pool.core.leader import chain_membership, decisions
from p2pool.core.leader.certification import Certification
from p2pool.core.leader.committee import CommitteeManager
from p2pool.core.leader.failure_detector import AskWitness, FailureDetector, Probe, Verdict
from p2pool.core.leader.feature_level import LevelRaiser
from p2pool.core.leader.history_proofs import HistoryProofs
from p2pool.core.leader.orders import Orders
from p2pool.core.leader.reports import Reports
from p2pool.core.scheduler.plan import Plan, plan, why_waiting
from p2pool.core.secrets.placement import reach_of, renewals
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.model import limits
from p2pool.model.errors import Conflict, Malformed, NoLeader, Overloaded
from p2pool.model.ids import NodeId
from p2pool.model.log.entries import NodeChanged, Outcome, ReportApplied
from p2pool.model.log.state_digests import UNKNOWN_DIGEST
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import Ping, ProbeRequested, SuspicionReported
from p2pool.model.states import (
    REACHABILITY,
    AllocationState,
    Reachability,
    ReachabilityEvent,
    advance,
)
from p2pool.model.timing import Now


@attrs.define
class Leader:
    """What one leader remembers while it leads."""

    context: Context
    eligibility: LeaderEligibility
    term: int
    since_ms: int
    failure_detector: FailureDetector
    orders: Orders
    reports: Reports = attrs.field(init=False)
    committee: CommitteeManager = attrs.field(init=False)
    certification: Certification = attrs.field(init=False)
    level_raiser: LevelRaiser = attrs.field(init=False)
    history_proofs: HistoryProofs = attrs.field(init=False)
    decided_index: int = 0
    looked_index: int = -1
    look_due_ms: int = 0
    announced_index: int = -1
    announced_ms: int | None = None
    unwritable: str | None = None

    @classmethod
    def begin(cls, context: Context, eligibility: LeaderEligibility, now: Now) -> "Leader":
        """Begin to lead; judge nobody until heartbeats had time to arrive."""
        rng = Random(context.rng.randrange(2**32))
        grace_ms = max(
            limits.JUDGEMENT_GRACE_MS, context.heartbeats.interval_ms(context.roster.size())
        )
        failure_detector = FailureDetector(rng, now.mono_ms + grace_ms)
        return cls(
            context=context,
            eligibility=eligibility,
            term=context.pool_log.term,
            since_ms=now.mono_ms,
            failure_detector=failure_detector,
            orders=Orders(context),
        )

    def __attrs_post_init__(self) -> None:
        """Make the parts that propose through this leader."""
        self.reports = Reports(self.context, self.orders, self.propose)
        self.committee = CommitteeManager(self.context, self.eligibility, self.since_ms)
        self.certification = Certification(self.context, self.propose, self.since_ms)
        self.level_raiser = LevelRaiser(self.context, self._try)
        self.history_proofs = HistoryProofs(self.context)

    def propose(self, record: Record, now: Now) -> int:
        """Propose a record and return its entry's index. Raises what `Raft.propose` raises, and
        `Conflict` for a decision that no entry has room for: that is a bug of ours, and no reason
        to stop leading."""
        state = self.context.pool_log.state
        assert state is not None
        try:
            kind, body = encode_body(record, state.level)
        except Malformed as error:
            if self.unwritable != error.message:
                self.unwritable = error.message
                kind_of = type(record).__name__
                self.context.log(Level.ERROR, error.message, decision=kind_of)
            raise Conflict(error.message) from error
        return self.context.pool_log.propose(kind, body, now).index

    # --- a step -----------------------------------------------------------------------------------

    def applied(self, index: int) -> None:
        """An entry was applied."""
        self.reports.applied(index)

    def tick(self, now: Now) -> None:
        """Do all that is due."""
        state = self.context.pool_log.state
        assert state is not None
        self._judge(state, now)
        self.certification.tick(now)
        self._decide(state, now)
        if self.certification.fresh:
            self.certification.fresh = False
            self.orders.release(now)
        self.orders.compose_all(now)
        self.orders.give_called(now)
        self.orders.resend(now)
        self.committee.tick(now)
        self.level_raiser.tick(now)
        self.history_proofs.tick(state, now)
        self._announce(state, now)

    def wakeup_ms(self) -> int:
        """When something is due next."""
        dues = [self.look_due_ms, self.failure_detector.wakeup_ms(), self.orders.wakeup_ms()]
        dues += [self._announce_due_ms(), self.certification.wakeup_ms()]
        dues.append(self.history_proofs.wakeup_ms())
        return min(due for due in dues if due is not None)

    # --- who is alive -----------------------------------------------------------------------------

    def _judge(self, state: PoolState, now: Now) -> None:
        context = self.context
        if now.mono_ms >= self.look_due_ms:
            for node_id in decisions.silent(context, state, self.since_ms, now):
                self.suspect(node_id, "no heartbeat came", now)
        members = tuple(
            (node_id, member.provider)
            for _, node_id in context.bindings.connected_members()
            if (member := context.roster.member(node_id)) is not None
        )
        for act in self.failure_detector.tick(members, context.request, now):
            match act:
                case Probe():
                    context.send(act.node_id, Ping(act.request))
                case AskWitness():
                    context.send(act.witness, ProbeRequested(act.request, act.node_id))
                case Verdict():
                    self._unreachable(state, act, now)

    def suspect(self, node_id: NodeId, reason: str, now: Now) -> None:
        """Suspect a missed node, if it is a member that the log does not judge yet."""
        state = self.context.pool_log.state
        assert state is not None
        healthy = state.node(node_id).reachability is Reachability.HEALTHY
        if self.context.clocks.wrong is not None:
            return  # A node with a wrong clock judges nobody.
        if healthy and node_id != self.context.me and self.context.roster.belongs(node_id):
            self.failure_detector.suspect(node_id, reason, now)

    def on_suspicion_reported(self, message: SuspicionReported, sender: Sender, now: Now) -> None:
        """A peer misses a node."""
        if self.failure_detector.may_report(sender.node_id, message.node_id, now):
            self.suspect(message.node_id, message.reason, now)

    def _unreachable(self, state: PoolState, verdict: Verdict, now: Now) -> None:
        node = state.node(verdict.node_id)
        event = ReachabilityEvent.CONFIRMED_UNREACHABLE
        becomes = advance(REACHABILITY, node.reachability, event)
        if becomes is None:
            return  # The log says so already.
        self.context.log(
            Level.WARNING,
            "a node is unreachable",
            node=node.node_id.hex(),
            reason=verdict.reason,
        )
        record = NodeChanged(node.node_id, becomes, node.intent, verdict.reason)
        self._try(record, now)

    # --- decisions --------------------------------------------------------------------------------

    def _decide(self, state: PoolState, now: Now) -> None:
        """Decide once the last decisions are applied, if the state changed or a second passed."""
        if state.applied_index < self.decided_index:
            self.look_due_ms = max(self.look_due_ms, now.mono_ms + limits.DECIDE_INTERVAL_MS)
            return
        if state.applied_index == self.looked_index and now.mono_ms < self.look_due_ms:
            return
        reasons_due = now.mono_ms >= self.look_due_ms
        self.looked_index = state.applied_index
        self.look_due_ms = now.mono_ms + limits.DECIDE_INTERVAL_MS
        context, said_at = self.context, now
        # Deadlines go by what time it is, not by a clock of ours that may be wrong.
        now = attrs.evolve(now, wall_ms=context.clocks.time_ms(now))
        records: list[Record] = [
            *chain_membership.moved(context, state, now),
            *decisions.nodes_changed(context, state, now),
            *decisions.holding(context, state, now),
            *decisions.to_stop(context, state, now),
            *renewals(state),
        ]
        judges = self.failure_detector.judges(now)
        records += decisions.lost(context, state, now, judges)
        if judges:
            records += decisions.undelivered(state, self.orders.undelivered(now), now)
        if not records and _anything_waits(state) and not decisions.adopting(state, now):
            offers = decisions.offers(context, state, self._doubts(now), now)
            whole = decisions.nobody_unheard(context, state)
            at_ms, reach = decisions.log_time_ms(state, now), partial(reach_of, context, state)
            made = plan(state, offers, at_ms, whole=whole, reach=reach)
            records += made.placements
            records += decisions.refused_everywhere(context, state, made.failed)
            if not made.placements and reasons_due:
                records += self._reasons(state, made, said_at)
        for record in records:
            self._try(record, said_at)

    def _doubts(self, now: Now) -> dict[NodeId, str]:
        """Nodes under suspicion, silent to orders, or doubled: they get nothing new."""
        suspected = dict.fromkeys(self.failure_detector.suspicions, "it is under suspicion")
        unheard = dict.fromkeys(self.orders.undelivered(now), "it answers no order")
        # An order may reach the one of the two that obeys nobody, and get stuck.
        duplicate = dict.fromkeys(self.context.duplicates_now(now), "two agents run with its keys")
        return suspected | unheard | duplicate

    def _reasons(self, state: PoolState, made: Plan, now: Now) -> list[ReportApplied]:
        """Why copies wait, if that differs from the logged reason; of one that had a place, also
        why it left that. What members say of their
        machines is in it, so it is rationed like what they report."""
        outcomes: list[Outcome] = []
        rations = self.reports.rations
        for name, reason in made.reasons:
            copy = state.allocation(name)
            if copy is None or (reason := why_waiting(state, copy, reason)) == copy.reason:
                continue
            if len(outcomes) >= limits.REASONS_PER_ENTRY_MAX or rations.spent(now):
                break
            said = Outcome(name, copy.attempt, AllocationState.PENDING, reason)
            if rations.admit_waiting(said, now):
                outcomes.append(said)
        return [ReportApplied(self.context.me, tuple(outcomes))] if outcomes else []

    def _try(self, record: Record, now: Now) -> None:
        """Propose a decision; if that fails now, a later step decides again."""
        try:
            index = self.propose(record, now)
        except (NoLeader, Overloaded, Conflict):
            return
        self.decided_index = max(self.decided_index, index)

    # --- announcements ----------------------------------------------------------------------------

    def _announce_due_ms(self) -> int:
        if self.announced_ms is None:
            return 0
        if self.history_proofs.fresh:
            return 0
        pool_log = self.context.pool_log
        # Where the voters sign the history, whoever is behind waits for that.
        moved = not pool_log.distrusts and self.announced_index != pool_log.commit_index
        wait_ms = limits.ANNOUNCE_CHANGE_INTERVAL_MS if moved else limits.ANNOUNCE_INTERVAL_MS
        return self.announced_ms + wait_ms

    def _announce(self, state: PoolState, now: Now) -> None:
        pool_log = self.context.pool_log
        due = now.mono_ms >= self._announce_due_ms() or self.certification.news(now)
        if not due or pool_log.raft is None:
            return
        certificate, votes = self.certification.to_tell(now)
        self.announced_ms, self.announced_index = now.mono_ms, pool_log.commit_index
        self.history_proofs.fresh = False
        self.context.publish(
            Announcement(
                log_id=pool_log.raft.state.log_id,
                epoch=pool_log.epoch,
                term=self.term,
                commit_index=state.applied_index,
                state_digest=pool_log.digest() or UNKNOWN_DIGEST,
                certificate=certificate,
                votes=votes,
                history=state.history,
                proof=self.history_proofs.proof,
            )
        )


def _anything_waits(state: PoolState) -> bool:
    """Whether any copy may want a place; a system task's may at any time."""
    for task in state.tasks.values():
        if task.stop_requested or task.finished:
            continue
        if task.spec.system:
            return True
        if any(wants_copy(state, task, c.allocation.replica) for c in state.of_task(task.task_id)):
            return True
    return False
