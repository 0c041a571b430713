"""What runs here by orders of an earlier log: claimed until the new log names it, never stopped.

Intuition: a recovery may have forgotten what this node was ordered to run. The node has not: it
tells the outcomes of its copies anew, and shows the signed submission of each copy that no order of
the new log has named, so that the pool can adopt it (`core.fsm.adoption`). One whose submission it
does not know either, since its own disk is new, runs on and is not reported: nobody could tell
whether it is wanted, and only an order may stop it.
"""

from collections.abc import Mapping

from p2pool.core.worker.attempt import Attempt, Key
from p2pool.model import limits
from p2pool.model.ids import Token
from p2pool.model.messages.work import Desired


def another_log(items: Mapping[Key, Attempt]) -> None:
    """All items are of an earlier log now, and what was settled in it may be forgotten."""
    for item in items.values():
        item.previous_epoch, item.settled = True, None


def found(items: Mapping[Key, Attempt], high_water: Token) -> None:
    """A container that was found, and whose label is of an earlier epoch, is of an earlier log."""
    for item in items.values():
        if item.desired is None and item.token.epoch < high_water.epoch:
            item.previous_epoch = True


def reportable(items: Mapping[Key, Attempt]) -> tuple[list[Attempt], tuple[Desired, ...]]:
    """Items whose outcomes are to be told now, and the claims that go with them.

    A claim that finds no room in this report waits for the next, and so does its outcome: without
    the claim it would be taken for a copy that nobody wants.
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
            claims.append(item.desired)
            told.append(item)
        elif item.news and not item.unclaimable:
            told.append(item)
    return told, tuple(claims)
