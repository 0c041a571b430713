"""The changes of one entry while it is applied: the tasks it touched, and the events."""

import attrs

from p2pool.core.fsm.state import Allocation, NodeRecord, PoolState
from p2pool.model.ids import TaskId
from p2pool.model.ports.view import Event


@attrs.define
class Changes:
    """One entry's work. Events are numbered within the entry, so that a reader can resume.

    `stood`: log time did not move, so it may be ahead of all clocks.
    """

    state: PoolState
    index: int
    stood: bool = False
    events: list[Event] = attrs.field(factory=list)
    touched: dict[TaskId, None] = attrs.field(factory=dict)

    def tell(self, kind: str, subject: str, text: str, **named: str | int | None) -> None:
        """Record an event: a sentence, and what it says by names."""
        state = self.state
        number = len(self.events)
        self.events.append(
            Event(
                epoch=state.epoch,
                index=self.index,
                number=number,
                at_ms=state.log_time_ms,
                kind=kind,
                subject=subject,
                text=text,
                details=tuple(named.items()),
            )
        )

    def set(self, copy: Allocation) -> None:
        """Store a copy; record an event if its state or attempt changed, or it has a new reason."""
        old = self.state.allocation(copy.allocation)
        moved = old is None or (old.state, old.attempt) != (copy.state, copy.attempt)
        if moved:
            copy = attrs.evolve(copy, changed_at_ms=self.state.log_time_ms)
        self.state.put(copy)
        self.touched[copy.allocation.task_id] = None
        if moved or (old is not None and copy.reason not in ("", old.reason)):
            where = f" on {copy.node_id.hex()}" if copy.node_id is not None else ""
            why = f": {copy.reason}" if copy.reason else ""
            text = f"is {copy.state.name.lower()}{where}{why}"
            self.tell(
                "allocation",
                str(copy.allocation),
                text,
                state=copy.state.name.lower(),
                previous=old.state.name.lower() if old is not None else None,
                task_id=copy.allocation.task_id.hex(),
                replica=copy.allocation.replica,
                attempt=copy.attempt,
                node_id=f"0x{copy.node_id.hex()}" if copy.node_id is not None else None,
                exit_code=copy.exit_code,
                reason=copy.reason,
            )

    def set_node(self, node: NodeRecord, because: str) -> None:
        """Store a node's record, and record the event."""
        self.state.nodes[node.node_id] = node
        fields = (node.membership, node.reachability, node.intent)
        why = f": {because}" if because else ""
        text = f"is {', '.join(field.name.lower() for field in fields)}{why}"
        membership, reachability, intent = (field.name.lower() for field in fields)
        self.tell(
            "node",
            node.node_id.hex(),
            text,
            node_id=f"0x{node.node_id.hex()}",
            membership=membership,
            reachability=reachability,
            intent=intent,
            reason=because,
        )
