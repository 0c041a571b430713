"""A name means one task that lives: a second one is refused, wherever it comes from."""

import pytest

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.requests import name_taken
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import Conflict
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import AllocationId, TaskId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.states import AllocationState
from tests.core.fsm.records import NODE, NOW_S, POOL, ask, feed, placed, request


def submission(number: int, name: str = "web") -> TaskRequest:
    text = spec_json({"name": name, "image": "busybox:1"})
    return TaskRequest(Action.SUBMIT, 0, "", text, bytes([number]) * 32, NOW_S, NOW_S + 600)


def stop(state: PoolState, number: int, task: TaskId) -> None:
    ask(state, request(Action.STOP, number, task.hex()))


@pytest.mark.parametrize(("level", "tasks"), [(BASE_LEVEL, 2), (DISTRUST_LEVEL, 1)])
def test_of_two_tasks_of_one_name_the_first_is_taken(level: FeatureLevel, tasks: int) -> None:
    """Two that were proposed at once do not both pass; earlier levels apply as they did."""
    state = PoolState(POOL, 1, level=level)
    first = ask(state, submission(1))
    ask(state, submission(2))
    assert len(state.tasks) == tasks
    refused = name_taken(state, submission(3))
    assert isinstance(refused, Conflict)
    assert first.hex() in refused.message
    assert name_taken(state, submission(3, "other")) is None


def test_a_name_is_free_again_once_its_task_has_ended() -> None:
    """While it stops it is not, and the refusal says that it stops."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    first = ask(state, submission(1))
    feed(state, placed(first, NODE))
    stop(state, 2, first)
    refused = name_taken(state, submission(3))
    assert refused is not None
    assert "is stopping" in refused.message
    ended = Outcome(AllocationId(first, 0), 1, AllocationState.STOPPED, "")
    feed(state, ReportApplied(NODE, (ended,)))
    assert state.tasks[first].finished
    assert name_taken(state, submission(3)) is None
    assert ask(state, submission(3)) in state.tasks


def test_the_names_survive_a_snapshot() -> None:
    """Of the tasks that live, and of several below the level that refuses them."""
    state = PoolState(POOL, 1, level=BASE_LEVEL)
    first, second = ask(state, submission(1)), ask(state, submission(2))
    stop(state, 3, first)
    again = decode_state(encode_state(state))
    assert again == state
    assert again.living("web") == second
    stop(again, 4, second)
    assert again.living("web") is None


def test_a_request_that_is_applied_is_not_refused_by_its_own_name() -> None:
    """Proposed again by the next leader, it changes nothing and is no conflict."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    wanted = submission(1)
    for _ in range(2):
        assert ask(state, wanted) == task_id(POOL, wanted)
    assert list(state.tasks) == [task_id(POOL, wanted)]
