"""Orders: what each node should run, repeated until the node answers.

Intuition: a leader composes an order from the committed state alone, so two leaders with the same
state give the same order. It is the node's complete desired set; it names what must end, because
only an explicit stop ever stops a copy. It carries one token, (epoch, term, applied index): a node
obeys only newer ones, so a delayed order, or one from a deposed leader, does no harm. It travels
with the leader's certificate, and waits until there is one.

A node that connects, or reports what does not fit, gets its order whole, up to a frame full. It may
do so as often as it likes, so it gets it at once and then once in a while, for all that it did.

Invariants: orders come from committed entries only; what a node does itself draws one order in
`limits.ORDER_PAUSE_MS` at most; a reported copy that the state does not know is
stopped only if it belongs to this epoch (another epoch's are adopted or left). An order holds what
its frame has room for: of a state that an earlier version left with more, the copies that were
placed first, and the stops of the state before those of strangers. The others run on, or wait.
Source: docs/design/tasks.md, "Orders and reports".
"""

from itertools import islice

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.core.context import Context
from p2pool.core.fsm.order_room import OrderRoom, task_order_bytes
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.core.fsm.tasks import may_take_back, should_run
from p2pool.core.inputs import Sender
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import NodeId, Token
from p2pool.model.messages.work import Desired, Order, OrderAnswered, Stop
from p2pool.model.timing import Now


@attrs.define
class Sent:
    """The last order to a node, and whether the node answered. `held`: it never left, for lack of a
    certificate; `refused`: the node got it and does not obey."""

    order: Order
    due_ms: int
    since_ms: int
    answered: bool = False
    held: bool = True
    refused: bool = False


@attrs.define
class Orders:
    """The orders of one leader in one term. `left_out`: how many copies of a node find no room in
    its order."""

    context: Context
    sent: dict[NodeId, Sent] = attrs.field(factory=dict)
    unwanted: dict[NodeId, dict[Stop, None]] = attrs.field(factory=dict)
    called_ms: dict[NodeId, int] = attrs.field(factory=dict)
    """When a node gets its order again for what it did."""
    drawn_ms: BoundedDict[NodeId, int] = attrs.field(
        factory=lambda: BoundedDict(limits.MEMBERS_MAX)
    )
    left_out: dict[NodeId, int] = attrs.field(factory=dict)
    composed_index: int = -1

    def token(self) -> Token:
        """The token of an order composed now."""
        pool_log = self.context.pool_log
        return Token(pool_log.epoch, pool_log.term, pool_log.applied_index)

    def compose_all(self, now: Now) -> None:
        """Give new orders to nodes whose share the state has changed."""
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
        """Compose a node's order and send it if it differs from the last one."""
        state = self.context.pool_log.state
        assert state is not None
        order = compose(state, node_id, self.token(), tuple(self.unwanted.get(node_id, {})))
        old = self.sent.get(node_id)
        same = old is not None and _content(old.order) == _content(order)
        if same and not even_same:
            return
        if old is not None and same:
            order = old.order
        self.left_out.pop(node_id, None)
        if number := left_out(state, order):
            self.left_out[node_id] = number
        self.sent[node_id] = Sent(order, now.mono_ms + limits.ORDER_RESEND_MS, now.mono_ms)
        self._send(node_id, self.sent[node_id], now)

    def call_for(self, node_id: NodeId, now: Now) -> None:
        """A node's own doing calls for its order: it gets it with this step, unless it drew one a
        moment ago."""
        drawn_ms = self.drawn_ms.get(node_id)
        due_ms = now.mono_ms if drawn_ms is None else drawn_ms + limits.ORDER_PAUSE_MS
        self.called_ms.setdefault(node_id, due_ms)

    def give_called(self, now: Now) -> None:
        """Give the orders that were called for and are due."""
        for node_id in [n for n, due_ms in self.called_ms.items() if now.mono_ms >= due_ms]:
            del self.called_ms[node_id]
            self.drawn_ms.renew(node_id, now.mono_ms)
            self.give(node_id, now, even_same=True)

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
        """We have a new certificate: send the orders that waited, or were refused, with it."""
        for node_id, sent in self.sent.items():
            if not sent.answered and (sent.held or sent.refused):
                sent.refused = False
                self._send(node_id, sent, now)

    def on_order_answered(self, message: OrderAnswered, sender: Sender, now: Now) -> None:
        """A node answered an order. One that obeys a newer leader gets it no more: either we are
        deposed and shall learn it from Raft, or its disk remembers another pool's past."""
        sent = self.sent.get(sender.node_id)
        if sent is not None and sent.order.token == message.token:
            sent.answered, sent.refused = message.ok, not message.ok

    def resend(self, now: Now) -> None:
        """Resend unanswered orders to connected nodes."""
        for node_id, sent in self.sent.items():
            if not (sent.answered or sent.held) and now.mono_ms >= sent.due_ms:
                sent.due_ms = now.mono_ms + limits.ORDER_RESEND_MS
                if self.context.bindings.is_connected(node_id):
                    self._send(node_id, sent, now)

    def undelivered(self, now: Now) -> list[NodeId]:
        """Nodes that got an order a while ago and have not answered it."""
        patience_ms = limits.ORDER_RESEND_MS
        return [
            node_id
            for node_id, sent in self.sent.items()
            if not (sent.answered or sent.held) and now.mono_ms - sent.since_ms >= patience_ms
        ]

    def came(self, node_id: NodeId, now: Now) -> None:
        """A node connected: it may have restarted since its last order."""
        if node_id in self.sent:
            self.call_for(node_id, now)

    def refuse(self, node_id: NodeId, stop: Stop, now: Now) -> None:
        """A node runs a copy that nobody wants there: name it in its order."""
        unwanted = self.unwanted.setdefault(node_id, {})
        if stop not in unwanted and len(unwanted) < limits.ALLOCATIONS_PER_NODE_MAX:
            unwanted[stop] = None
            self.call_for(node_id, now)

    def gone(self, node_id: NodeId, stop: Stop) -> None:
        """A node reports that a copy has ended."""
        self.unwanted.get(node_id, {}).pop(stop, None)

    def warnings(self) -> tuple[str, ...]:
        """What keeps copies from being ordered, in sentences for people."""
        roster = self.context.roster
        here = (one for one in self.left_out.items() if roster.belongs(one[0]))
        shown = islice(here, limits.OVERFULL_SHOWN_MAX)
        return tuple(
            f"One order holds all but {number} copies of node {address_text(node_id)}: they get "
            "none until others there have ended. Stop some of its tasks."
            for node_id, number in shown
        )

    def wakeup_ms(self) -> int | None:
        """When the next resend is due, or an order that was called for."""
        dues = [s.due_ms for s in self.sent.values() if not (s.answered or s.held)]
        return min((*dues, *self.called_ms.values()), default=None)


def compose(state: PoolState, node_id: NodeId, token: Token, unwanted: tuple[Stop, ...]) -> Order:
    """What a node must run and stop by the committed state, as far as an order holds it."""
    stops: dict[Stop, None] = {}
    wanted: dict[Stop, Allocation] = {}
    for copy in state.on_node(node_id):
        name = Stop(copy.allocation, copy.attempt)
        if should_run(state, copy):
            wanted[name] = copy
        elif copy.holds:
            stops[name] = None
    for stray in state.strays_on(node_id):
        if may_take_back(state, stray):
            continue  # It runs on until what replaces it has begun.
        stops[Stop(stray.allocation, stray.attempt)] = None
    strange = [stop for stop in unwanted if stop not in wanted and stop not in stops]
    named = [*sorted(stops), *strange][: limits.ALLOCATIONS_PER_NODE_MAX]
    desired = _that_fit(state, tuple(wanted.values()))
    return Order(node_id, token, desired, tuple(sorted(named)))


def _that_fit(state: PoolState, copies: tuple[Allocation, ...]) -> tuple[Desired, ...]:
    """Those copies for which an order has room, the oldest first; in order of their names."""
    room, found = OrderRoom(), []
    for copy in sorted(copies, key=lambda copy: (copy.token, copy.allocation)):
        record = state.tasks[copy.allocation.task_id].record
        size_bytes = task_order_bytes(record)
        if room.refusal(size_bytes, len(copy.gpus)) is None:
            room.add(size_bytes, len(copy.gpus))
            renewed = record.secrets
            found.append(
                Desired(
                    allocation=copy.allocation,
                    attempt=copy.attempt,
                    signed=record.signed,
                    gpus=copy.gpus,
                    judged_at=record.judged_at,
                    secrets=renewed.signed if renewed is not None else None,
                    secrets_judged_at=renewed.judged_at if renewed is not None else None,
                )
            )
    return tuple(sorted(found, key=lambda desired: desired.allocation))


def left_out(state: PoolState, order: Order) -> int:
    """How many copies that should run on a node find no room in its order."""
    wanted = sum(should_run(state, copy) for copy in state.on_node(order.node_id))
    return wanted - len(order.desired)


def _content(order: Order) -> tuple[object, ...]:
    return (order.desired, order.stops)
