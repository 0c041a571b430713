"""The goals of the attacks, on figures that are made up: each of them can be missed."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from tests.attacks.goals import Run
from tests.attacks.measure import MIB, Measured, quantile

REST = Measured(
    seconds=10,
    memory=[100 * MIB] * 10,
    api_s=[0.02] * 50,
    knocked=10,
    served=10,
    served_s=[0.5] * 10,
    writes_s=[0.1] * 10,
    silent_s=5,
    looks=10,
)


def run(counts: Mapping[str, int] | None = None, brief: bool = False, **during: Any) -> Run:
    """A run that differs from its rest in this."""
    changed = attrs.evolve(REST, **during)
    made = counts if counts is not None else {"did": 1}
    return Run("made up", "agent-1", REST, changed, REST, made, brief)


def test_a_rest_misses_no_goal() -> None:
    """What is measured at rest is within every goal."""
    assert run().problems() == []


@pytest.mark.parametrize(
    ("during", "named"),
    [
        ({"memory": [100 * MIB, 131 * MIB]}, "memory rose from 100 to 131 MiB"),
        ({"api_s": [0.02] * 40 + [0.11]}, "the API took 0.11 s"),
        ({"api_failed": 1}, "the API took 10.00 s"),
        ({"served": 8}, "of 10 newcomers 8 were served"),
        ({"eclipsed": 1}, "1 newcomers were told of no member"),
        ({"misled": 1}, "1 newcomers were misled"),
        ({"writes_s": []}, "0 writes"),
        ({"writes_failed": ["late", "late"]}, "10 writes, 2 failed"),
        ({"silent_s": 21}, "no heartbeat of a node for 21 s"),
        ({"looks": 0}, "no heartbeat"),
    ],
)
def test_each_goal_is_missed(during: dict[str, Any], named: str) -> None:
    """Just beyond a goal there is a problem, and it is named."""
    (problem,) = run(**during).problems()
    assert named in problem


def test_what_stays_counts_beside_what_rose() -> None:
    """Memory that is not given back is a problem of its own."""
    after = attrs.evolve(REST, memory=[111 * MIB])
    (problem,) = attrs.evolve(run(), after=after).problems()
    assert "111 MiB stayed of 100" in problem


def test_the_attacker_tells_too() -> None:
    """Whoever is sent to the attacker counts, and an attack that did nothing shows nothing."""
    assert "were dialled 2 times" in run(counts={"dialled": 2}).problems()[0]
    assert run(counts={}).problems() == ["the attacker did nothing"]


def test_a_brief_run_forgives_one_slow_answer() -> None:
    """In ten seconds one answer is two in a hundred; many slow ones are a problem all the same."""
    assert run(brief=True, api_s=[0.02] * 49 + [3.0]).problems() == []
    slow = [0.02] * 30 + [3.0] * 20
    assert run(brief=True, api_s=slow).problems() != []


def test_a_victim_that_waits_for_a_processor_may_be_as_much_later() -> None:
    """Other work came: twice the time for all that it does, and so for its answers. An attack that
    makes it work more is no such excuse."""
    rest = attrs.evolve(REST, cpu_s=1, waited_s=1)
    for waited_s, problems in ((3, 0), (1, 1)):
        late = attrs.evolve(rest, api_s=[0.15] * 50, waited_s=waited_s)
        assert len(attrs.evolve(run(), rest=rest, during=late).problems()) == problems
    busy = attrs.evolve(rest, api_s=[0.15] * 50, cpu_s=9, waited_s=3)
    assert attrs.evolve(run(), rest=rest, during=busy).problems() != []


def test_patience_grows_with_what_newcomers_take_at_rest() -> None:
    """On a slow machine a newcomer has more than ten seconds."""
    assert REST.patience_s == 10
    assert attrs.evolve(REST, served_s=[3.0]).patience_s == 30


def test_quantiles_are_of_what_was_seen() -> None:
    """No value is made up between two, and none of nothing."""
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([3, 1, 2], 0.99) == 3
    assert quantile([], 0.5) == 0
