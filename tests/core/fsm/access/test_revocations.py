"""After a revocation nothing begins: no submission, no copy, no replacement. What runs goes on,
unless the revocation says that it ends."""

import pytest

from p2pool.core.fsm.access.revocations import WITHDRAWN
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.model.access.delegations import Quota
from p2pool.model.access.quotas import NO_USAGE
from p2pool.model.access.requests import Action
from p2pool.model.features import BASE_LEVEL
from p2pool.model.states import AllocationState
from tests.core.fsm.access.delegated import FRIEND, OTHER_FRIEND, Delegated, given
from tests.core.fsm.records import MANAGER, NOW_S, OTHER

S = AllocationState


def test_what_waits_under_a_revoked_delegation_ends() -> None:
    """It can never begin, so it does not wait for ever; others' tasks wait on."""
    pool = Delegated()
    mine, others = pool.submit(given()), pool.submit(given(delegate=OTHER_FRIEND))
    managers = pool.submit(None)
    pool.revoke()
    assert pool.state.tasks[mine].finished
    assert (pool.copy(mine).state, pool.copy(mine).reason) == (S.STOPPED, WITHDRAWN)
    for name in (others, managers):
        assert (pool.state.tasks[name].finished, pool.copy(name).state) == (False, S.PENDING)


def test_what_runs_goes_on_and_is_not_replaced() -> None:
    """Its waiting copies say why they wait in vain, and the task ends with its last copy."""
    pool = Delegated()
    name = pool.submit(given(), replicas=3)
    pool.place((name, 0), (name, 1))
    pool.report(name, S.RUNNING, 0)
    pool.report(name, S.RUNNING, 1)
    pool.revoke()
    assert [pool.copy(name, n).state for n in range(3)] == [S.RUNNING, S.RUNNING, S.PENDING]
    assert pool.copy(name, 2).reason == WITHDRAWN
    pool.place((name, 2), node=OTHER)
    assert pool.copy(name, 2).state is S.PENDING
    pool.report(name, S.LOST, 1)
    pool.place((name, 1), node=OTHER)
    assert (pool.copy(name, 1).state, pool.copy(name, 1).attempt) == (S.LOST, 1)
    pool.report(name, S.RUNNING, 1)
    assert pool.copy(name, 1).state is S.RUNNING, "it was only out of reach"
    pool.report(name, S.SUCCEEDED, 0)
    assert not pool.state.tasks[name].finished
    pool.report(name, S.FAILED, 1)
    assert pool.state.tasks[name].finished
    assert [pool.copy(name, n).state for n in range(3)] == [S.SUCCEEDED, S.FAILED, S.STOPPED]
    assert pool.used() == NO_USAGE


def test_what_runs_ends_if_the_revocation_says_so() -> None:
    """At once in the state; its node is ordered to stop it."""
    pool = Delegated()
    name, waits = pool.submit(given()), pool.submit(given())
    pool.place((name, 0))
    pool.report(name, S.RUNNING)
    pool.revoke(stop_running=True)
    assert (pool.copy(name).state, pool.copy(name).reason) == (S.STOPPING, WITHDRAWN)
    assert pool.state.tasks[waits].finished
    pool.report(name, S.STOPPED)
    assert pool.state.tasks[name].finished


def test_a_second_revocation_may_end_what_the_first_let_run() -> None:
    """The same account, a moment later, with its tasks."""
    pool = Delegated()
    name = pool.submit(given())
    pool.place((name, 0))
    pool.revoke()
    pool.revoke(stop_running=True)
    assert pool.copy(name).state is S.STOPPING


def test_a_later_delegation_is_not_void() -> None:
    """A revocation voids what is dated before it, under whatever quota."""
    pool = Delegated()
    pool.ask(Action.REVOKE, FRIEND.hex(), f'{{"beforeS":{NOW_S}}}')
    old = pool.submit(given(not_before_s=NOW_S - 1))
    new = pool.submit(given(Quota(max_replicas=1), not_before_s=NOW_S))
    assert (old in pool.state.tasks, new in pool.state.tasks) == (False, True)
    pool.place((new, 0))
    assert pool.copy(new).state is S.ASSIGNED


def test_a_system_task_spreads_no_further() -> None:
    """Its copies are made as nodes come: none is, after a revocation."""
    pool = Delegated()
    name = pool.submit(given(), system=True)
    pool.place((name, 0))
    pool.revoke()
    pool.place((name, 1), node=OTHER)
    assert len(pool.state.of_task(name)) == 1
    pool.report(name, S.SUCCEEDED)
    assert pool.state.tasks[name].finished


@pytest.mark.parametrize("stop_running", [False, True])
def test_a_replica_from_a_snapshot_revokes_alike(stop_running: bool) -> None:
    """Which tasks are whose is not in the snapshot, and follows from it."""
    pool = Delegated()
    running, waits = pool.submit(given()), pool.submit(given())
    pool.submit(given(delegate=OTHER_FRIEND))
    pool.place((running, 0))
    other = Delegated()
    other.state, other.number = decode_state(encode_state(pool.state)), pool.number
    for one in (pool, other):
        one.revoke(stop_running=stop_running)
        assert one.state.tasks[waits].finished
    assert other.state == pool.state
    assert encode_state(other.state) == encode_state(pool.state)


def test_earlier_levels_apply_as_they_did() -> None:
    """There the log placed what was revoked, and each node refused to start it."""
    pool = Delegated(level=BASE_LEVEL)
    name, second = pool.submit(given()), pool.submit(given())
    pool.revoke()
    assert not pool.state.tasks[name].finished
    pool.place((name, 0))
    assert pool.copy(name).state is S.ASSIGNED
    pool.report(name, S.FAILED)
    assert not pool.state.tasks[second].finished
    pool.revoke(stop_running=True)
    assert pool.state.tasks[second].finished
    assert pool.state.delegates.used(MANAGER, FRIEND) == NO_USAGE
