"""The checker accepts what a correct pool does and refuses what a broken one would.

Known histories by name, and small random ones against a checker that tries all orders.
"""

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.history.linearizability import UNKNOWN, Model, Operation, Undecided, check
from tests.chaos.history.models import (
    ABSENT,
    DONE,
    DRAINED,
    ELIGIBLE,
    INTENT,
    LIVE,
    REFUSED,
    STOPPED,
    TASK,
    Call,
)

Row = tuple[int, int | None, str, Any]


def history(*rows: Row) -> list[Operation]:
    """Operations from (invoked, returned or None, `kind` or `kind request`, result)."""
    out = []
    for invoked, returned, text, result in rows:
        kind, _, request = text.partition(" ")
        known = UNKNOWN if returned is None else result
        out.append(Operation(invoked, returned, Call(kind, request), known))
    return out


GOOD_TASKS: dict[str, tuple[Row, ...]] = {
    "one after the other": (
        (0, 1, "read", ABSENT), (2, 3, "submit", DONE), (4, 5, "read", LIVE),
        (6, 7, "stop", DONE), (8, 9, "read", STOPPED),
    ),
    "reads beside a submission see it or do not": (
        (0, 9, "submit", DONE), (1, 2, "read", ABSENT), (3, 4, "read", LIVE),
    ),
    "unknown, and took effect long after": (
        (0, None, "submit", None), (5, 6, "read", ABSENT), (50, 60, "read", LIVE),
    ),
    "unknown, and never took effect": ((0, None, "submit", None), (5, 6, "read", ABSENT)),
    "submitted twice, applied once": (
        (0, 1, "submit", DONE), (2, 3, "stop", DONE), (4, 5, "submit", DONE),
        (6, 7, "read", STOPPED),
    ),
    "refused before it was there": (
        (0, 5, "submit", DONE), (1, 2, "stop", REFUSED), (3, 4, "read", LIVE),
    ),
    "equal times overlap": ((0, 5, "submit", DONE), (5, 6, "read", ABSENT)),
}  # fmt: skip

BAD_TASKS: dict[str, tuple[Row, ...]] = {
    "a stale read": ((0, 1, "submit", DONE), (2, 3, "read", ABSENT)),
    "a lost write": (
        (0, 1, "submit", DONE), (2, 3, "read", LIVE), (4, 5, "read", ABSENT),
    ),
    "one's own write is not read": (
        (0, 1, "submit", DONE), (2, 3, "stop", DONE), (4, 5, "read", LIVE),
    ),
    "an effect of what was never asked": ((0, 1, "read", LIVE),),
    "reads go back in time": (
        (0, 9, "submit", DONE), (1, 2, "read", LIVE), (3, 4, "read", ABSENT),
    ),
    "a refusal from an old state": ((0, 1, "submit", DONE), (2, 3, "stop", REFUSED)),
    "an unknown effect that comes and goes": (
        (0, None, "submit", None), (1, 2, "read", LIVE), (3, 4, "read", ABSENT),
    ),
}  # fmt: skip

GOOD_INTENTS: dict[str, tuple[Row, ...]] = {
    "there and back": (
        (0, 1, "drain a", DONE), (2, 3, "read", DRAINED), (4, 5, "resume b", DONE),
        (6, 7, "read", ELIGIBLE),
    ),
    "sent again, and applied once": (
        (0, 1, "drain a", DONE), (2, 3, "resume b", DONE), (4, 5, "drain a", DONE),
        (6, 7, "read", ELIGIBLE),
    ),
    "of two at once the second is refused": (
        (0, 9, "drain a", DONE), (0, 9, "drain b", REFUSED), (10, 11, "read", DRAINED),
    ),
    "unknown, and seen at last": (
        (0, None, "drain a", None), (1, 2, "read", ELIGIBLE), (3, 4, "resume b", DONE),
        (5, 6, "read", ELIGIBLE),
    ),
}  # fmt: skip

BAD_INTENTS: dict[str, tuple[Row, ...]] = {
    "applied twice": (
        (0, 1, "drain a", DONE), (2, 3, "resume b", DONE), (4, 5, "drain a", DONE),
        (6, 7, "read", DRAINED),
    ),
    "of unknown outcome, applied twice": (
        (0, None, "drain a", None), (1, 2, "read", DRAINED), (3, 4, "resume b", DONE),
        (5, 6, "read", DRAINED),
    ),
    "both of two that exclude each other": (
        (0, 9, "drain a", DONE), (0, 9, "drain b", DONE), (10, 11, "read", DRAINED),
    ),
    "a stale read": (
        (0, 1, "drain a", DONE), (2, 3, "resume b", DONE), (4, 5, "read", DRAINED),
    ),
    "a lost write": ((0, 1, "drain a", DONE), (2, 3, "read", ELIGIBLE)),
    "refused though nothing stood against it": ((0, 1, "drain a", REFUSED),),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_TASKS)
def test_good_histories_of_a_task(name: str) -> None:
    """A correct pool may do this."""
    assert check(TASK, history(*GOOD_TASKS[name])).linearizable


@pytest.mark.parametrize("name", BAD_TASKS)
def test_bad_histories_of_a_task(name: str) -> None:
    """A correct pool never does this; what cannot be explained is named."""
    verdict = check(TASK, history(*BAD_TASKS[name]))
    assert not verdict.linearizable
    assert verdict.stuck is not None


@pytest.mark.parametrize("name", GOOD_INTENTS)
def test_good_histories_of_an_intent(name: str) -> None:
    """A correct pool may do this."""
    assert check(INTENT, history(*GOOD_INTENTS[name])).linearizable


@pytest.mark.parametrize("name", BAD_INTENTS)
def test_bad_histories_of_an_intent(name: str) -> None:
    """A correct pool never does this."""
    assert not check(INTENT, history(*BAD_INTENTS[name])).linearizable


def test_a_long_history_is_cheap() -> None:
    """Thousands of overlapping operations are decided in few steps; one wrong read is found."""
    rows: list[Row] = []
    for n in range(2000):
        kind, value = ("drain", DRAINED) if n % 2 == 0 else ("resume", ELIGIBLE)
        rows.append((10 * n, 10 * n + 6, f"{kind} {n}", DONE))
        rows += [(10 * n + 5, 10 * n + 9, "read", value)] * 3
    good = history(*rows)
    assert check(INTENT, good, steps_max=100_000).linearizable
    late = Operation(20_000, 20_001, Call("read"), DRAINED)
    assert not check(INTENT, [*good, late], steps_max=100_000).linearizable


def test_a_search_without_end_is_given_up() -> None:
    """Too many operations of unknown outcome: it says that it does not know, and never guesses."""
    rows: list[Row] = [(0, None, f"drain {n}", None) for n in range(20)]
    rows += [(0, None, f"resume r{n}", None) for n in range(20)]
    rows += [(1, 2, "read", "nonsense")]
    with pytest.raises(Undecided):
        check(INTENT, history(*rows), steps_max=1000)


# --- against all orders ---------------------------------------------------------------------------


def brute_force(model: Model, operations: list[Operation]) -> bool:
    """Try every order of every choice of the operations of unknown outcome."""
    sure = [o for o in operations if o.returned is not None]
    unsure = [o for o in operations if o.returned is None]
    return any(
        _explains(model, order)
        for size in range(len(unsure) + 1)
        for chosen in combinations(unsure, size)
        for order in permutations([*sure, *chosen])
    )


def _explains(model: Model, order: tuple[Operation, ...]) -> bool:
    state = model.initial
    for number, one in enumerate(order):
        if any(o.returned is not None and o.returned < one.invoked for o in order[number + 1 :]):
            return False
        state = model.step(state, one.call, one.result)
        if state is None:
            return False
    return True


def _operations(kinds: tuple[str, ...], values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    @st.composite
    def one(draw: st.DrawFn) -> Operation:
        kind = draw(st.sampled_from(("read", *kinds)))
        request = "" if kind == "read" else draw(st.sampled_from("ab"))
        invoked = draw(st.integers(0, 8))
        took = draw(st.none() | st.integers(0, 5))
        if took is None:
            return Operation(invoked, None, Call(kind, request))
        results = values if kind == "read" else (DONE, REFUSED)
        return Operation(
            invoked, invoked + took, Call(kind, request), draw(st.sampled_from(results))
        )

    return st.lists(one(), max_size=5)


@settings(max_examples=400)
@given(_operations(("submit", "stop"), (ABSENT, LIVE, STOPPED)))
def test_it_agrees_with_all_orders_about_tasks(operations: list[Operation]) -> None:
    """The search and the enumeration of all orders say the same."""
    assert check(TASK, operations).linearizable == brute_force(TASK, operations)


@settings(max_examples=400)
@given(_operations(("drain", "resume"), (ELIGIBLE, DRAINED)))
def test_it_agrees_with_all_orders_about_intents(operations: list[Operation]) -> None:
    """The same for the object that remembers request ids."""
    assert check(INTENT, operations).linearizable == brute_force(INTENT, operations)
