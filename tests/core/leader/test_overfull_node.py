"""A leader goes on with an old state that has more copies on a node than an order holds."""

from p2pool.codec.entries import encode_body
from p2pool.codec.payloads import encode_payload
from p2pool.core.effects import SendTo
from p2pool.core.fsm.state import Allocation
from p2pool.core.leader import decisions
from p2pool.model import limits
from p2pool.model.ids import AllocationId, Token
from p2pool.model.messages.work import Order
from p2pool.model.states import AllocationState, Reachability
from tests.core.leader.running_copies import Case
from tests.wire.samples import HEADER

MANY = 768


class Overfull(Case):
    """A node that the pool cannot hear has so many copies."""

    def __init__(self) -> None:
        super().__init__(reconnect_window_s=10, deadline_s=3600)
        (task,) = self.state.tasks
        self.names = [AllocationId(task, 10 + n) for n in range(MANY)]
        for name in self.names:
            copy = Allocation(name, AllocationState.ASSIGNED, 1, self.away, token=Token(1, 1, 1))
            self.state.put(copy)
        self.judge(Reachability.UNREACHABLE)


def test_it_writes_down_what_is_lost_and_what_is_to_stop() -> None:
    """In as many entries as the log takes, each copy once."""
    case = Overfull()
    now = case.at(10**7)
    for records in (
        decisions.lost(case.context, case.state, now),
        decisions.to_stop(case.context, case.state, now),
        decisions.undelivered(case.state, [case.away], now),
    ):
        said = [o.allocation for record in records for o in record.outcomes]
        assert set(case.names) <= set(said)
        assert len(said) == len(set(said))
        for record in records:
            assert len(encode_body(record)[1]) <= limits.ENTRY_MAX_BYTES


def test_it_orders_what_fits_and_says_what_does_not() -> None:
    """And no longer, once enough of them have ended."""
    case = Overfull()
    machine = next(m for m in case.world.machines if m.node and m.node.parts.leading)
    assert machine.node is not None
    leading = machine.node.parts.leading
    assert leading is not None
    case.context.effects.clear()
    leading.orders.give(case.away, case.at(0))
    (order,) = (e.message for e in case.context.effects if isinstance(e, SendTo))
    assert isinstance(order, Order)
    assert len(order.desired) == limits.ALLOCATIONS_PER_NODE_MAX
    assert len(encode_payload(HEADER, order)) < limits.STREAM_FRAME_MAX_BYTES
    (said,) = (p for p in machine.node.view(case.at(0)).warnings if "One order holds" in p)
    assert f"all but {MANY + 1 - limits.ALLOCATIONS_PER_NODE_MAX} copies" in said
    for name in case.names[:300]:
        case.state.put(Allocation(name, AllocationState.STOPPED, 1, case.away))
    leading.orders.give(case.away, case.at(0))
    assert not any("One order holds" in p for p in machine.node.view(case.at(0)).warnings)


def test_a_long_reason_of_many_bytes_leaves_room_in_the_entry() -> None:
    """A node may be judged unreachable with a reason of wide characters."""
    case = Overfull()
    node = case.state.nodes[case.away]
    case.state.nodes[case.away] = type(node)(
        node.node_id, node.reachability, node.intent, "\U0001f4a5" * 256, node.changed_at_ms
    )
    for record in decisions.lost(case.context, case.state, case.at(10**7)):
        assert len(encode_body(record)[1]) <= limits.ENTRY_MAX_BYTES
