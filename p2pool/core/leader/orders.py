"""Orders: what each node is to run, told until it says that it heard.

Intuition: an order is composed from the committed state alone, so two leaders that hold the same
state give the same order. It is the node's complete desired set; what is to end is named, because
nothing but an explicit stop ever stops a copy. It carries one token, (epoch, term, applied index):
a node obeys only newer ones, so an order that was delayed or is of a deposed leader does no harm.
It leaves with the leader's certificate, and is held back until there is one.

Invariants: orders are of committed entries only; a copy that a node reports and the state does not
know is stopped only where it is of this epoch (another epoch's are adopted or left).
Source: docs/design/tasks.md, "Orders and reports".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.tasks import should_run
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.ids import NodeId, Token
from p2pool.model.messages.work import Desired, Order, OrderAnswered, Stop
from p2pool.model.timing import Now


@attrs.define
class Sent:
    """The order last given to a node, and whether it was heard. `held`: it never left, for want of
    a certificate; `refused`: the node heard it and does not obey."""

    order: Order
    due_ms: int
    since_ms: int
    answered: bool = False
    held: bool = True
    refused: bool = False


@attrs.define
class Orders:
    """The orders of one leader in one term."""

    context: Context
    sent: dict[NodeId, Sent] = attrs.field(factory=dict)
    unwanted: dict[NodeId, dict[Stop, None]] = attrs.field(factory=dict)
    composed_index: int = -1

    def token(self) -> Token:
        """The token of an order that is composed now."""
        pool_log = self.context.pool_log
        return Token(pool_log.epoch, pool_log.term, pool_log.applied_index)

    def compose_all(self, now: Now) -> None:
        """Give new orders where the state has changed what a node is to do."""
        state = self.context.pool_log.state
        assert state is not None
        if self.composed_index == state.applied_index:
            return
        self.composed_index = state.applied_index
        for node_id in state.occupied_nodes():
            self.give(node_id, now)
        for node_id in tuple(self.sent):
            self.give(node_id, now)

    def give(self, node_id: NodeId, now: Now, even_same: bool = False) -> None:
        """Compose a node's order and send it where it is another than the last one."""
        state = self.context.pool_log.state
        assert state is not None
        order = compose(state, node_id, self.token(), tuple(self.unwanted.get(node_id, {})))
        old = self.sent.get(node_id)
        same = old is not None and _content(old.order) == _content(order)
        if same and not even_same:
            return
        if old is not None and same:
            order = old.order
        self.sent[node_id] = Sent(order, now.mono_ms + limits.ORDER_RESEND_MS, now.mono_ms)
        self._send(node_id, self.sent[node_id], now)

    def _send(self, node_id: NodeId, sent: Sent, now: Now) -> None:
        """Send an order with our certificate in force; without one it waits for `release`."""
        known, me = self.context.leader_certificates.fresh(now), self.context.config.me
        if known is None or (known.leader, known.term) != (me, sent.order.token.term):
            return
        if sent.held:
            sent.held, sent.since_ms = False, now.mono_ms
        sent.due_ms = now.mono_ms + limits.ORDER_RESEND_MS
        self.context.send(node_id, attrs.evolve(sent.order, certificate=known.signatures))

    def release(self, now: Now) -> None:
        """There is a new certificate: orders that waited, or were refused, go out with it."""
        for node_id, sent in self.sent.items():
            if not sent.answered and (sent.held or sent.refused):
                sent.refused = False
                self._send(node_id, sent, now)

    def on_order_answered(self, message: OrderAnswered, sender: Sender, now: Now) -> None:
        """A node heard an order. One that obeys a newer leader will get no more from us: either
        we are deposed and shall learn it from Raft, or its disk remembers another pool's past."""
        sent = self.sent.get(sender.node_id)
        if sent is not None and sent.order.token == message.token:
            sent.answered, sent.refused = message.ok, not message.ok

    def resend(self, now: Now) -> None:
        """Tell again what was not heard, to those who can be reached."""
        for node_id, sent in self.sent.items():
            if not (sent.answered or sent.held) and now.mono_ms >= sent.due_ms:
                sent.due_ms = now.mono_ms + limits.ORDER_RESEND_MS
                if self.context.bindings.is_connected(node_id):
                    self._send(node_id, sent, now)

    def undelivered(self, now: Now) -> list[NodeId]:
        """Nodes that were given an order a while ago and have not said that they heard it."""
        patience_ms = limits.ORDER_RESEND_MS
        return [
            node_id
            for node_id, sent in self.sent.items()
            if not (sent.answered or sent.held) and now.mono_ms - sent.since_ms >= patience_ms
        ]

    def came(self, node_id: NodeId, now: Now) -> None:
        """A node connected: it may have restarted since it heard us."""
        if node_id in self.sent:
            self.give(node_id, now, even_same=True)

    def refuse(self, node_id: NodeId, stop: Stop, now: Now) -> None:
        """A node runs a copy that nobody wants there: name it in its order."""
        unwanted = self.unwanted.setdefault(node_id, {})
        if stop not in unwanted and len(unwanted) < limits.ALLOCATIONS_PER_NODE_MAX:
            unwanted[stop] = None
            self.give(node_id, now)

    def gone(self, node_id: NodeId, stop: Stop) -> None:
        """A node says that a copy has ended."""
        self.unwanted.get(node_id, {}).pop(stop, None)

    def wakeup_ms(self) -> int | None:
        """When something has to be told again."""
        return min(
            (s.due_ms for s in self.sent.values() if not (s.answered or s.held)), default=None
        )


def compose(state: PoolState, node_id: NodeId, token: Token, unwanted: tuple[Stop, ...]) -> Order:
    """What the committed state says that a node is to run and to stop."""
    desired: list[Desired] = []
    stops: dict[Stop, None] = {}
    for copy in state.on_node(node_id):
        if should_run(state, copy):
            signed = state.tasks[copy.allocation.task_id].record.signed
            desired.append(Desired(copy.allocation, copy.attempt, signed, copy.gpus))
        elif copy.holds:
            stops[Stop(copy.allocation, copy.attempt)] = None
    wanted = dict.fromkeys((d.allocation, d.attempt) for d in desired)
    for stray in state.strays_on(node_id):
        stops[Stop(stray.allocation, stray.attempt)] = None
    for stop in unwanted:
        if (stop.allocation, stop.attempt) not in wanted:
            stops[stop] = None
    return Order(node_id, token, tuple(desired), tuple(sorted(stops)))


def _content(order: Order) -> tuple[object, ...]:
    return (order.desired, order.stops)
