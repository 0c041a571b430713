"""Over random findings and days: the promises that `decision` makes, each as a property."""

from collections import Counter

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct
from p2pool.validator.policy.agreement import agreement_on
from p2pool.validator.policy.decision import decide
from p2pool.validator.policy.findings import Finding, FindingKind, WrongPiece
from p2pool.validator.policy.history import DAY_MS, Budget, ChainNode, History, Registry
from p2pool.validator.policy.rules import Policy, SlashRule
from tests.validator.policy.cases import GAS, HOUR, ME, NOW, OTHER, THIRD, policy

NODES = [NodeId(bytes([number] * 20)) for number in (10, 11, 12)]
PROVIDERS = [Address(bytes([number] * 20)) for number in (20, 21)]
OWNER = dict(zip(NODES, (PROVIDERS[0], PROVIDERS[0], PROVIDERS[1]), strict=True))
STATES = (ActState.PLANNED, ActState.DONE, ActState.REFUSED)

FINDINGS = st.builds(
    Finding,
    finding_id=st.integers(0, 400).map(lambda number: number.to_bytes(2, "big")),
    validator=st.sampled_from([ME, ME, ME, OTHER, THIRD]),
    provider=st.sampled_from(PROVIDERS),
    node_id=st.sampled_from(NODES),
    kind=st.sampled_from(list(FindingKind)),
    at_ms=st.integers(NOW - 3 * DAY_MS, NOW + HOUR),
    shortfall_ppm=st.integers(0, 1_000_000),
    proven=st.booleans(),
    piece=st.none() | st.builds(WrongPiece, st.just(7), st.just(b"k" * 32), st.integers(1, 9)),
)


@attrs.define
class Run:
    """A validator over some days: what it decided and when, and what the chain said then."""

    policy: Policy
    findings: list[Finding]
    taken: list[TakenAct] = attrs.field(factory=list)

    def step(self, now_ms: int, registries: list[Registry], state: ActState, wei: int) -> list[Act]:
        """One decision; the acts come to `state`, and earlier open ones are done."""
        history = self.history(registries)
        budget = Budget(per_day_wei=wei, gas_price_wei=1, gas=GAS)
        acts = decide(self.policy, self.findings, history, budget, now_ms).acts
        self.taken = [
            attrs.evolve(one, state=ActState.DONE, spent_wei=one.act.reserve_wei)
            for one in self.taken
        ]
        self.taken += [TakenAct(act=one, state=state, spent_wei=one.reserve_wei) for one in acts]
        return list(acts)

    def history(self, registries: list[Registry]) -> History:
        """The chain's word at this step."""
        nodes = {
            node: ChainNode(
                registry,
                OWNER[node] if registry in (Registry.REGISTERED, Registry.VALIDATED) else None,
            )
            for node, registry in zip(NODES, registries, strict=True)
        }
        stakes = {PROVIDERS[0]: 1_000_000}
        return History(me=ME, nodes=nodes, stakes_wei=stakes, taken=tuple(self.taken))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 20 * HOUR),
        st.lists(st.sampled_from(list(Registry)), min_size=3, max_size=3),
        st.sampled_from(STATES),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(FINDINGS, max_size=25), STEPS, st.integers(0, 8), st.integers(1, 3))
def test_what_is_promised_of_each_decision(
    findings: list[Finding],
    steps: list[tuple[int, list[Registry], ActState]],
    budget_wei: int,
    validators: int,
) -> None:
    """Nothing for the unknown, nothing twice, never beyond the budget, no slash for a word alone
    without agreement or against a contradiction."""
    bound = policy(slash=SlashRule(validators=validators, percent_per_day_max=50))
    run = Run(bound, findings)
    now_ms = NOW
    spent: Counter[tuple[ActKind, bytes, NodeId]] = Counter()
    costs: list[tuple[int, int]] = []
    by_id = {(one.validator, one.finding_id): one for one in findings}
    for after_ms, registries, state in steps:
        now_ms += after_ms
        known = dict(zip(NODES, registries, strict=True))
        for act in run.step(now_ms, registries, state, budget_wei):
            assert known[act.node_id] is not Registry.UNKNOWN
            assert act.findings
            spent.update((act.kind, one, act.node_id) for one in act.findings)
            costs.append((now_ms, act.reserve_wei))
            if act.kind is ActKind.SLASH:
                _check_slash(bound, findings, act, now_ms)
            assert (act.kind is ActKind.TAKE_BACK) is (act.piece is not None)
            for one in act.findings:
                assert (ME, one) in by_id
    assert not [one for one, count in spent.items() if count > 1]
    for at_ms, _ in costs:
        day = [wei for when, wei in costs if at_ms <= when < at_ms + DAY_MS]
        assert sum(day) <= budget_wei


def _check_slash(bound: Policy, findings: list[Finding], act: Act, now_ms: int) -> None:
    assert act.provider == PROVIDERS[0]  # The other's stake is unknown.
    assert 0 < act.amount_wei <= 500_000
    of_node = [
        one for one in findings if one.node_id == act.node_id and one.provider == act.provider
    ]
    latest: dict[Address, Finding] = {}
    for one in sorted(of_node, key=lambda one: (one.at_ms, one.finding_id)):
        if one.kind is not FindingKind.INCONCLUSIVE and one.at_ms <= now_ms:
            latest[one.validator] = one
    others = agreement_on(bound, latest.values(), ME, now_ms)
    mine = [one for one in of_node if one.validator == ME]
    if all(any(one.finding_id == told and one.proven for one in mine) for told in act.findings):
        return
    assert 1 + len(others.agreeing) >= bound.slash.validators
    assert not others.contradicting


@settings(max_examples=100, deadline=None)
@given(st.lists(FINDINGS, max_size=20), st.randoms(use_true_random=False))
def test_the_order_in_which_findings_come_does_not_matter(
    findings: list[Finding], random: object
) -> None:
    """Two validators with the same knowledge decide the same, byte by byte."""
    unique = list({one.finding_id: one for one in findings}.values())
    shuffled = list(unique)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    history = Run(policy(), []).history([Registry.REGISTERED, Registry.VALIDATED, Registry.ABSENT])
    budget = Budget(per_day_wei=100, gas_price_wei=1, gas=GAS)
    made = [decide(policy(), said, history, budget, NOW).acts for said in (unique, shuffled)]
    assert made[0] == made[1]
    assert [one.act_id for one in made[0]] == [one.act_id for one in made[1]]
