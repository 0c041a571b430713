"""What the state decides of a request's right is decided when the request is applied."""

import attrs
import pytest

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import digest_of
from p2pool.model.access.delegations import Delegation, Scope, SignedDelegation
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, AllocationId, Digest, TaskId
from p2pool.model.log.entries import Adopted, RequestApplied, Revocation, Setting
from p2pool.model.states import Intent
from tests.core.fsm.records import MANAGER, NODE, NOW_S, POOL, ask, feed, placed, request

FRIEND = Address(b"f" * 20)
GIVEN = Delegation(0, FRIEND, Scope.SUBMIT, NOW_S - 60, NOW_S + 3600)


def state_of(level: FeatureLevel = DISTRUST_LEVEL) -> PoolState:
    return PoolState(POOL, 1, level=level)


def delegated(
    state: PoolState, action: Action, number: int, target: str = "", scope: Scope = Scope.SUBMIT
) -> TaskId:
    """The friend asks in the manager's name."""
    wanted = request(action, number, target)
    under = SignedDelegation(attrs.evolve(GIVEN, scope=scope), b"d" * 65)
    signed = SignedRequest(wanted, b"s" * 65, under)
    feed(state, RequestApplied(signed, NODE, FRIEND, MANAGER))
    return task_id(POOL, wanted)


def revoke(state: PoolState) -> None:
    ask(state, request(Action.REVOKE, 99, FRIEND.hex()))


def test_a_revocation_that_came_in_between_counts() -> None:
    """The leader judged by an older state, or lied: all replicas skip the request alike."""
    state = state_of()
    first = delegated(state, Action.SUBMIT, 1)
    feed(state, placed(first, NODE))
    revoke(state)
    assert first in state.tasks
    assert delegated(state, Action.SUBMIT, 2) not in state.tasks
    delegated(state, Action.BAN, 3, NODE.hex(), Scope.ADMIN)
    assert state.node(NODE).intent is Intent.ELIGIBLE
    delegated(state, Action.STOP, 4, first.hex())
    assert not state.tasks[first].stop_requested


def test_a_delegate_that_may_submit_stops_its_own_tasks_alone() -> None:
    """Whose a task is only the state knows."""
    state = state_of()
    own, others = delegated(state, Action.SUBMIT, 1), ask(state, request(Action.SUBMIT, 2))
    delegated(state, Action.STOP, 3, others.hex())
    delegated(state, Action.STOP, 4, own.hex())
    assert not state.tasks[others].stop_requested
    assert state.tasks[own].stop_requested
    delegated(state, Action.STOP, 5, others.hex(), Scope.ADMIN)
    assert state.tasks[others].stop_requested


def test_no_copy_is_adopted_under_what_was_revoked() -> None:
    """Its submission is no submission any more."""
    spec = spec_json({"name": "t", "image": "busybox:1"})
    wanted = TaskRequest(Action.SUBMIT, 0, "", spec, b"a" * 32, NOW_S, NOW_S + 600)
    name = task_id(POOL, wanted)
    signed = SignedRequest(wanted, b"s" * 65, SignedDelegation(GIVEN, b"d" * 65))
    record = Adopted(NODE, AllocationId(name, 0), 1, signed, (), FRIEND, MANAGER)
    state, revoked = state_of(), state_of()
    feed(state, record)
    revoke(revoked)
    feed(revoked, record)
    assert (name in state.tasks, name in revoked.tasks) == (True, False)


@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_what_people_sign_takes_a_signature(level: FeatureLevel) -> None:
    """Settings and revocations without a request are of earlier levels."""
    state = state_of(level)
    feed(state, Setting("timing", "wan"))
    feed(state, Revocation(FRIEND, NOW_S, True, Digest(bytes(32))))
    trusted = level < DISTRUST_LEVEL
    assert bool(state.settings) is trusted
    assert bool(state.revocations) is trusted
    assert digest_of(state)


def test_earlier_levels_apply_as_they_did() -> None:
    """What the replicas of a pool agreed on stays what it was."""
    state = state_of(BASE_LEVEL)
    revoke(state)
    assert delegated(state, Action.SUBMIT, 1) in state.tasks
