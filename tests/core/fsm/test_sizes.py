"""A delegate that may only submit fills at most its share of what a pool holds."""

import attrs
import pytest

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.requests import no_room
from p2pool.core.fsm.sizes import StateSizes, task_size
from p2pool.core.fsm.state import AppliedRequest, PoolState
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Scope, SignedDelegation
from p2pool.model.access.requests import Action, RequestId, SignedRequest, TaskRequest
from p2pool.model.errors import Overloaded
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, TaskId
from p2pool.model.log.entries import RequestApplied
from tests.core.fsm.records import MANAGER, NODE, NOW_S, POOL, feed

DELEGATE = Address(b"d" * 20)
UNDER = SignedDelegation(Delegation(0, DELEGATE, Scope.SUBMIT, NOW_S - 60, NOW_S + 3600), b"s" * 65)


def submission(number: int, *, delegated: bool, replicas: int = 1, size: int = 0) -> SignedRequest:
    given = {"name": f"t-{number}", "image": "busybox:1", "replicas": replicas}
    spec = given | {"env": {"A": "x" * size}}
    name = number.to_bytes(32, "big")
    wanted = TaskRequest(Action.SUBMIT, 0, "", spec_json(spec), name, NOW_S, NOW_S + 600)
    return SignedRequest(wanted, b"s" * 65, UNDER if delegated else None)


def submit(state: PoolState, signed: SignedRequest) -> bool:
    """Whether the state took it."""
    signer, grantor = (DELEGATE, MANAGER) if signed.delegation else (MANAGER, None)
    feed(state, RequestApplied(signed, NODE, signer, grantor))
    return task_id(POOL, signed.request) in state.tasks


def pool(level: FeatureLevel = DISTRUST_LEVEL) -> PoolState:
    return PoolState(POOL, 1, level=level)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool a thousand times as small."""
    monkeypatch.setattr(limits, "STATE_MAX_BYTES", limits.STATE_MAX_BYTES // 1000)
    monkeypatch.setattr(limits, "STATE_COPIES_MAX", limits.STATE_COPIES_MAX // 1000)
    monkeypatch.setattr(limits, "STATE_FINISHED_MAX_BYTES", limits.STATE_FINISHED_MAX_BYTES // 1000)


def test_2400_tasks_of_31_kb_do_not_fit() -> None:
    """They made a state that no snapshot holds; a delegate gets as far as its share."""
    size = 31 * 1024
    count = sum(submitted(size)[:2400])
    share = limits.STATE_MAX_BYTES // limits.STATE_DELEGATED_SHARE
    assert 400 < count < 2400
    assert count * size <= share


@pytest.mark.parametrize("delegated", [True, False])
def test_10000_tasks_of_1000_replicas_do_not_fit(delegated: bool) -> None:
    """Not at the door, nor from a leader that lets them in. The state is filled by the sums alone:
    a hundred thousand copies would take long."""
    state, signed = pool(), submission(20_000, delegated=delegated, replicas=1000)
    one = task_size(signed.request.spec_json, 1000, delegated=delegated)
    taken = 0
    for number in range(10_000):
        if state.sizes.overfull(one) is None:
            state.sizes.count(TaskId(number.to_bytes(16, "big")), one)
            taken += 1
    most = limits.STATE_COPIES_MAX // (limits.STATE_DELEGATED_SHARE if delegated else 1)
    assert taken * 1000 == most
    refused = no_room(state, signed)
    assert isinstance(refused, Overloaded)
    assert f"{most} copies" in refused.message
    assert not submit(state, signed)
    assert (state.tasks, state.allocations) == ({}, {})
    assert submit(state, submission(20_001, delegated=False)) is delegated


def submitted(size: int) -> list[bool]:
    """Which of so many submissions there is room for, by the sums alone."""
    sizes, out = StateSizes(), []
    spec = submission(0, delegated=True, size=size).request.spec_json
    one = task_size(spec, 1, delegated=True)
    for number in range(2400):
        out.append(sizes.overfull(one) is None)
        if out[-1]:
            sizes.count(TaskId(number.to_bytes(16, "big")), one)
    return out


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("replicas", "size"), [(1, 3000), (10, 0)], ids=["bytes", "copies"])
def test_delegates_leave_room_for_the_manager(replicas: int, size: int) -> None:
    """All of them together get half; the manager gets through all the same, up to the whole."""
    state = pool()
    taken = [
        submit(state, submission(n, delegated=True, replicas=replicas, size=size))
        for n in range(40)
    ]
    assert True in taken
    assert not taken[-1]
    asked = submission(1000, delegated=True, replicas=replicas, size=size)
    assert isinstance(no_room(state, asked), Overloaded)
    more = [
        submit(state, submission(n, delegated=False, replicas=replicas, size=size))
        for n in range(100, 140)
    ]
    assert more[0]
    assert not more[-1]
    assert state.sizes.live_bytes <= limits.STATE_MAX_BYTES
    assert state.sizes.live_copies <= limits.STATE_COPIES_MAX


@pytest.mark.usefixtures("small")
def test_an_earlier_level_takes_what_old_leaders_wrote() -> None:
    """All replicas apply alike; only the door of a new leader is narrower."""
    state = pool(BASE_LEVEL)
    assert all(submit(state, submission(n, delegated=True, size=3000)) for n in range(12))
    assert no_room(state, submission(99, delegated=True, size=3000)) is not None


@pytest.mark.usefixtures("small")
def test_the_sums_survive_a_snapshot_and_an_end() -> None:
    """They follow from the state; ended tasks are counted apart, and the oldest make room."""
    state = pool()
    for n in range(4):
        assert submit(state, submission(n, delegated=True, size=2000))
    again = decode_state(encode_state(state))
    assert again.sizes == state.sizes
    for n in range(4):
        name = task_id(POOL, submission(n, delegated=True, size=2000).request)
        stop = TaskRequest(
            Action.STOP, 0, name.hex(), "", (50 + n).to_bytes(32, "big"), NOW_S, NOW_S + 600
        )
        feed(state, RequestApplied(SignedRequest(stop, b"s" * 65), NODE, MANAGER))
    assert (state.sizes.live_bytes, state.sizes.live_copies) == (0, 0)
    assert 0 < state.sizes.finished_bytes <= limits.STATE_FINISHED_MAX_BYTES
    assert len(state.tasks) < 4
    assert decode_state(encode_state(state)).sizes == state.sizes


def test_requests_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delegate cannot fill the memory of requests either: half of it is the manager's."""
    monkeypatch.setattr(limits, "STATE_APPLIED_MAX", 8)
    state = pool()
    for n in range(4):
        name = RequestId(n.to_bytes(32, "big"))
        state.note_applied(AppliedRequest(name, TaskId(bytes(16)), 1, NOW_S + 600))
    assert no_room(state, submission(9, delegated=True)) is not None
    assert no_room(state, submission(9, delegated=False)) is None


def test_a_system_task_gets_no_more_copies_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """They appear with the nodes, so they are counted as they come."""
    from p2pool.core.fsm.tasks import has_room_for_copy

    monkeypatch.setattr(limits, "STATE_COPIES_MAX", 1)
    state = pool()
    signed = submission(1, delegated=False)
    spec = spec_json({"name": "t", "image": "busybox:1", "system": True})
    signed = attrs.evolve(signed, request=attrs.evolve(signed.request, spec_json=spec))
    assert submit(state, signed)
    (task,) = state.tasks.values()
    assert has_room_for_copy(state, task)
    monkeypatch.setattr(limits, "STATE_COPIES_MAX", 0)
    assert not has_room_for_copy(state, task)
