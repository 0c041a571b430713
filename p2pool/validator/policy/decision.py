"""Decides what to do: a pure function of a policy, findings, history, budget and time.

Intuition: findings come in one by one and are weighed all together, each time anew. What was done
already is in the history, so the same call a second later decides nothing new, and a process that
starts again decides what it had decided.

Invariants, each held by a test over random histories: nothing follows for a node, a stake or a
price of gas that nobody knows; no finding leads to the same kind of act twice; the acts of any 24
hours reserve no more than the budget; a stake is slashed only where as many validators agree as
the policy asks for, and for what is their word alone only where none contradicts; a dry run decides
what a real one would.
Source: docs/validators.md.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

import attrs

from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.acts import STANDING, Act, ActKind, TakenAct, sorted_ids
from p2pool.validator.policy.agreement import Agreement, agreement_on
from p2pool.validator.policy.findings import (
    FAILURES,
    WHOLE_PPM,
    Finding,
    FindingKind,
    WrongPiece,
)
from p2pool.validator.policy.history import DAY_MS, Budget, History, NodeStanding
from p2pool.validator.policy.rules import HARD, SOFT, Policy, Rule
from p2pool.validator.policy.transitions import TRANSITIONS, Verdict

URGENCY = (
    *(ActKind.SLASH, ActKind.TAKE_BACK, ActKind.REMOVE, ActKind.INVALIDATE),
    ActKind.VALIDATE,
)
"""Who is put out can take its stake away: so a slash goes first. Work can be taken back for some
time only."""


UNHEARD = "nobody says now what other validators found"


@attrs.frozen
class Held:
    """An act that would follow, and why it does not now."""

    kind: ActKind
    node_id: NodeId
    why: str


@attrs.frozen
class Decision:
    """What to do now, in this order, and what is held back."""

    acts: tuple[Act, ...] = ()
    held: tuple[Held, ...] = ()


@attrs.frozen
class _Wanted:
    """An act that the findings call for, before budget and quiet hours have a word."""

    kind: ActKind
    node_id: NodeId
    provider: Address
    findings: tuple[Finding, ...]
    amount_wei: int = 0
    piece: WrongPiece | None = None

    @property
    def order(self) -> tuple[int, int, bytes]:
        """The most urgent first, then the oldest."""
        return URGENCY.index(self.kind), min(one.at_ms for one in self.findings), self.node_id


def decide(
    policy: Policy, findings: Iterable[Finding], history: History, budget: Budget, now_ms: int
) -> Decision:
    """What follows from findings now. `findings`: of all validators; others' only confirm, and have
    to be of accounts with the role, with evidence that was checked."""
    decider = _Decider(policy, history, now_ms, history.counted(policy.dry_run))
    wanted: list[_Wanted] = []
    for node_id, of_node in sorted(_by_node(policy, findings, now_ms).items()):
        wanted += decider.of_node(node_id, of_node)
    return _affordable(decider, sorted(wanted, key=lambda one: one.order), budget)


def _by_node(
    policy: Policy, findings: Iterable[Finding], now_ms: int
) -> dict[NodeId, list[Finding]]:
    """Findings that count, oldest first, each once; what is too old or of the future does not."""
    oldest_ms = now_ms - 1000 * policy.policy.finding_age_max_s
    fresh = {
        # By validator too: nobody takes a finding away from another by naming it as its own.
        (one.validator, one.finding_id): one
        for one in sorted(findings, key=lambda one: (one.at_ms, one.finding_id, one.validator))
        if oldest_ms <= one.at_ms <= now_ms and one.kind is not FindingKind.INCONCLUSIVE
    }
    # Of each validator the newest: nobody's flood takes the place of another's word.
    newest: dict[tuple[NodeId, Address], deque[Finding]] = defaultdict(
        lambda: deque(maxlen=limits.ACT_FINDINGS_MAX)
    )
    for one in fresh.values():
        newest[one.node_id, one.validator].append(one)
    found: dict[NodeId, list[Finding]] = defaultdict(list)
    for (node_id, _), listed in newest.items():
        found[node_id] += listed
    for listed_all in found.values():
        listed_all.sort(key=lambda one: (one.at_ms, one.finding_id, one.validator))
    return found


@attrs.define
class _Decider:
    """One decision in the making."""

    policy: Policy
    history: History
    now_ms: int
    taken: Sequence[TakenAct]
    held: list[Held] = attrs.field(factory=list)

    def of_node(self, node_id: NodeId, findings: Sequence[Finding]) -> list[_Wanted]:
        """What one node's findings call for."""
        standing = self.history.standing(node_id, self.policy.dry_run)
        provider = self.history.node(node_id).provider
        if standing is NodeStanding.UNKNOWN:
            return []
        if provider is None:
            # Of a node that is gone: whose it was when we looked last.
            ours = [one for one in findings if one.validator == self.history.me]
            provider = ours[-1].provider if ours else None
        # What was found of another provider's node says nothing about this one's.
        bound = [one for one in findings if one.provider == provider]
        mine = [one for one in bound if one.validator == self.history.me]
        failures = self._triggered(
            mine, agreement_on(self.policy, bound, self.history.me, self.now_ms)
        )
        wanted = self._transition(node_id, standing, mine, failures)
        slash = self._slash(node_id, bound, failures)
        return [
            *(one for one in (*slash, *wanted) if self._is_new(one)),
            *self._taken_back(node_id, mine),
        ]

    # --- what the rules make of it --------------------------------------------------------------

    def _triggered(
        self, mine: Sequence[Finding], others: Agreement
    ) -> dict[FindingKind, tuple[Finding, ...]]:
        """By kind: our failures that are as many as the kind's rule asks for."""
        found: dict[FindingKind, tuple[Finding, ...]] = {}
        for kind in FAILURES:
            rule = self.policy.rules.of(kind)
            recent = self._recent((one for one in mine if one.kind is kind), rule.within_s)
            if len(recent) < rule.times or not recent:
                continue
            if kind is FindingKind.OFFLINE and others.contradicting:
                # Others reach it: it may be our own network that is down.
                self._hold(ActKind.INVALIDATE, recent[0].node_id, "other validators reach it")
                continue
            if kind is FindingKind.OFFLINE and recent[0].node_id in self.history.unheard:
                self._hold(ActKind.INVALIDATE, recent[0].node_id, UNHEARD)
                continue
            if kind is FindingKind.REFUSED and not others.answered:
                # All its devices may be leased, and then it owes an answer to nobody.
                self._hold(ActKind.INVALIDATE, recent[0].node_id, "it answers nobody else either")
                continue
            found[kind] = recent
        return found

    def _recent(self, findings: Iterable[Finding], within_s: int) -> tuple[Finding, ...]:
        oldest_ms = self.now_ms - 1000 * within_s
        return tuple(one for one in findings if one.at_ms >= oldest_ms)

    def _transition(
        self,
        node_id: NodeId,
        standing: NodeStanding,
        mine: Sequence[Finding],
        failures: Mapping[FindingKind, tuple[Finding, ...]],
    ) -> list[_Wanted]:
        """The act of the table, with the findings that it answers."""
        act_of = {SOFT: ActKind.INVALIDATE, HARD: ActKind.REMOVE}
        acting = {degree: self._unspent(failures, act, degree) for degree, act in act_of.items()}
        verdict, answered = Verdict.PASSES, self._passes(node_id, standing, mine)
        for degree in (SOFT, HARD):
            if acting[degree] and TRANSITIONS[standing, Verdict(degree)] is not None:
                verdict, answered = Verdict(degree), acting[degree]
        if verdict is Verdict.PASSES and acting[SOFT] and answered:
            # It had no validation to lose: what it failed before is made good as if it had.
            enough = len(answered) >= self.policy.validate.passes_after_act
            answered = (*acting[SOFT], *answered) if enough else ()
        kind = TRANSITIONS[standing, verdict]
        if kind is None or not answered:
            return []
        return [_Wanted(kind, node_id, answered[0].provider, answered)]

    def _unspent(
        self, failures: Mapping[FindingKind, tuple[Finding, ...]], act: ActKind, degree: str = ""
    ) -> tuple[Finding, ...]:
        """Of failures that led to no such act yet: those that are as many as their kind's rule
        asks for. `degree`: of rules that act so; empty: of those that slash."""
        spent = self._spent(act)
        if act is ActKind.INVALIDATE:
            # A failure that a validation names was made good by it.
            spent |= self._spent(ActKind.VALIDATE)
        found: list[Finding] = []
        for kind, listed in failures.items():
            rule = self.policy.rules.of(kind)
            fresh = [one for one in listed if one.finding_id not in spent]
            meant = rule.act == degree if degree else rule.penalty_percent > 0
            if meant and len(fresh) >= rule.times:
                found += fresh
        return tuple(found)

    def _passes(
        self, node_id: NodeId, standing: NodeStanding, mine: Sequence[Finding]
    ) -> tuple[Finding, ...]:
        """Passes that are enough; none where they are not."""
        rule, spent = self.policy.validate, self._spent(ActKind.VALIDATE)
        failed_ms = max((one.at_ms for one in mine if one.is_failure), default=-1)
        counted: list[Finding] = []
        for one in self._recent(mine, rule.within_s):
            passed = one.kind is FindingKind.PASSED and one.finding_id not in spent
            if not passed or one.at_ms <= failed_ms:
                continue
            if not counted or one.at_ms - counted[-1].at_ms >= 1000 * rule.apart_s:
                counted.append(one)
        ours = standing is NodeStanding.INVALIDATED or self._was_removed(node_id)
        needed = rule.passes_after_act if ours else rule.passes
        return tuple(counted) if len(counted) >= needed else ()

    def _was_removed(self, node_id: NodeId) -> bool:
        kinds = [
            one.act.kind
            for one in self.taken
            if one.act.node_id == node_id and one.act.kind in STANDING
        ]
        return bool(kinds) and kinds[-1] is ActKind.REMOVE

    def _taken_back(self, node_id: NodeId, mine: Sequence[Finding]) -> list[_Wanted]:
        """Each piece that we found wrong, once: as many units of it as were not done."""
        if not self.policy.work.take_back:
            return []
        spent = self._spent(ActKind.TAKE_BACK)
        return [
            _Wanted(
                kind=ActKind.TAKE_BACK,
                node_id=node_id,
                provider=one.provider,
                findings=(one,),
                piece=one.piece,
            )
            for one in mine
            if one.piece is not None and one.finding_id not in spent
        ]

    # --- slashes --------------------------------------------------------------------------------

    def _slash(
        self,
        node_id: NodeId,
        bound: Sequence[Finding],
        failures: Mapping[FindingKind, tuple[Finding, ...]],
    ) -> list[_Wanted]:
        """The slash that the failures call for, if as many agree as the policy asks for."""
        answered = self._unspent(failures, ActKind.SLASH)
        if not answered:
            return []
        agreed = agreement_on(self.policy, bound, self.history.me, self.now_ms)
        proven = tuple(one for one in answered if one.proven)
        if proven and 1 + len(agreed.agreeing) >= self.policy.slash.validators_proven:
            return self._priced(node_id, proven)
        if node_id in self.history.unheard:
            self._hold(ActKind.SLASH, node_id, UNHEARD)
            return []
        if agreed.contradicting:
            self._hold(ActKind.SLASH, node_id, "another validator found that it passes")
            return []
        # Ours is the first that agrees.
        if (count := 1 + len(agreed.agreeing)) < self.policy.slash.validators:
            needed = self.policy.slash.validators
            self._hold(ActKind.SLASH, node_id, f"{count} of {needed} validators found a failure")
            return []
        return self._priced(node_id, answered)

    def _priced(self, node_id: NodeId, answered: tuple[Finding, ...]) -> list[_Wanted]:
        """The slash with its amount, within what a day takes at most."""
        provider = answered[0].provider
        stake_wei = self.history.stakes_wei.get(provider)
        if stake_wei is None:
            self._hold(ActKind.SLASH, node_id, "nobody says what its provider has staked")
            return []
        worst = max(_part_ppm(self.policy.rules.of(one.kind), one) for one in answered)
        amount_wei = min(stake_wei * worst // WHOLE_PPM, self._day_left_wei(provider, stake_wei))
        if amount_wei <= 0:
            self._hold(ActKind.SLASH, node_id, "its provider was slashed enough for a day")
            return []
        return [
            _Wanted(
                kind=ActKind.SLASH,
                node_id=node_id,
                provider=provider,
                findings=answered,
                amount_wei=amount_wei,
            )
        ]

    def _day_left_wei(self, provider: Address, stake_wei: int) -> int:
        """What may still be taken today: of the stake as it was before today's slashes."""
        taken_wei = sum(
            one.act.amount_wei
            for one in self.taken
            if one.act.kind is ActKind.SLASH
            and one.act.provider == provider
            and self.now_ms - one.act.at_ms < DAY_MS
        )
        percent = self.policy.slash.percent_per_day_max
        return (stake_wei + taken_wei) * percent // 100 - taken_wei

    # --- what was done before -------------------------------------------------------------------

    def _spent(self, kind: ActKind) -> frozenset[bytes]:
        """The findings that led to an act of this kind."""
        return frozenset(
            one for taken in self.taken if taken.act.kind is kind for one in taken.act.findings
        )

    def _is_new(self, wanted: _Wanted) -> bool:
        """Whether nothing of its kind is on its way for the node, or, a slash, its provider."""
        slash = wanted.kind is ActKind.SLASH
        for one in self.taken:
            same = (
                one.act.provider == wanted.provider if slash else one.act.node_id == wanted.node_id
            )
            alike = one.act.kind is ActKind.SLASH if slash else one.act.kind in STANDING
            if one.is_open and same and alike:
                self._hold(wanted.kind, wanted.node_id, f"{one.act.kind} is on its way")
                return False
        return True

    def _hold(self, kind: ActKind, node_id: NodeId, why: str) -> None:
        self.held.append(Held(kind, node_id, why))


def _part_ppm(rule: Rule, finding: Finding) -> int:
    """The part of a stake that a failure costs: in proportion to what was missing."""
    return rule.penalty_percent * max(0, min(finding.shortfall_ppm, WHOLE_PPM)) // 100


def _affordable(decider: _Decider, wanted: Sequence[_Wanted], budget: Budget) -> Decision:
    """The acts that quiet hours and budget allow, in their order."""
    acts: list[Act] = []
    slashed: set[Address] = set()
    left_wei = budget.left_wei(decider.taken, decider.now_ms)
    for one in wanted:
        reserve_wei = budget.reserve_wei(one.kind)
        if decider.policy.quiet.holds(one.kind, decider.now_ms):
            decider.held.append(Held(one.kind, one.node_id, "quiet hours"))
        elif reserve_wei is None:
            decider.held.append(Held(one.kind, one.node_id, "nobody says what gas costs"))
        elif reserve_wei > left_wei:
            decider.held.append(Held(one.kind, one.node_id, "the day's budget of gas is spent"))
        elif len(acts) >= limits.POLICY_ACTS_MAX:
            decider.held.append(Held(one.kind, one.node_id, "enough for one time"))
        elif one.kind is ActKind.SLASH and one.provider in slashed:
            decider.held.append(Held(one.kind, one.node_id, "slash is on its way"))
        else:
            left_wei -= reserve_wei
            slashed |= {one.provider} if one.kind is ActKind.SLASH else set()
            acts.append(_act(one, reserve_wei, decider.now_ms))
    return Decision(tuple(acts), tuple(decider.held))


def _act(wanted: _Wanted, reserve_wei: int, now_ms: int) -> Act:
    return Act(
        kind=wanted.kind,
        node_id=wanted.node_id,
        provider=wanted.provider,
        findings=sorted_ids(one.finding_id for one in wanted.findings),
        at_ms=now_ms,
        reserve_wei=reserve_wei,
        amount_wei=wanted.amount_wei,
        piece=wanted.piece,
    )
