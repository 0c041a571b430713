"""Of each validator on each node the newest verdict stays, in any order, and within bounds."""

from itertools import permutations
from random import Random

import pytest

from p2pool.core.knowledge.verdicts import ValidatorVerdicts
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.messages.verdicts import VerdictCode
from p2pool.model.ports.store import Delete, Put
from p2pool.model.timing import Now
from p2pool.model.validation.evidence import Conclusion
from p2pool.model.validation.verdict import SignedVerdict
from tests.wire.samples import NOW_MS
from tests.wire.validation.verdicts import address_of, validator, verdict_by

NOW = Now(1_000, NOW_MS)
NODES = [NodeId(bytes([number + 1]) * 20) for number in range(4)]


def book(members: list[NodeId] = NODES) -> ValidatorVerdicts:
    return ValidatorVerdicts(lambda one: one in members, lambda one: one not in members)


def taken(given: list[SignedVerdict]) -> ValidatorVerdicts:
    made = book()
    for signed in given:
        made.keep(signed)
    return made


def test_the_newest_stays_in_any_order() -> None:
    """Of one second, all keep the same; what another validator says, or of another node, stays."""
    one, other = validator(1), validator(2)
    same_second = [
        verdict_by(one, NODES[0], NOW_MS, conclusion=said)
        for said in (Conclusion.VALID, Conclusion.INVALID)
    ]
    given = [
        *same_second,
        verdict_by(one, NODES[0], NOW_MS - 60_000),
        verdict_by(other, NODES[0], NOW_MS - 90_000),
        verdict_by(one, NODES[1], NOW_MS - 90_000),
    ]
    newest = max(same_second, key=lambda signed: signed.verdict.order)
    expected = {newest, given[3], given[4]}
    for order in permutations(given):
        assert set(taken(list(order)).kept.values()) == expected


@pytest.mark.parametrize("seed", range(20))
def test_two_books_that_merge_are_alike(seed: int) -> None:
    """Whatever each had heard before, and however often it hears it again."""
    random = Random(seed)
    everything = [
        verdict_by(validator(random.randrange(3)), random.choice(NODES), NOW_MS + 1_000 * at)
        for at in range(12)
    ]
    halves = [random.sample(everything, 7), random.choices(everything, k=9)]
    heard = set(halves[0]) | set(halves[1])
    first = taken([*halves[0], *halves[1], *halves[0]])
    second = taken([*random.sample(halves[1], 9), *halves[0]])
    assert set(first.kept.values()) == set(second.kept.values()) <= heard
    for signed in heard:
        assert first.keep(signed) == []  # It is there, or something newer is.


def test_what_is_not_for_us_is_said() -> None:
    """Each reason has its code, and equal verdicts are no refusal."""
    said = verdict_by(validator(1), NODES[0])
    made = taken([said])
    old = NOW_MS - limits.VERDICT_AGE_MAX_MS - 1_000
    ahead = NOW_MS + limits.VERDICT_AHEAD_MAX_MS + 1_000
    cases = {
        VerdictCode.NOT_MEMBER: verdict_by(validator(1), NodeId(bytes(20))),
        VerdictCode.OLD: verdict_by(validator(1), NODES[1], old),
        VerdictCode.NOT_YET: verdict_by(validator(1), NODES[1], ahead),
        VerdictCode.OLDER: verdict_by(validator(1), NODES[0], NOW_MS - 1_000),
    }
    for code, signed in cases.items():
        assert made.refusal(signed.verdict, NOW) is code
    assert made.refusal(said.verdict, NOW) is None
    assert made.refusal(verdict_by(validator(2), NODES[1]).verdict, NOW) is None


def test_many_validators_on_one_node_take_no_other_nodes_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest on that node goes, from the disk too."""
    monkeypatch.setattr(limits, "VERDICTS_PER_NODE_MAX", 3)
    first = verdict_by(validator(9), NODES[1], NOW_MS - 500_000)
    made = taken([first])
    for number in range(5):
        made.keep(verdict_by(validator(number), NODES[0], NOW_MS + 1_000 * number))
    said = [one.verdict.validator for one in made.of_node(NODES[0])]
    assert set(said) == {address_of(validator(number)) for number in (2, 3, 4)}
    assert made.of_node(NODES[1]) == (first,)
    operations = made.keep(verdict_by(validator(7), NODES[0], NOW_MS + 9_000))
    assert [type(op) for op in operations] == [Delete, Put]


def test_all_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was taken first goes first."""
    monkeypatch.setattr(limits, "VERDICTS_KEPT_MAX", 2)
    made = taken([verdict_by(validator(1), node_id) for node_id in NODES])
    assert [pair[0] for pair in made.kept] == NODES[2:]
    assert made.nodes == NODES[2:]
    assert set(made.by_evidence.values()) == set(made.kept) == set(made.repeats)


def test_what_counts_no_more_goes_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old ones and those of nodes that left, a few at each look."""
    monkeypatch.setattr(limits, "VERDICTS_SWEPT_MAX", 2)
    members = list(NODES)
    made = book(members)
    for at, node_id in enumerate(NODES):
        made.keep(verdict_by(validator(1), node_id, NOW_MS + at * 10_000))
    members.remove(NODES[3])
    later = Now(2_000, NOW_MS + 5_000 + limits.VERDICT_AGE_MAX_MS)
    assert len(made.sweep(later)) == 1
    assert len(made.sweep(later)) == 1
    assert list(made.by_node) == NODES[1:3]
    assert made.sweep(later) == []


def test_each_is_repeated_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice at a time, and none is left out because another is new."""
    monkeypatch.setattr(limits, "VERDICTS_PER_GOSSIP_MAX", 3)
    made = taken([verdict_by(validator(1), node_id) for node_id in NODES])
    told = [one.verdict.node_id for _ in range(4) for one in made.to_repeat(NOW)]
    assert told == NODES * 3


def test_a_page_goes_on_behind_a_place_that_is_gone() -> None:
    """By node, then validator."""
    numbers = sorted((1, 2), key=lambda number: address_of(validator(number)))
    made = taken([verdict_by(validator(n), node_id) for node_id in NODES for n in numbers])
    everything = list(made.behind(None))
    assert [one.verdict.node_id for one in everything] == sorted(NODES * 2)
    place = everything[2].verdict
    made.drop((place.node_id, place.validator))
    rest = list(made.behind((place.node_id, place.validator)))
    assert rest == everything[3:]


def test_a_restart_loses_nothing() -> None:
    """The rows are all that it takes; one that another version wrote is left out."""
    made = book()
    rows = {}
    for at, node_id in enumerate((*NODES, *NODES)):
        for op in made.keep(verdict_by(validator(at % 3), node_id, NOW_MS + 1_000 * at)):
            assert isinstance(op, Put)
            rows[op.key] = op.value
    again = book()
    again.restore([*rows.values(), b"\x80"])
    assert again.kept == made.kept
    assert list(again.behind(None)) == list(made.behind(None))


def test_who_names_anothers_evidence_does_not_take_its_name() -> None:
    """The digest leads to the verdict that had it first, and to none once that is gone."""
    honest, thief = validator(1), validator(2)
    first = verdict_by(honest, NODES[0], document=b"a document")
    made = taken([first, verdict_by(thief, NODES[1], document=b"a document")])
    pair = (NODES[0], address_of(honest))
    assert made.by_evidence[first.verdict.evidence] == pair
    made.drop_all_by(address_of(thief))
    assert made.by_evidence[first.verdict.evidence] == pair
    made.drop(pair)
    assert made.by_evidence == {}
    assert made.by_validator == {}
