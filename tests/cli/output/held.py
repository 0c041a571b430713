"""Reads what a command wrote with --json."""

import json
from typing import Any

from p2pool.codec.json.envelope import unwrapped

KEYS = {"p2pool", "kind", "warnings"}


def held(text: str) -> Any:
    """What the one document in a text holds; an error's too."""
    document = json.loads(text)
    assert set(document) in (KEYS | {"data"}, KEYS | {"items"}), document
    return unwrapped(document)
