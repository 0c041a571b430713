"""The envelope around each JSON document of a command: `p2pool`, `kind`, and what it holds.

It is read here too, because files that a command wrote are given to others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

FORM = 1
"""The number of this form; another number means another form."""


def enveloped(
    kind: str, value: Mapping[str, Any] | Sequence[Any], warnings: Sequence[str]
) -> dict[str, Any]:
    """The document: an object as `data`, a list as `items`."""
    held = "data" if isinstance(value, Mapping) else "items"
    return {"p2pool": FORM, "kind": kind, held: value, "warnings": list(warnings)}


def unwrapped(value: Any) -> Any:
    """What a document holds, or the value itself if it is none."""
    if not isinstance(value, dict) or value.get("p2pool") != FORM:
        return value
    return value.get("data", value.get("items"))
