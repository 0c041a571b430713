"""Whose turn it is: together, never too often, and nobody waits for ever."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.findings import Finding, FindingKind
from p2pool.validator.process.rota import Candidate, Rota

NOW = 1_800_000_000_000
APART, EVERY = 600_000, 3_600_000
ONE, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)


def node(number: int) -> NodeId:
    """A node's name."""
    return NodeId(bytes([number]) * 20)


def candidate(number: int, provider: Address = ONE, validated: bool = True) -> Candidate:
    """A member."""
    return Candidate(node(number), provider, True, validated)


def found(number: int, kind: FindingKind = FindingKind.PASSED, at_ms: int = NOW) -> Finding:
    """What came of asking."""
    return Finding(
        finding_id=bytes([number]) * 32,
        validator=Address(b"\x09" * 20),
        provider=ONE,
        node_id=node(number),
        kind=kind,
        at_ms=at_ms,
    )


def rota() -> Rota:
    """A new one."""
    return Rota(APART, EVERY)


def test_the_nodes_of_a_provider_go_together() -> None:
    """Even one whose own time has not come; and whoever waits longest comes first."""
    turns = rota()
    listed = [candidate(1), candidate(2), candidate(3, OTHER)]
    assert turns.due(listed, NOW) == [[listed[0], listed[1]], [listed[2]]]
    turns.told(found(3, at_ms=NOW - 2 * EVERY))
    turns.told(found(1, at_ms=NOW - EVERY))
    turns.told(found(2, at_ms=NOW - EVERY // 2))
    assert turns.due(listed, NOW) == [[listed[2]], [listed[0], listed[1]]]
    assert turns.due(listed, NOW, busy=[OTHER]) == [[listed[0], listed[1]]]


def test_a_node_is_asked_as_often_as_it_has_something_to_show() -> None:
    """One that waits to be validated or is suspect after `apart`, one that passes after `every`."""
    for validated, kind, wait_ms in (
        (True, FindingKind.PASSED, EVERY),
        (True, FindingKind.OFFLINE, EVERY),
        (True, FindingKind.WRONG_PRODUCT, APART),
        (False, FindingKind.PASSED, APART),
    ):
        turns, one = rota(), candidate(1, validated=validated)
        turns.told(found(1, kind))
        assert turns.due([one], NOW + wait_ms - 1) == []
        assert turns.next_ms([one], NOW) == NOW + wait_ms
        assert turns.due([one], NOW + wait_ms) == [[one]]


def test_a_node_that_says_when_is_left_alone_until_then() -> None:
    """But no longer than one that passes, whatever it says."""
    turns, one = rota(), candidate(1, validated=False)
    turns.told(found(1, FindingKind.REFUSED), retry_at_ms=NOW + 2 * APART)
    assert turns.due([one], NOW + APART) == []
    assert turns.due([one], NOW + 2 * APART) == [[one]]
    turns.told(found(1, FindingKind.REFUSED), retry_at_ms=NOW * 10)
    assert turns.next_ms([one], NOW) == NOW + EVERY


def test_a_clock_that_was_ahead_holds_nobody_up() -> None:
    """What is dated in the future counts as of the moment in which that is noticed, not as of each
    later one: the turn comes."""
    turns, one = rota(), candidate(1)
    turns.told(found(1, at_ms=NOW + 1000 * EVERY), retry_at_ms=NOW + 2000 * EVERY)
    assert turns.due([one], NOW) == []
    assert turns.next_ms([one], NOW) == NOW + EVERY
    assert turns.due([one], NOW + EVERY) == [[one]]


def test_who_is_gone_is_forgotten() -> None:
    """And asked at once when it comes back."""
    turns = rota()
    turns.told(found(1, FindingKind.LATE), retry_at_ms=NOW + 2 * APART)
    turns.forget_all_but([node(2)])
    assert (turns.asked_ms, turns.not_before_ms, turns.suspect) == ({}, {}, set())
    assert turns.next_ms([], NOW) is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from(list(FindingKind)),
            st.integers(0, 3 * EVERY),
            st.integers(0, 2 * EVERY),
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_nobody_is_asked_twice_within_apart_and_all_are_asked_in_the_end(
    history: list[tuple[int, FindingKind, int, int]], validated: bool
) -> None:
    """Over any history: whoever is due was last asked at least `apart` ago, and time alone brings
    everybody a turn."""
    turns = rota()
    listed = [candidate(number, ONE if number % 2 else OTHER, validated) for number in range(1, 7)]
    now_ms = NOW
    for number, kind, later_ms, retry_ms in history:
        now_ms += later_ms
        for nodes in turns.due(listed, now_ms):
            for one in nodes:
                assert now_ms - turns.asked_ms.get(one.node_id, 0) >= APART
            turns.asked([one.node_id for one in nodes], now_ms)
        turns.told(attrs.evolve(found(number, kind), at_ms=now_ms), retry_at_ms=now_ms + retry_ms)
    later = turns.due(listed, now_ms + EVERY)
    assert {one.node_id for nodes in later for one in nodes} == {one.node_id for one in listed}
