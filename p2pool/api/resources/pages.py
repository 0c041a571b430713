"""Cuts lists into pages by the place of a row, never by its number: rows come and go meanwhile.

A page of tasks or copies costs what it looks at, which is `limits.API_PAGE_LOOKS_MAX` at most:
where few pass the filter, the page is short and `next` says where to go on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import attrs

from p2pool.model import limits
from p2pool.model.ids import NodeId, TaskId
from p2pool.model.ports.view import AllocationView, TaskView, View
from p2pool.model.tasks.index import TaskPlace

Row = TypeVar("Row")


def place_text(place: TaskPlace) -> str:
    """A task's place as a page names it."""
    return f"{place[0]}-{place[1].hex()}"


def task_place(text: str) -> TaskPlace | None:
    """The place in a text that fits its pattern; None: the beginning."""
    if not text:
        return None
    index, task_id = text.split("-")[:2]
    return int(index), TaskId(bytes.fromhex(task_id))


@attrs.frozen
class Filter:
    """Which tasks a reader wants: all that is given must fit."""

    states: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str | None], ...] = ()
    node: NodeId | None = None
    name: str | None = None
    task: TaskId | None = None

    def fits(self, one: TaskView) -> bool:
        """Whether a task passes."""
        return (
            (not self.states or one.state in self.states)
            and (self.task is None or one.task_id == self.task)
            and (self.name is None or one.spec.name == self.name)
            and self._labelled(dict(one.spec.labels))
            and (self.node is None or any(c.node_id == self.node for c in one.allocations))
        )

    def _labelled(self, has: dict[str, str]) -> bool:
        return all(key in has and value in (None, has[key]) for key, value in self.labels)

    def candidates(self, view: View, place: TaskPlace | None) -> Iterable[TaskView]:
        """The tasks behind a place that may fit, the newest first, found by what narrows most."""
        if self.task is not None:
            one = view.task(self.task)
            found: Iterable[TaskView] = () if one is None else (one,)
        elif self.name is not None:
            found = view.tasks.named(self.name)
        elif self.node is not None:
            found = view.tasks.on_node(self.node)
        else:
            return view.tasks.before(place)
        return (one for one in found if place is None or one.place < place)


def copies_behind(
    view: View, wanted: Filter, place: str
) -> Iterator[tuple[TaskView, AllocationView]]:
    """The copies behind a place ("": all) with their tasks, those of the newest task first."""
    task, first = task_place(place), int(place.split("-")[2]) + 1 if place else 0
    # The task of the place comes first again: the copies behind its place are still to be told.
    behind = None if task is None else (task[0], TaskId(task[1] + b"\0"))
    for seen in wanted.candidates(view, behind):
        for one in seen.allocations:
            if seen.place != task or one.allocation.replica >= first:
                yield seen, one


def copy_place_text(of: TaskView, one: AllocationView) -> str:
    """A copy's place as a page names it."""
    return f"{place_text(of.place)}-{one.allocation.replica}"


def cut(
    rows: Iterable[Row], fits: Callable[[Row], bool], limit: int
) -> tuple[list[Row], Row | None]:
    """The first rows that fit, and the row behind which the next page begins."""
    found: list[Row] = []
    last: Row | None = None
    left = iter(rows)
    for one in islice(left, limits.API_PAGE_LOOKS_MAX):
        if len(found) == limit:
            return found, last
        if fits(one):
            found.append(one)
        last = one
    return found, last if next(left, None) is not None else None


def page(
    rows: Sequence[Row], name: Callable[[Row], str], limit: int, after: str
) -> tuple[tuple[Row, ...], str | None]:
    """Rows behind a name, sorted by name, and the name behind which the next page begins."""
    behind = sorted((one for one in rows if not after or name(one) > after), key=name)
    found = tuple(behind[:limit])
    return found, name(found[-1]) if len(behind) > limit else None
