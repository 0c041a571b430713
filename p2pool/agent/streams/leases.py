"""Which of this node's GPUs a task has, and until when, as far as anybody knows.

Intuition: a copy has its GPUs from the moment at which the log places it here, which is before this
node is ordered to start it, until its container is surely gone, which may be after the log forgot
it. So both are asked, and either is enough.

Invariant: `until_ms` is 0 unless each copy that has a GPU says when it ends.
"""

import attrs

from p2pool.core.node import Node
from p2pool.model.machine.hardware import Gpu
from p2pool.model.tasks.spec import TaskSpec


@attrs.frozen
class Leases:
    """The GPUs that tasks have, by UUID; `until_ms`: when the last one is due, 0: nobody says."""

    gpus: frozenset[str] = frozenset()
    until_ms: int = 0


def leases_of(node: Node) -> Leases:
    """What tasks have of a node's GPUs now."""
    held = (one for one in node.parts.worker.items.values() if not one.ended or one.alive)
    mine = {uuid for one in held for uuid in one.gpus}
    state, me = node.context.pool_log.state, node.context.me
    if state is None:
        return Leases(frozenset(mine))
    placed = {uuid for holder in state.holders(me) for uuid in holder.gpus}
    ends = {
        uuid: _end_ms(state.tasks[copy.allocation.task_id].spec, copy.placed_at_ms)
        for copy in state.on_node(me)
        if copy.holds
        for uuid in copy.gpus
    }
    due = [ends.get(uuid, 0) for uuid in mine | placed]
    return Leases(frozenset(mine | placed), max(due) if all(due) and due else 0)


def _end_ms(spec: TaskSpec, placed_at_ms: int) -> int:
    """When a copy has to have ended; 0: it may run for ever."""
    return placed_at_ms + spec.deadline_s * 1000 if spec.deadline_s else 0


@attrs.frozen
class NodeGpus:
    """The GPUs of one node."""

    node: Node

    def claimed(self) -> tuple[Gpu, ...]:
        """Those that it claims and that are well."""
        hardware = self.node.parts.machine.hardware
        return tuple(gpu for gpu in hardware.gpus if gpu.healthy) if hardware is not None else ()

    def leases(self) -> Leases:
        """Those that tasks have."""
        return leases_of(self.node)
