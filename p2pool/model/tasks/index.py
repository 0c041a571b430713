"""Finds tasks by their place in the log, by name, and by the beginning of their id.

Intuition: a reader of one page, or of one task, must not pay for ten thousand others. So three
sorted tables follow the tasks as they come and go.

Invariants: what the tables hold follows from the tasks alone; a change costs a search in a sorted
list. An id's place never changes while the task lives.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

import attrs

from p2pool.model.ids import TaskId

TaskPlace = tuple[int, TaskId]
"""Index of the entry that added a task, and its id: the later, the newer."""


@attrs.define
class TaskIndex:
    """Tasks by place, by name, by id."""

    _places: list[TaskPlace] = attrs.field(factory=list)
    _ids: list[TaskId] = attrs.field(factory=list)
    _named: dict[str, list[TaskPlace]] = attrs.field(factory=dict)
    _known: dict[TaskId, tuple[int, str]] = attrs.field(factory=dict)

    def put(self, task_id: TaskId, index: int, name: str) -> None:
        """A task is there; it may be there already."""
        if self._known.get(task_id) == (index, name):
            return
        self.drop(task_id)
        self._known[task_id] = index, name
        insort(self._places, (index, task_id))
        insort(self._ids, task_id)
        insort(self._named.setdefault(name, []), (index, task_id))

    def drop(self, task_id: TaskId) -> None:
        """A task is gone."""
        if (known := self._known.pop(task_id, None)) is None:
            return
        index, name = known
        place = index, task_id
        del self._places[bisect_left(self._places, place)]
        del self._ids[bisect_left(self._ids, task_id)]
        same = self._named[name]
        del same[bisect_left(same, place)]
        if not same:
            del self._named[name]

    def before(self, place: TaskPlace | None) -> Iterator[TaskId]:
        """Ids of the tasks that are older than a place, the newest first; None: all."""
        at = len(self._places) if place is None else bisect_left(self._places, place)
        while at > 0:
            at -= 1
            yield self._places[at][1]

    def named(self, name: str) -> Iterator[TaskId]:
        """Ids of the tasks of that name, the newest first."""
        return (task_id for _, task_id in reversed(self._named.get(name, ())))

    def starting(self, digits: str) -> Iterator[TaskId]:
        """Ids that begin with these lower-case hex digits, in order."""
        first = bytes.fromhex(digits + "0" * (len(digits) % 2))
        at = bisect_left(self._ids, first)
        while at < len(self._ids) and self._ids[at].hex().startswith(digits):
            yield self._ids[at]
            at += 1
