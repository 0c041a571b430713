"""What one node's order has room for: no node gets a copy that no leader could order.

Intuition: a leader tells a node all that it shall run in one frame. A frame ends somewhere, so the
copies on a node have a bound, and so have their submissions and their GPUs together. The scheduler
keeps it, and every replica does when it applies an entry: a careless leader, or one that lies,
leaves no node to the next leaders that they cannot order.

Invariants: whatever holds a node's resources counts, also a copy that has to stop; the sums follow
from the state alone, so that all replicas judge alike.
Source: docs/design/tasks.md, "Orders and reports".
"""

import attrs

from p2pool.core.fsm.state import PoolState, TaskRecord
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.ids import NodeId

REQUEST_BYTES = 384
"""More than a request takes beside its texts and its signature."""


def task_order_bytes(record: TaskRecord) -> int:
    """What a copy of a task adds to its node's order: its submission, and who set its secrets."""
    own = order_bytes(record.signed)
    if (renewed := record.secrets) is None:
        return own
    return own + order_bytes(renewed.signed) + REQUEST_BYTES


def order_bytes(signed: SignedRequest) -> int:
    """The texts and signatures of a request."""
    request, delegated = signed.request, signed.delegation
    own = _length(request.spec_json) + _length(request.target) + len(signed.signature)
    return own + (len(delegated.signature) if delegated else 0)


def _length(text: str) -> int:
    """Its bytes of UTF-8; a text of ASCII need not be encoded for that."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@attrs.define
class OrderRoom:
    """What is in a node's order: copies, what they add to it in bytes, and their GPUs."""

    copies: int = 0
    size_bytes: int = 0
    gpus: int = 0

    def refusal(self, size_bytes: int, gpus: int) -> str | None:
        """Why one more copy finds no room, or None if it does."""
        if self.copies >= limits.ALLOCATIONS_PER_NODE_MAX:
            return f"has its maximum of {limits.ALLOCATIONS_PER_NODE_MAX} copies"
        if self.size_bytes + size_bytes > limits.ORDER_SPECS_MAX_BYTES:
            return "its tasks' specifications are too long together"
        if self.gpus + gpus > limits.GPUS_PER_NODE_MAX:
            return f"its copies hold {self.gpus} of {limits.GPUS_PER_NODE_MAX} GPUs at most"
        return None

    def add(self, size_bytes: int, gpus: int, copies: int = 1) -> None:
        """Count a copy, or with -1 one less."""
        self.copies += copies
        self.size_bytes += copies * size_bytes
        self.gpus += copies * gpus


def room_on(state: PoolState, node_id: NodeId) -> OrderRoom:
    """What a node's order holds by the state."""
    room = OrderRoom()
    for holder in state.holders(node_id):
        task = state.tasks.get(holder.allocation.task_id)
        room.add(task_order_bytes(task.record) if task else 0, len(holder.gpus))
    return room
