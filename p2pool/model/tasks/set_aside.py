"""Nodes set aside for a task, because they refused to start it.

Intuition: what a node refuses is its own matter, so it ends nothing for the pool: the copy goes to
another node, and this one gets none of this task for a while. The while doubles with each refusal,
since an owner may mend a node and nobody may tell the pool.

Invariants: bounded for each task and for all together, beyond that the oldest go; refusals of
copies that were placed before the last one was known count as one; a row goes with its task. That a
copy ran meanwhile clears nothing: a node that lies would say so. The order is that of the log, also
through a snapshot.
Source: docs/design/tasks.md, "Whose fault a failed start is".
"""

from collections.abc import Iterable, Iterator

import attrs

from p2pool.model import limits
from p2pool.model.ids import NodeId, TaskId
from p2pool.model.states import StartRefusal


@attrs.frozen
class SetAside:
    """A node that refused to start a task: it gets no copy of it before `until_ms`, in log time.

    `kind`: whether that may mend by itself; `at_ms`: when it refused last, and `times` how often.
    """

    task_id: TaskId
    node_id: NodeId
    kind: StartRefusal
    reason: str
    times: int
    at_ms: int
    until_ms: int

    def over(self, at_ms: int) -> bool:
        """Whether the node may be tried again."""
        return at_ms >= self.until_ms


@attrs.define
class SetAsideNodes:
    """All nodes that are set aside, by task and node, the longest ago first."""

    rows: dict[tuple[TaskId, NodeId], SetAside] = attrs.field(factory=dict)
    _of_task: dict[TaskId, dict[NodeId, None]] = attrs.field(factory=dict, repr=False)

    def of_task(self, task_id: TaskId) -> tuple[SetAside, ...]:
        """The nodes that refused a task."""
        return tuple(self.rows[task_id, node_id] for node_id in self._of_task.get(task_id, {}))

    def __iter__(self) -> Iterator[SetAside]:
        return iter(self.rows.values())

    def refused(self, row: SetAside, placed_at_ms: int) -> None:
        """A node refused a copy that was placed there at a time. `row` as for a first refusal."""
        old = self.rows.get((row.task_id, row.node_id))
        if old is not None and placed_at_ms <= old.at_ms:
            return  # Placed before that refusal was known: the same one again.
        long_ago = old is None or row.at_ms >= old.until_ms + limits.SET_ASIDE_TOP_MS
        times = 1 if old is None or long_ago else old.times + 1
        wait_ms = limits.SET_ASIDE_MIN_MS << min(times - 1, 20)
        until_ms = row.at_ms + min(wait_ms, limits.SET_ASIDE_TOP_MS)
        self.drop(row.task_id, row.node_id)
        self.put(attrs.evolve(row, times=times, until_ms=until_ms))
        mine = self._of_task[row.task_id]
        if len(mine) > limits.SET_ASIDE_PER_TASK_MAX:
            self.drop(row.task_id, next(iter(mine)))
        if len(self.rows) > limits.SET_ASIDE_MAX:
            self.drop(*next(iter(self.rows)))

    def put(self, row: SetAside) -> None:
        """Take in a row, as the newest."""
        self.rows[row.task_id, row.node_id] = row
        self._of_task.setdefault(row.task_id, {})[row.node_id] = None

    def drop(self, task_id: TaskId, node_id: NodeId) -> None:
        """A node counts as any other again, for a task."""
        if self.rows.pop((task_id, node_id), None) is None:
            return
        mine = self._of_task[task_id]
        del mine[node_id]
        if not mine:
            del self._of_task[task_id]

    def drop_task(self, task_id: TaskId) -> None:
        """A task is forgotten."""
        for node_id in self._of_task.pop(task_id, {}):
            del self.rows[task_id, node_id]

    def turn_back(self, at_ms: int) -> None:
        """Log time was turned back to a time."""
        for key, row in self.rows.items():
            until_ms = min(row.until_ms, at_ms + limits.SET_ASIDE_TOP_MS)
            self.rows[key] = attrs.evolve(row, at_ms=min(row.at_ms, at_ms), until_ms=until_ms)

    def everywhere(self, task_id: TaskId, nodes: Iterable[NodeId], at_ms: int) -> bool:
        """Whether each of these nodes refuses a task now, for good as far as they know."""
        rows = (self.rows.get((task_id, node_id)) for node_id in nodes)
        return all(
            row is not None and row.kind is StartRefusal.LASTING and not row.over(at_ms)
            for row in rows
        )
