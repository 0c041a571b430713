"""What a step wants done, put in order: what is to be kept first, then what it allows to say.

Orders of a leader to the worker of its own node do not travel: they are handed over here, within
the step, so that a node that leads obeys itself by the same rules as any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pool.core.effects import (
    AdmitPeer,
    AnyEffect,
    Effect,
    Emit,
    Log,
    Persist,
    Publish,
    Reply,
    Seal,
    SendTo,
)
from p2pool.model.errors import P2poolError
from p2pool.model.messages.raft import TimeoutNow
from p2pool.model.ports.agent import Accepted
from p2pool.model.ports.store import PersistOp
from p2pool.model.timing import Now

if TYPE_CHECKING:
    from p2pool.core.node import Node

SETTLE_ROUNDS = 16
"""How often the parts of a node may set each other going within one step."""


def collect(node: Node, now: Now) -> list[AnyEffect]:
    """Everything that is to be made durable first, as one effect, then the rest in its order."""
    context, ledger = node.context, node.context.ledger
    node.condition.beat(now)
    _to_myself(node, now)
    ledger.flush()
    sends = [SendTo(peer_key, message) for peer_key, message in ledger.send]
    seals = [Seal(message) for message in ledger.seal]
    events = [Emit(event) for event in ledger.events]
    ledger.send, ledger.seal, ledger.events = [], [], []
    work, worker_effects = node.worker.take()
    operations: list[PersistOp] = [*ledger.take_persist(), *work]
    rest: list[AnyEffect] = []
    for effect in context.effects:  # It may grow on the way: who is admitted is asked at once.
        if isinstance(effect, Persist):
            operations += effect.operations
            continue
        rest.append(effect)
        if isinstance(effect, AdmitPeer):
            node.inbound.admitted(effect, now)
    context.effects = []
    first: list[AnyEffect] = [Persist(tuple(operations))] if operations else []
    return [*first, *sends, *seals, *rest, *worker_effects, *events]


def _to_myself(node: Node, now: Now) -> None:
    mine = node.context.config.me.peer_key
    for _ in range(SETTLE_ROUNDS):
        effects, node.context.effects = node.context.effects, []
        to_me: list[SendTo] = []
        for effect in effects:
            if isinstance(effect, SendTo) and effect.peer_key == mine:
                to_me.append(effect)
            else:
                node.context.effects.append(effect)
        if not to_me:
            return
        for sent in to_me:
            node.inbound.from_myself(sent.message, now)
        node.advance(now)
        node.settle(now)


def mute(node: Node, error: P2poolError, now: Now) -> list[AnyEffect]:
    """Nothing is promised any more: callers are told why, peers hear nothing. A leader may hand its
    office on, which promises nothing, and who was superseded says once that no work is to come."""
    told: list[AnyEffect] = []
    last = node.condition.last_word(now)
    if last is not None:
        told.append(Publish(last))
    for effect in node.context.effects:
        if isinstance(effect, Reply) and isinstance(effect.result, Accepted):
            told.append(Reply(effect.request_id, error))
        elif isinstance(effect, (Log, Reply)) or _hands_on(effect):
            told.append(effect)
    node.context.effects = []
    return [*told, *node.asks.drop_all(error)]


def _hands_on(effect: Effect) -> bool:
    return isinstance(effect, SendTo) and isinstance(effect.message, TimeoutNow)
