"""What a receiver is sent of an event.

Invariants: an event has the same message id whichever agent sends it, and however often, so that
who gets it several times can tell; a `gap` is about one agent's own events, and so is its id. An id
has no full stop, which separates it from the rest in what is signed.
Source: Standard Webhooks 1.0.0, "Payload structure" and "Webhook metadata".
"""

import json
from datetime import UTC, datetime

import attrs

from p2pool.codec.json.events import event_json
from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.ids import NodeId, PoolRef
from p2pool.model.ports.view import Event

_ID_HEX = 8
"""So many digits of the contract, or of the agent, stand in an id."""
_LAST_MS = 253_402_300_799_000
"""The end of the year 9999."""


@attrs.frozen
class Origin:
    """Whose events they are, and who sends them."""

    pool: PoolRef
    node_id: NodeId


def message_id(event: Event, origin: Origin) -> str:
    """The name of a message, by which a receiver drops what it has."""
    pool = origin.pool
    scope = f"{pool.chain_id}_{pool.contract.hex()[:_ID_HEX]}_{pool.pool_id}"
    place = "_".join(map(str, event.id))
    if event.kind == "gap":
        return f"gap_{scope}_{place}_{origin.node_id.hex()[:_ID_HEX]}"
    return f"evt_{scope}_{place}"


def message_body(event: Event, origin: Origin, now_ms: int) -> bytes:
    """The body, in ASCII."""
    pool = origin.pool
    told = {
        "type": event.kind,
        "timestamp": _moment(event.at_ms or now_ms),
        "data": {
            **event_json(event),
            "pool": {
                "chain_id": pool.chain_id,
                "contract": address_text(pool.contract),
                "pool_id": pool.pool_id,
            },
            "sent_by": address_text(origin.node_id),
        },
    }
    body = json.dumps(told, separators=(",", ":")).encode()
    assert len(body) <= limits.WEBHOOK_BODY_MAX_BYTES, "an event has bounds of its own"
    return body


def _moment(at_ms: int) -> str:
    # What a leader's clock says may be later than any date that can be written.
    moment = datetime.fromtimestamp(min(at_ms, _LAST_MS) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
