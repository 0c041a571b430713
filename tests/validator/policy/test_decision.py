"""What follows from findings: the table of transitions, slashes, quiet hours and the budget."""

import itertools
from typing import Any

import attrs
import pytest

from p2pool.validator.policy.acts import ActKind, ActState
from p2pool.validator.policy.decision import decide
from p2pool.validator.policy.findings import (
    FAILURES,
    Finding,
    FindingKind,
    WrongPiece,
    kind_of_faults,
)
from p2pool.validator.policy.history import ChainNode, NodeStanding, Registry
from p2pool.validator.policy.rules import Quiet, Rules, SlashRule, ValidateRule, WorkRule, _rule
from p2pool.validator.policy.transitions import TRANSITIONS, Verdict
from tests.validator.policy.cases import (
    GAS,
    HOUR,
    ME,
    NODE,
    NOW,
    OTHER,
    PROVIDER,
    THIRD,
    budget,
    failures,
    finding,
    history,
    policy,
    taken,
)

PASSED, WRONG, LATE = FindingKind.PASSED, FindingKind.WRONG_PRODUCT, FindingKind.LATE
NO_PENALTY = Rules(wrong_product=_rule("hard", 1, 86_400, 0))
SAID = {
    Verdict.PASSES: [finding(PASSED), finding(PASSED, HOUR - 1)],
    Verdict.SOFT: failures(LATE, 3),
    Verdict.HARD: failures(WRONG, 1),
}
STANDS = {
    NodeStanding.UNKNOWN: history(Registry.UNKNOWN),
    NodeStanding.ABSENT: history(Registry.ABSENT, nodes={NODE: ChainNode(Registry.ABSENT)}),
    NodeStanding.REGISTERED: history(Registry.REGISTERED),
    NodeStanding.INVALIDATED: history(Registry.REGISTERED, taken(ActKind.INVALIDATE)),
    NodeStanding.VALIDATED: history(Registry.VALIDATED),
}


def kinds(*args: object) -> list[ActKind]:
    """The acts of a decision."""
    return [one.kind for one in decide(*args).acts]  # type: ignore[arg-type]


def test_the_table_is_whole() -> None:
    """A row for each standing and verdict; what nobody knows leads to nothing."""
    assert set(TRANSITIONS) == set(itertools.product(NodeStanding, Verdict))
    for verdict in Verdict:
        assert TRANSITIONS[NodeStanding.UNKNOWN, verdict] is None


@pytest.mark.parametrize(("standing", "verdict"), list(TRANSITIONS))
def test_each_row_of_the_table_is_what_happens(standing: NodeStanding, verdict: Verdict) -> None:
    """For each row: exactly its act, and nothing where the row says nothing."""
    assert STANDS[standing].standing(NODE, dry_run=False) is standing
    expected = TRANSITIONS[standing, verdict]
    found = kinds(policy(rules=NO_PENALTY), SAID[verdict], STANDS[standing], budget(), NOW)
    assert found == ([] if expected is None else [expected])


def test_nothing_follows_for_a_node_that_nobody_tells_of() -> None:
    """Not even a slash of a provider whose stake is known, for what is proven."""
    said = [finding(WRONG, proven=True)]
    gone = STANDS[NodeStanding.ABSENT]
    assert kinds(policy(), said, gone, budget(), NOW) == [ActKind.SLASH]
    for registry in (ChainNode(Registry.UNKNOWN), ChainNode(Registry.UNKNOWN, PROVIDER)):
        assert kinds(policy(), said, history(nodes={NODE: registry}), budget(), NOW) == []


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_counts_from_its_times_on(kind: FindingKind) -> None:
    """One less than the rule asks for does nothing; as many, within its time, do."""
    rule = policy().rules.of(kind)
    enough = failures(kind, rule.times)
    if kind is FindingKind.REFUSED:
        enough.append(finding(LATE, 1, by=OTHER))
    assert kinds(policy(), enough[1:], history(Registry.VALIDATED), budget(), NOW) == []
    found = kinds(policy(), enough, history(Registry.VALIDATED), budget(), NOW)
    act = ActKind.REMOVE if rule.act == "hard" else ActKind.INVALIDATE
    assert found == ([ActKind.SLASH, act] if rule.penalty_percent else [act])
    old = [attrs.evolve(one, at_ms=one.at_ms - 1000 * rule.within_s) for one in enough]
    assert kinds(policy(), old, history(Registry.VALIDATED), budget(), NOW) == []


def test_passes_count_apart_and_since_the_last_failure() -> None:
    """Three within a second are one, and a failure begins the count anew."""
    strict = policy(validate=ValidateRule(passes=3, apart_s=600, passes_after_act=4))
    near = [finding(PASSED, HOUR - n) for n in range(3)]
    assert kinds(strict, near, history(), budget(), NOW) == []
    apart = [finding(PASSED, HOUR - 600_000 * n) for n in range(3)]
    assert kinds(strict, apart, history(), budget(), NOW) == [ActKind.VALIDATE]
    failed = [*apart, finding(LATE, HOUR - 1)]
    assert kinds(strict, failed, history(), budget(), NOW) == []
    after = history(Registry.REGISTERED, taken(ActKind.REMOVE))
    assert kinds(strict, apart, after, budget(), NOW) == []
    more = [*apart, finding(PASSED, HOUR - 1_800_000)]
    assert kinds(strict, more, after, budget(), NOW) == [ActKind.VALIDATE]


def test_a_failure_that_had_its_effect_stands_in_nobodys_way() -> None:
    """A node that was invalidated for being late is validated again by passes since, within the
    same day; one more failure is not as many as the rule asks for, twice."""
    late = failures(LATE, 3)
    acts = decide(policy(), late, history(Registry.VALIDATED), budget(), NOW - HOUR // 2).acts
    assert [one.kind for one in acts] == [ActKind.INVALIDATE]
    done = attrs.evolve(taken(ActKind.INVALIDATE), act=acts[0])
    since = history(Registry.REGISTERED, done)
    passes = [finding(PASSED, ago) for ago in (2000, 1000)]
    assert kinds(policy(), [*late, *passes], since, budget(), NOW) == [ActKind.VALIDATE]
    back = attrs.evolve(since, nodes={NODE: ChainNode(Registry.VALIDATED, PROVIDER)})
    assert kinds(policy(), [*late, finding(LATE, 5)], back, budget(), NOW) == []
    short = failures(FindingKind.SHORT_MEMORY, 2)
    acts = decide(policy(), short, history(Registry.VALIDATED), budget(), NOW - HOUR // 2).acts
    assert [one.kind for one in acts] == [ActKind.SLASH, ActKind.INVALIDATE]
    both = tuple(attrs.evolve(taken(one.kind), act=one) for one in acts)
    once_more = [*short, finding(FindingKind.SHORT_MEMORY, 5)]
    assert kinds(policy(), once_more, history(Registry.VALIDATED, *both), budget(), NOW) == []


def test_a_failure_before_the_first_validation_is_made_good_by_passes() -> None:
    """As many as after an act, since the last failure; and once it is validated, what was made good
    takes nothing back, in that day or by one more failure."""
    strict = policy(validate=ValidateRule(passes=1, apart_s=0, passes_after_act=3))
    late = failures(LATE, 3)
    passes = [finding(PASSED, ago) for ago in (3000, 2000, 1000)]
    assert kinds(strict, [*late, *passes[:2]], history(), budget(), NOW) == []
    (act,) = decide(strict, [*late, *passes], history(), budget(), NOW).acts
    assert act.kind is ActKind.VALIDATE
    done = attrs.evolve(taken(ActKind.VALIDATE), act=act)
    since = history(Registry.VALIDATED, done)
    assert kinds(strict, [*late, *passes], since, budget(), NOW) == []
    assert kinds(strict, [*late, *passes, finding(LATE, 5)], since, budget(), NOW) == []
    again = [finding(LATE, ago) for ago in (30, 20, 10)]
    assert kinds(strict, [*late, *passes, *again], since, budget(), NOW) == [ActKind.INVALIDATE]


def test_others_findings_alone_lead_to_nothing() -> None:
    """Who did not look itself does not act, whoever says what."""
    said = [finding(WRONG, by=OTHER), finding(PASSED, by=THIRD), finding(WRONG, 1, by=THIRD)]
    assert decide(policy(), said, history(Registry.VALIDATED), budget(), NOW).acts == ()


def test_a_slash_needs_agreement_and_no_contradiction() -> None:
    """The last word of each counts; while it is held, the node is put out all the same."""
    two = policy(slash=SlashRule(validators=2, percent_per_day_max=100))
    mine, stands = finding(WRONG), history(Registry.VALIDATED)
    alone = decide(two, [mine], stands, budget(), NOW)
    assert [one.kind for one in alone.acts] == [ActKind.REMOVE]
    assert "1 of 2 validators" in alone.held[0].why
    both = [mine, finding(WRONG, by=OTHER)]
    assert kinds(two, both, stands, budget(), NOW) == [ActKind.SLASH, ActKind.REMOVE]
    contradicted = decide(two, [*both, finding(PASSED, 5, by=THIRD)], stands, budget(), NOW)
    assert [one.kind for one in contradicted.acts] == [ActKind.REMOVE]
    assert "another validator" in contradicted.held[0].why
    # Whoever passed it first and saw it fail later agrees.
    changed = [mine, finding(PASSED, 9, by=OTHER), finding(WRONG, 4, by=OTHER)]
    assert ActKind.SLASH in kinds(two, changed, stands, budget(), NOW)
    # What costs no stake is no agreement; nor is what was found long ago.
    for other in (finding(LATE, by=OTHER), finding(WRONG, 30 * HOUR, by=OTHER)):
        assert ActKind.SLASH not in kinds(two, [mine, other], stands, budget(), NOW)


def test_nobody_is_offline_while_others_reach_it() -> None:
    """Our own network may be down."""
    gone = failures(FindingKind.OFFLINE, 12)
    stands = history(Registry.VALIDATED)
    assert kinds(policy(), gone, stands, budget(), NOW) == [ActKind.INVALIDATE]
    reached = [*gone, finding(PASSED, 5, by=OTHER)]
    assert kinds(policy(), reached, stands, budget(), NOW) == []


def test_what_nobody_says_of_others_is_no_word_of_theirs() -> None:
    """An agent that is away does not make a node unreached by others, nor ours the only word."""
    stands = history(Registry.VALIDATED)
    away = attrs.evolve(stands, unheard={NODE})
    gone = failures(FindingKind.OFFLINE, 12)
    assert kinds(policy(), gone, stands, budget(), NOW) == [ActKind.INVALIDATE]
    assert kinds(policy(), gone, away, budget(), NOW) == []
    wrong = [finding(WRONG)]
    assert ActKind.SLASH in kinds(policy(), wrong, stands, budget(), NOW)
    assert kinds(policy(), wrong, away, budget(), NOW) == [ActKind.REMOVE]
    proven = [finding(WRONG, proven=True)]
    assert ActKind.SLASH in kinds(policy(), proven, away, budget(), NOW)


def test_whoever_has_the_secret_and_falls_silent_is_not_merely_offline() -> None:
    """Three times of a day are enough, and that it passes elsewhere excuses nothing."""
    stands = history(Registry.VALIDATED)
    silent = failures(FindingKind.UNOPENED, 3)
    passed = finding(PASSED, 5, by=OTHER)
    assert kinds(policy(), [*silent, passed], stands, budget(), NOW) == [ActKind.INVALIDATE]
    assert kinds(policy(), silent[:2], stands, budget(), NOW) == []


def test_whoever_declines_to_some_only_is_found() -> None:
    """A node whose devices are leased answers nobody, and is left alone."""
    declined = failures(FindingKind.REFUSED, 6)
    stands = history(Registry.VALIDATED)
    assert kinds(policy(), declined, stands, budget(), NOW) == []
    also = [*declined, finding(FindingKind.REFUSED, 5, by=OTHER)]
    assert kinds(policy(), also, stands, budget(), NOW) == []
    some = [*declined, finding(PASSED, 5, by=OTHER)]
    assert kinds(policy(), some, stands, budget(), NOW) == [ActKind.INVALIDATE]


def test_what_a_signature_proves_needs_no_other_word() -> None:
    """Nobody can have invented it; what else was found waits for others all the same."""
    two = policy(slash=SlashRule(validators=2, percent_per_day_max=100))
    stands = history(Registry.VALIDATED)
    proven = finding(WRONG, proven=True, shortfall_ppm=100_000)
    word = finding(WRONG, 7)
    said = [proven, word, finding(PASSED, 5, by=OTHER)]
    found = decide(two, said, stands, budget(), NOW).acts
    assert [one.kind for one in found] == [ActKind.SLASH, ActKind.REMOVE]
    assert (found[0].findings, found[0].amount_wei) == ((proven.finding_id,), 5)
    more = policy(slash=SlashRule(validators=2, validators_proven=2, percent_per_day_max=100))
    assert ActKind.SLASH not in kinds(more, said, stands, budget(), NOW)


def test_a_challenge_counts_as_its_gravest_fault() -> None:
    """Each fault has a kind; what nobody knows leads to nothing."""
    assert kind_of_faults([]) is PASSED
    assert kind_of_faults(["slow-product", "wrong-product", "no-answer"]) is WRONG
    assert kind_of_faults(["declined"]) is FindingKind.REFUSED
    assert kind_of_faults(["wrong-product", "of a later version"]) is FindingKind.INCONCLUSIVE


def test_a_penalty_is_in_proportion_and_bounded_by_day() -> None:
    """Five percent for all of it, half for half; a day takes no more than its part of the stake."""
    stands = history(Registry.VALIDATED)

    def amount(shortfall_ppm: int, percent: int = 100, *before: int) -> int:
        earlier = [
            taken(ActKind.SLASH, amount_wei=wei, findings=(str(n).encode(),))
            for n, wei in enumerate(before)
        ]
        bound = policy(slash=SlashRule(validators=1, percent_per_day_max=percent))
        said = [finding(WRONG, shortfall_ppm=shortfall_ppm)]
        acts = decide(bound, said, attrs.evolve(stands, taken=earlier), budget(), NOW).acts
        return sum(one.amount_wei for one in acts)

    assert amount(1_000_000) == 50
    assert amount(500_000) == 25
    assert amount(10) == 0
    assert amount(1_000_000, 3) == 30
    assert amount(1_000_000, 10, 80) == 28  # A tenth of the 1080 that there were, less 80.
    assert amount(1_000_000, 10, 60, 60) == 0
    unknown = attrs.evolve(stands, stakes_wei={})
    assert ActKind.SLASH not in kinds(policy(), [finding(WRONG)], unknown, budget(), NOW)


def test_one_slash_of_a_provider_at_a_time() -> None:
    """Two of its nodes cheat: the second is slashed for once the first is in a block."""
    second = attrs.evolve(finding(WRONG, 7), node_id=type(NODE)(b"o" * 20))
    stands = history(
        nodes={one: ChainNode(Registry.VALIDATED, PROVIDER) for one in (NODE, second.node_id)}
    )
    found = decide(policy(), [finding(WRONG), second], stands, budget(), NOW)
    assert [one.kind for one in found.acts] == [ActKind.SLASH, ActKind.REMOVE, ActKind.REMOVE]
    way = attrs.evolve(stands, taken=(taken(ActKind.SLASH, ActState.PLANNED),))
    assert ActKind.SLASH not in kinds(policy(), [second], way, budget(), NOW)


def test_what_was_found_of_another_providers_node_does_not_count() -> None:
    """A node key that was registered anew by somebody else begins without a past."""
    stands = history(nodes={NODE: ChainNode(Registry.VALIDATED, OTHER)})
    assert kinds(policy(), [finding(WRONG)], stands, budget(), NOW) == []


def test_quiet_hours_hold_what_is_not_named() -> None:
    """Over midnight too; what is named is done, and the rest follows when they end."""
    night = policy(quiet=Quiet(hours=("22:00-06:00",), still=("invalidate",)))
    for hour, quiet in ((23, True), (3, True), (6, False), (21, False)):
        now = NOW - NOW % (24 * HOUR) + hour * HOUR
        said = [attrs.evolve(one, at_ms=now - 1) for one in failures(WRONG, 1)]
        found = decide(night, said, history(Registry.VALIDATED), budget(), now)
        assert [one.kind for one in found.acts] == (
            [] if quiet else [ActKind.SLASH, ActKind.REMOVE]
        )
        late = [attrs.evolve(one, at_ms=now - n) for n, one in enumerate(failures(LATE, 3))]
        found = decide(night, late, history(Registry.VALIDATED), budget(), now)
        assert [one.kind for one in found.acts] == [ActKind.INVALIDATE]


def test_the_budget_goes_to_what_is_urgent() -> None:
    """A slash before a removal before a validation; what is open counts, and what is unknown is no
    price."""
    other = type(NODE)(b"o" * 20)
    nodes = {
        NODE: ChainNode(Registry.VALIDATED, PROVIDER),
        other: ChainNode(Registry.REGISTERED, PROVIDER),
    }
    said = [finding(WRONG), attrs.evolve(finding(PASSED), node_id=other)]
    stands = history(nodes=nodes)
    all_of_it = GAS[ActKind.SLASH] + GAS[ActKind.REMOVE] + GAS[ActKind.VALIDATE]
    for most, count in ((all_of_it, 3), (all_of_it - 1, 2), (2, 1), (0, 0)):
        assert len(kinds(policy(), said, stands, budget(most), NOW)) == count
    assert kinds(policy(), said, stands, budget(2), NOW) == [ActKind.SLASH]
    assert kinds(policy(), said, stands, budget(price_wei=None), NOW) == []
    # Of two days ago and still on its way: it may cost its reserve yet.
    open_act = taken(ActKind.VALIDATE, ActState.PLANNED, at_ms=NOW - 48 * HOUR, reserve_wei=5,
                     node_id=type(NODE)(b"q" * 20))  # fmt: skip
    assert len(kinds(policy(), said, history(Registry.REGISTERED, open_act, nodes=nodes),
                     budget(all_of_it), NOW)) == 0  # fmt: skip


WORK = WrongPiece(7, b"k" * 32, 6)


def wrong_work(ago_ms: int = HOUR, piece: WrongPiece = WORK, **changes: Any) -> Finding:
    """Half of a piece that was not done."""
    told = {"shortfall_ppm": 500_000, "piece": piece, **changes}
    return finding(FindingKind.WRONG_WORK, ago_ms, **told)


def test_wrong_work_costs_its_units_and_a_part_of_the_stake() -> None:
    """In proportion: the units that were not done, and half of the penalty for a half. Taking units
    back is no transition: the node is invalidated all the same, and nothing waits for it."""
    found = decide(policy(), [wrong_work()], history(Registry.VALIDATED), budget(), NOW).acts
    assert [one.kind for one in found] == [ActKind.SLASH, ActKind.TAKE_BACK, ActKind.INVALIDATE]
    assert [one.amount_wei for one in found] == [10, 0, 0]
    assert [one.piece for one in found] == [None, WORK, None]
    taken_back = attrs.evolve(taken(ActKind.TAKE_BACK, ActState.PLANNED), act=found[1])
    stands = history(Registry.VALIDATED, taken_back)
    assert kinds(policy(), [wrong_work()], stands, budget(), NOW) == [
        ActKind.SLASH,
        ActKind.INVALIDATE,
    ]
    gone = history(Registry.ABSENT)
    assert ActKind.TAKE_BACK in kinds(policy(), [wrong_work()], gone, budget(), NOW)


def test_each_wrong_piece_is_taken_back_once() -> None:
    """By our own word alone, and only where the policy says so."""
    second = wrong_work(HOUR - 1, WrongPiece(7, b"l" * 32, 1))
    said = [wrong_work(), second, wrong_work(5, by=OTHER)]
    stands = history(Registry.VALIDATED)
    found = decide(policy(), said, stands, budget(), NOW).acts
    back = [one for one in found if one.kind is ActKind.TAKE_BACK]
    assert [one.piece for one in back] == [WORK, second.piece]
    done = [attrs.evolve(taken(ActKind.TAKE_BACK), act=one) for one in found]
    assert kinds(policy(), said, history(Registry.VALIDATED, *done), budget(), NOW) == []
    kept = policy(work=WorkRule(take_back=False))
    assert ActKind.TAKE_BACK not in kinds(kept, said, stands, budget(), NOW)
    other = attrs.evolve(wrong_work(), provider=OTHER)
    assert kinds(policy(), [other], stands, budget(), NOW) == []


def test_a_dry_run_decides_the_same_and_blocks_nothing() -> None:
    """What was shown is not shown again, and is done all the same once it is no dry run."""
    from p2pool.validator.policy.rules import Conduct

    dry = policy(policy=Conduct(dry_run=True))
    said, stands = [finding(WRONG)], history(Registry.VALIDATED)
    shown = decide(dry, said, stands, budget(), NOW).acts
    assert [one.act_id for one in shown] == [
        one.act_id for one in decide(policy(), said, stands, budget(), NOW).acts
    ]
    told = [attrs.evolve(taken(one.kind), act=one, state=ActState.SHOWN) for one in shown]
    after = attrs.evolve(stands, taken=told)
    assert kinds(dry, said, after, budget(), NOW + 1) == []
    assert kinds(policy(), said, after, budget(), NOW + 1) == [ActKind.SLASH, ActKind.REMOVE]


def test_findings_of_the_future_and_of_long_ago_count_for_nothing() -> None:
    """Nor does what is inconclusive, however often."""
    said: list[Finding] = [
        finding(WRONG, -1),
        finding(WRONG, 8 * 24 * HOUR),
        *failures(FindingKind.INCONCLUSIVE, 50),
    ]
    assert decide(policy(), said, history(Registry.VALIDATED), budget(), NOW).acts == ()
    assert ME != OTHER
