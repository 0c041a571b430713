"""Copies that run by an earlier log's orders: claimed until the new log names them, never stopped.

Intuition: a recovery may have forgotten what this node was ordered to run. The node has not: it
reports the outcomes of its copies again, and shows the signed submission of each copy that no order
of the new log has named, so that the pool can adopt it (`core.fsm.adoption`). A copy whose
submission the node does not know either, because its own disk is new, runs on unreported: nobody
could tell whether it is wanted, and only an order may stop it.
"""

from collections.abc import Mapping

import attrs

from p2pool.core.worker.attempt import Attempt, Key
from p2pool.model import limits
from p2pool.model.ids import Token
from p2pool.model.messages.work import Desired


def another_log(items: Mapping[Key, Attempt]) -> None:
    """Mark all items as an earlier log's, and as unsettled: the new log may lack their outcomes."""
    for item in items.values():
        item.previous_epoch, item.settled = True, None


def found(items: Mapping[Key, Attempt], high_water: Token) -> None:
    """Mark found containers whose label names an earlier epoch as an earlier log's."""
    for item in items.values():
        if item.desired is None and item.token.epoch < high_water.epoch:
            item.previous_epoch = True


def reportable(items: Mapping[Key, Attempt]) -> tuple[list[Attempt], tuple[Desired, ...]]:
    """Items whose outcomes to report now, and the claims that go with them.

    A claim without room in this report waits for the next, and so does its outcome: without the
    claim the leader would see a copy that nobody wants.
    """
    told: list[Attempt] = []
    claims: list[Desired] = []
    room_bytes = limits.CLAIMS_MAX_BYTES
    for item in items.values():
        if item.claimed:
            assert item.desired is not None
            size = len(item.desired.signed.request.spec_json.encode())
            if size > room_bytes or len(claims) >= limits.CLAIMS_PER_REPORT_MAX:
                continue
            room_bytes -= size
            claims.append(attrs.evolve(item.desired, secrets=None, secrets_judged_at=None))
            told.append(item)
        elif item.news and not item.unclaimable:
            told.append(item)
    return told, tuple(claims)
