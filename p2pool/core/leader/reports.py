"""Reports: what nodes say of their copies, logged and then acknowledged.

Intuition: a node repeats an outcome until the leader acknowledges it: it is in the log, or does not
matter. The leader proposes what would change the state and acknowledges it once its entry is
applied, whatever came of it; the rest it acknowledges at once.

What a node says costs all replicas an entry, and it may say whatever it likes as often as it likes:
so what its reports change in the log is rationed, and a mere reason more than a state. What finds
no ration is not acknowledged, so the node repeats it, or by then something newer.

After a recovery a node also claims copies that this log does not know: the leader adopts them, or
leaves them running if it cannot; it stops only copies that this log knows and does not want.

Invariants: a report counts only under a token of this term, so the node has obeyed us since we
lead; an outcome has at most one proposal in flight; nobody's claims cost a signature check where
they could change nothing.
Source: docs/design/tasks.md, "Orders and reports".
"""

from collections.abc import Callable

import attrs

from p2pool.codec.cbor.structs import lowest_level
from p2pool.core.context import Context
from p2pool.core.fsm.adoption import ClaimVerdict, judge_claim
from p2pool.core.fsm.apply import GONE, REPORTABLE
from p2pool.core.fsm.order_room import order_bytes
from p2pool.core.fsm.permissions import may_start, never
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.tasks import follows, should_run
from p2pool.core.leader.orders import Orders
from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.access.verdicts import Validity
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.errors import P2poolError
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import NodeId, Token
from p2pool.model.log.entries import Adopted, Outcome, ReportApplied
from p2pool.model.messages.work import Desired, Report, ReportAnswered, Stop
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    StartRefusal,
)
from p2pool.model.timing import Now

Propose = Callable[[ReportApplied | Adopted, Now], int]
"""Proposes a record and returns its entry's index; raises what `Raft.propose` raises."""


NO_NODE = b""
"""For whom the leader's own words count."""


@attrs.frozen
class Waiting:
    """A node's outcomes on their way into the log."""

    node_id: NodeId
    token: Token
    outcomes: tuple[Outcome, ...]


@attrs.define
class Rations:
    """How often reports, and the leader's own words on copies that wait, may change the log.

    `changes`: outcomes of each node, its ends among them, and its claims by what they hold;
    `reasons`: those of them that change nothing but a reason; `of_copy`: the reasons of each copy,
    by the seconds that one has to last.
    """

    changes: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.REPORT_CHANGES_PER_S, limits.REPORT_CHANGES_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    reasons: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.REPORT_REASONS_PER_S, limits.REPORT_REASONS_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    of_copy: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            1, limits.REASON_LASTS_S * limits.REASONS_AT_ONCE, limits.STATE_COPIES_MAX
        )
    )

    def admit(self, node_id: NodeId, o: Outcome, now: Now, *, moves: bool) -> bool:
        """Whether the log takes a node's outcome now. `moves`: it changes more than a reason."""
        at_ms = now.mono_ms
        if not self.changes.affords(node_id, at_ms):
            return False
        if not moves and not self.reasons.affords(node_id, at_ms):
            return False
        if not moves and not self._admits_reason(o, at_ms):
            return False
        self.reasons.charge(node_id, at_ms, 0 if moves else 1)
        self.changes.charge(node_id, at_ms, 1)
        return True

    def _admits_reason(self, o: Outcome, at_ms: int) -> bool:
        return self.of_copy.admit(str(o.allocation).encode(), at_ms, limits.REASON_LASTS_S)

    def spent(self, now: Now) -> bool:
        """Whether the log takes none of the leader's own words now on why copies wait."""
        return not self.changes.affords(NO_NODE, now.mono_ms)

    def admit_waiting(self, o: Outcome, now: Now) -> bool:
        """Whether the log takes such a word on this copy."""
        if self.spent(now) or not self._admits_reason(o, now.mono_ms):
            return False
        self.changes.charge(NO_NODE, now.mono_ms, 1)
        return True

    def admit_claim(self, node_id: NodeId, claim: Desired, now: Now) -> bool:
        """Whether the log takes a copy that a node claims: its submission comes with it."""
        cost = 1 + order_bytes(claim.signed) // 1024
        return self.changes.admit(node_id, now.mono_ms, cost)


@attrs.define
class Reports:
    """The reports to one leader in one term."""

    context: Context
    orders: Orders
    propose: Propose
    waiting: dict[int, Waiting] = attrs.field(factory=dict)
    adopting: dict[Stop, int] = attrs.field(factory=dict)
    rations: Rations = attrs.field(factory=Rations)

    def take(
        self, node_id: NodeId, report: Report, signers: tuple[Signers | None, ...], now: Now
    ) -> None:
        """Handle a node's report; `signers` are those of its claims. Answers end the repeating."""
        state = self.context.pool_log.state
        assert state is not None
        if not self._counts(report.token):
            self.orders.call_for(node_id, now)
            return
        under_way = {
            o: None for w in self.waiting.values() if w.node_id == node_id for o in w.outcomes
        }
        settled: list[Outcome] = []
        news: list[Outcome] = []
        let_be = self._claims(state, node_id, report, signers, now)
        for outcome in report.outcomes:
            if Stop(outcome.allocation, outcome.attempt) in let_be:
                continue
            if outcome.refused is not StartRefusal.NONE and state.level < DISTRUST_LEVEL:
                continue  # A log of the first level cannot say so, and its nodes do not.
            self._look_after(state, node_id, outcome, now)
            if not changes(state, node_id, outcome):
                settled.append(outcome)
            elif outcome not in under_way:
                news.append(outcome)
        if settled:
            self.context.send(node_id, ReportAnswered(report.token, tuple(settled)))
        if news and len(self.waiting) < limits.PROPOSALS_IN_FLIGHT_MAX:
            self._log(state, node_id, report.token, news, now)

    def _log(
        self, state: PoolState, node_id: NodeId, token: Token, news: list[Outcome], now: Now
    ) -> None:
        """Propose what the node's ration allows, and one entry holds; it repeats the rest."""
        outcomes: list[Outcome] = []
        room_bytes = limits.ENTRY_MAX_BYTES - limits.OUTCOME_MAX_BYTES
        for outcome in news:
            copy = state.allocation(outcome.allocation)
            stray = (outcome.allocation, outcome.attempt) in state.strays
            moves = stray or copy is None or copy.state is not outcome.state
            room_bytes -= _size(outcome)
            if room_bytes < 0 or not self.rations.admit(node_id, outcome, now, moves=moves):
                continue
            outcomes.append(outcome)
        if not outcomes:
            return
        try:
            index = self.propose(ReportApplied(node_id, tuple(outcomes)), now)
        except P2poolError:
            return  # We no longer lead, or too much is in flight: the node will repeat it.
        self.waiting[index] = Waiting(node_id, token, tuple(outcomes))

    def needs_signers(self, report: Report) -> bool:
        """Whether it matters who signed a report's claims: only a log that continues another adopts
        copies, and only on a report that counts. To recover accounts is what costs most."""
        return bool(report.claims) and self._counts(report.token) and self._adopts()

    def applied(self, index: int) -> None:
        """An entry was applied: acknowledge its outcomes."""
        self.adopting = {k: i for k, i in self.adopting.items() if i > index}
        done = self.waiting.pop(index, None)
        if done is not None:
            self.context.send(done.node_id, ReportAnswered(done.token, done.outcomes))

    def _claims(
        self,
        state: PoolState,
        node_id: NodeId,
        report: Report,
        signers: tuple[Signers | None, ...],
        now: Now,
    ) -> dict[Stop, None]:
        """Propose adoptions for claims; return the claims that the state does not judge."""
        let_be: dict[Stop, None] = {}
        for number, claim in enumerate(report.claims):
            name = Stop(claim.allocation, claim.attempt)
            found = judge_claim(
                state, node_id, claim.allocation, claim.attempt, claim.signed, claim.gpus
            )
            if found is ClaimVerdict.KNOWN:
                continue
            let_be[name] = None
            by = signers[number] if number < len(signers) else None
            if found is ClaimVerdict.ADOPT and name not in self.adopting and by is not None:
                self._adopt(node_id, name, claim, by, now)
        return let_be

    def _adopt(self, node_id: NodeId, name: Stop, claim: Desired, by: Signers, now: Now) -> None:
        """Propose an adoption; only a log that continues another has any."""
        if not self._adopts():
            return
        context = self.context
        roster, state = context.roster.latest, context.pool_log.state
        at_s = now.wall_ms // 1000
        pool = context.config.pool
        if state is None or lowest_level(claim.signed) > state.level:
            return  # The log has no words for it yet: it claims again.
        # No follower would append what can never be right: the leader would lose its office for it.
        if never(pool, claim.signed, by) or may_start(pool, roster, state, claim, by, at_s):
            return
        judged_at = None
        if claim.signed.by_contract:
            # At a block of now: what an owner of long ago signed is no reason to adopt anything.
            found = context.verdicts.now(claim.signed, node_id, now)
            if found is None or found.validity is not Validity.VALID:
                return  # It runs on, and claims again.
            judged_at = found.block
        if not self.rations.admit_claim(node_id, claim, now):
            return  # It claims again.
        record = Adopted(
            node_id=node_id,
            allocation=claim.allocation,
            attempt=claim.attempt,
            signed=claim.signed,
            gpus=claim.gpus,
            signer=by.signer,
            grantor=by.grantor,
            judged_at=judged_at,
        )
        try:
            self.adopting[name] = self.propose(record, now)
        except P2poolError:
            return  # It claims again.

    def _adopts(self) -> bool:
        root = self.context.pool_log.root
        return root is not None and root.previous is not None

    def _counts(self, token: Token) -> bool:
        pool_log = self.context.pool_log
        return Token(pool_log.epoch, pool_log.term, 0) <= token <= self.orders.token()

    def _look_after(self, state: PoolState, node_id: NodeId, o: Outcome, now: Now) -> None:
        """Order a copy to stop that should not run on this node."""
        if o.state in TERMINAL_ALLOCATION_STATES:
            self.orders.gone(node_id, Stop(o.allocation, o.attempt))
            return
        copy = state.allocation(o.allocation)
        current = copy is not None and copy.node_id == node_id and copy.attempt == o.attempt
        stray = (o.allocation, o.attempt) in state.strays
        kept = current and copy is not None and (not copy.terminal or should_run(state, copy))
        if not stray and not kept:
            self.orders.refuse(node_id, Stop(o.allocation, o.attempt), now)


def _size(o: Outcome) -> int:
    """An upper bound on its bytes in an entry."""
    texts = len(o.reason.encode()) + len(o.image_digest.encode())
    return limits.OUTCOME_MAX_BYTES + texts


def changes(state: PoolState, node_id: NodeId, o: Outcome) -> bool:
    """Whether an outcome would change the current state."""
    stray = state.strays.get((o.allocation, o.attempt))
    if stray is not None:
        return stray.node_id == node_id and o.state in GONE
    copy = state.allocation(o.allocation)
    if copy is None or copy.attempt != o.attempt or copy.node_id != node_id:
        return False
    if o.state not in REPORTABLE or not follows(state, copy, o.state):
        return False
    said = bool(o.reason) and o.reason != copy.reason and copy.state is not AllocationState.STOPPING
    return o.state is not copy.state or said
