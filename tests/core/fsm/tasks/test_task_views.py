"""A reader of one page, or of one task, pays for that alone, in a pool of any size."""

import random

import attrs
import pytest

from p2pool.core import view
from p2pool.core.fsm.state import PoolState, Task, TaskRecord
from p2pool.core.view import Heard, Live, _Tasks
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.ids import NodeId, TaskId
from p2pool.model.ports.view import NodeTable, TaskView
from p2pool.model.tasks.index import TaskIndex
from p2pool.model.tasks.spec import TaskSpec
from tests.core.fsm.records import MANAGER, POOL, request

TASKS = 3000


def _task(number: int) -> Task:
    task_id = TaskId(random.Random(number).randbytes(16))
    signed = SignedRequest(request(Action.SUBMIT, number % 256), b"s" * 65)
    record = TaskRecord(task_id, signed, MANAGER, None, number, 1000)
    return Task(record, TaskSpec(f"t{number % 7}", "busybox:1"))


@pytest.fixture
def state() -> PoolState:
    """A pool with many tasks."""
    made = PoolState(POOL, 1)
    for number in range(1, TASKS + 1):
        made.put_task(_task(number))
    return made


def _table(state: PoolState, fresh: bool = True) -> _Tasks:
    return _Tasks(state, {}, Heard(NodeId(bytes(20)), NodeTable()), lambda: fresh)


def test_only_what_is_read_is_made(state: PoolState, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of ten makes ten views; one task, one; a count, none."""
    made: list[TaskId] = []
    real = view.task_view

    def counted(state: PoolState, task: Task, live: Live, heard: Heard) -> TaskView:
        made.append(task.task_id)
        return real(state, task, live, heard)

    monkeypatch.setattr(view, "task_view", counted)
    tasks = _table(state)
    rows = tasks.before(None)
    page = [next(rows) for _ in range(10)]
    assert [one.index for one in page] == list(range(TASKS, TASKS - 10, -1))
    rows = tasks.before(page[-1].place)
    assert next(rows).index == TASKS - 10
    assert len(made) == 11
    wanted = page[3].task_id
    assert tasks.get(wanted) == page[3]
    assert [one.task_id for one in tasks.starting(wanted.hex()[:9], 5)] == [wanted]
    assert next(tasks.named("t3")).spec.name == "t3"
    assert len(made) == 14
    assert sum(tasks.states().values()) == len(tasks) == TASKS
    assert len(made) == 14


def test_a_table_cannot_be_read_after_the_node_went_on(state: PoolState) -> None:
    """What it would show then is no longer what its view says."""
    with pytest.raises(AssertionError, match="take another view"):
        _table(state, fresh=False).get(_task(1).task_id)


def test_the_index_follows_the_tasks() -> None:
    """Whatever comes, changes and goes, it finds what a walk over all would find."""
    chance = random.Random(7)
    index, known = TaskIndex(), dict[TaskId, tuple[int, str]]()
    for step in range(600):
        task_id = TaskId(bytes([chance.randrange(40)]) * 16)
        if chance.random() < 0.4:
            index.drop(task_id)
            known.pop(task_id, None)
        else:
            known[task_id] = known.get(task_id, (step // 3, f"t{chance.randrange(5)}"))
            index.put(task_id, *known[task_id])
        newest = sorted(known, key=lambda one: (known[one][0], one), reverse=True)
        assert list(index.before(None)) == newest
        if newest:
            at = chance.randrange(len(newest))
            place = known[newest[at]][0], newest[at]
            assert list(index.before(place)) == newest[at + 1 :]
        assert list(index.named("t2")) == [one for one in newest if known[one][1] == "t2"]
        for digits in ("0", "1", "1a1", "ffff"):
            like = [one for one in sorted(known) if one.hex().startswith(digits)]
            assert list(index.starting(digits)) == like


def test_a_task_that_is_dropped_is_found_no_more(state: PoolState) -> None:
    """And one that changes is found as it is now."""
    old = _task(TASKS)
    state.put_task(attrs.evolve(old, record=attrs.evolve(old.record, stop_requested=True)))
    tasks = _table(state)
    assert next(tasks.before(None)).stop_requested
    state.drop_task(old.task_id)
    assert next(tasks.before(None)).index == TASKS - 1
    assert tasks.starting(old.task_id.hex(), 1) == ()
