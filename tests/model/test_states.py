"""No state is without a way out or a meaning, and no transition is there by accident."""

from collections.abc import Mapping
from enum import IntEnum
from itertools import product

import pytest

from p2pool.model import states
from p2pool.model.states import (
    ALLOCATION,
    INTENT,
    MEMBERSHIP,
    MEMBERSHIP_DEADLINES,
    REACHABILITY,
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Intent,
    IntentEvent,
    Membership,
    MembershipEvent,
    Reachability,
    ReachabilityEvent,
    advance,
    may_become,
)

TABLES: list[tuple[type[IntEnum], type[IntEnum], Mapping[IntEnum, Mapping[IntEnum, IntEnum]]]] = [
    (Membership, MembershipEvent, MEMBERSHIP),  # type: ignore[list-item]
    (Reachability, ReachabilityEvent, REACHABILITY),  # type: ignore[list-item]
    (Intent, IntentEvent, INTENT),  # type: ignore[list-item]
]
OBSERVERS_OWN: dict[type[IntEnum], set[IntEnum]] = {Reachability: {Reachability.SUSPECT}}
"""Shown by who misses a node, and in no log: nothing leads there, and nothing on."""
named = pytest.mark.parametrize(
    ("state_type", "event_type", "table"), TABLES, ids=[t[0].__name__ for t in TABLES]
)
S = AllocationState


@named
def test_every_state_has_an_exit(
    state_type: type[IntEnum],
    event_type: type[IntEnum],
    table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]],
) -> None:
    """Each state has a row, and something in it that leads elsewhere: a node is never stuck."""
    assert set(table) == set(state_type)
    for state, row in table.items():
        if state in OBSERVERS_OWN.get(state_type, ()):
            assert not row
            continue
        assert any(following is not state for following in row.values()), state
        assert set(row) <= set(event_type)


@named
def test_every_event_means_something(
    state_type: type[IntEnum],
    event_type: type[IntEnum],
    table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]],
) -> None:
    """An event that no state knows is a mistake; so is a state that nothing leads to."""
    assert {event for row in table.values() for event in row} == set(event_type)
    reached = {following for row in table.values() for following in row.values()}
    assert set(state_type) - reached <= {min(state_type)} | OBSERVERS_OWN.get(state_type, set())


@named
def test_states_reach_each_other(
    state_type: type[IntEnum],
    event_type: type[IntEnum],
    table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]],
) -> None:
    """From any state every other one can be reached again, but an applicant that has joined is
    not one any more: what a node was never decides for ever."""
    own = OBSERVERS_OWN.get(state_type, set())
    for start in set(state_type) - own:
        seen, fresh = {start}, [start]
        while fresh:
            fresh = [n for state in fresh for n in table[state].values() if n not in seen]
            seen |= set(fresh)
        missing = set(state_type) - seen - own
        assert missing <= {Membership.APPLICANT, Membership.INVITED}, start


def test_illegal_events_are_refused() -> None:
    """An event without a row gives None, and nothing overwrites a ban."""
    assert advance(INTENT, Intent.ELIGIBLE, IntentEvent.DRAIN_ASKED) is Intent.DRAINING
    for event in IntentEvent:
        following = advance(INTENT, Intent.BANNED, event)
        assert following is (Intent.ELIGIBLE if event is IntentEvent.BAN_LIFTED else None)


def test_unreachable_is_never_gone_for_good() -> None:
    """Hearing a node again ends unreachability and death."""
    for state in (Reachability.UNREACHABLE, Reachability.DEAD):
        assert advance(REACHABILITY, state, ReachabilityEvent.HEARD) is Reachability.HEALTHY


def test_deadlines_lead_out() -> None:
    """A state with a deadline has a row for the event that is raised when it passes."""
    for state, (event, after_ms) in MEMBERSHIP_DEADLINES.items():
        assert advance(MEMBERSHIP, state, event) not in (None, state)
        assert after_ms > 0
    invited = advance(MEMBERSHIP, Membership.INVITED, MembershipEvent.INVITE_EXPIRED)
    assert invited is Membership.APPLICANT


def test_allocations_end() -> None:
    """Each state but the final ones leads to a final one; final ones lead nowhere, but a lost copy
    may be seen again."""
    assert set(ALLOCATION) == set(S)
    for state, following in ALLOCATION.items():
        assert state not in following
        if state not in TERMINAL_ALLOCATION_STATES:
            assert following & TERMINAL_ALLOCATION_STATES, state
        elif state is not S.LOST:
            assert not following, state


def test_allocations_never_go_back() -> None:
    """Nothing that was assigned is pending again (it gets a new attempt), nothing that runs is
    pulled again, and what is being stopped does not run on."""
    for old, new in product(S, S):
        if may_become(old, new) and old is not new:
            assert new is not S.PENDING, old
            assert not (old is S.RUNNING and new in (S.ASSIGNED, S.PULLING))
            assert not (old is S.STOPPING and new in (S.STARTING, S.RUNNING))
    assert all(may_become(state, state) for state in S)


def test_numbers_are_what_travels() -> None:
    """States are sent as their numbers: these are fixed, and new ones are added at the end."""
    assert [member.name for member in S] == [
        "PENDING",
        "ASSIGNED",
        "PULLING",
        "STARTING",
        "RUNNING",
        "STOPPING",
        "SUCCEEDED",
        "FAILED",
        "STOPPED",
        "LOST",
    ]
    for kind in (S, Membership, Reachability, Intent, states.PoolStatus, states.RaftRole):
        assert [int(member) for member in kind] == list(range(len(kind)))
