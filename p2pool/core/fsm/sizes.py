"""How large a pool's tasks are, and how large they may become.

Intuition: every replica keeps the whole state, and passes it on as one snapshot. A task costs what
its submission holds, and a row for each copy; both come from people who may only submit. So live
tasks fill at most half of the largest snapshot, and delegates together half of that: whatever they
submit, the pool's manager still gets through. The other half is for what the pool itself writes.

Invariants: the sums follow from the tasks and copies in the state alone, so all replicas have the
same ones, also after a snapshot; a change costs what changed.
Source: docs/design/tasks.md, "How much a pool holds".
"""

import attrs

from p2pool.model import limits
from p2pool.model.ids import TaskId


@attrs.frozen
class TaskSize:
    """What one task takes: bytes in a snapshot, about, and copies."""

    size_bytes: int
    copies: int
    delegated: bool
    finished: bool = False


def task_size(spec_json: str, copies: int, *, delegated: bool, finished: bool = False) -> TaskSize:
    """The size of a task with so many copies."""
    own = limits.STATE_TASK_BYTES + len(spec_json.encode("utf-8", "surrogatepass"))
    return TaskSize(own + copies * limits.STATE_COPY_BYTES, copies, delegated, finished)


@attrs.define
class StateSizes:
    """The sums over all tasks: those that have not ended, of these the delegates', the ended."""

    tasks: dict[TaskId, TaskSize] = attrs.field(factory=dict)
    live_bytes: int = 0
    live_copies: int = 0
    delegated_bytes: int = 0
    delegated_copies: int = 0
    finished_bytes: int = 0

    def count(self, name: TaskId, size: TaskSize | None) -> None:
        """A task has this size now; None: it is gone."""
        old = self.tasks.pop(name, None)
        if old is not None:
            self._add(old, -1)
        if size is not None:
            self.tasks[name] = size
            self._add(size, 1)

    def _add(self, size: TaskSize, sign: int) -> None:
        if size.finished:
            self.finished_bytes += sign * size.size_bytes
            return
        self.live_bytes += sign * size.size_bytes
        self.live_copies += sign * size.copies
        if size.delegated:
            self.delegated_bytes += sign * size.size_bytes
            self.delegated_copies += sign * size.copies

    def overfull(self, more: TaskSize) -> str | None:
        """Why no more of this size fits, or None if it does."""
        held_bytes = self.live_bytes + more.size_bytes
        if held_bytes > limits.STATE_MAX_BYTES:
            return f"The pool's tasks fill their {limits.STATE_MAX_BYTES // 2**20} MiB."
        if self.live_copies + more.copies > limits.STATE_COPIES_MAX:
            return f"The pool's tasks have their maximum of {limits.STATE_COPIES_MAX} copies."
        if not more.delegated:
            return None
        most_bytes = limits.STATE_MAX_BYTES // limits.STATE_DELEGATED_SHARE
        most_copies = limits.STATE_COPIES_MAX // limits.STATE_DELEGATED_SHARE
        if self.delegated_bytes + more.size_bytes > most_bytes:
            return f"The tasks of all delegates fill their {most_bytes // 2**20} MiB."
        if self.delegated_copies + more.copies > most_copies:
            return f"The tasks of all delegates have their maximum of {most_copies} copies."
        return None
