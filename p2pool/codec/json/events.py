"""Events as JSON: in the API's stream, and in what is sent to webhooks."""

from typing import Any

from p2pool.model.ports.view import Event, EventId


def id_text(name: EventId) -> str:
    """EPOCH.INDEX.NUMBER, after which a reader goes on."""
    return ".".join(map(str, name))


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    return {
        "id": id_text(event.id),
        "at_ms": event.at_ms,
        "kind": event.kind,
        "subject": event.subject,
        "text": event.text,
        "details": dict(event.details),
    }
