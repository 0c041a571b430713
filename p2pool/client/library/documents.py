"""JSON objects in what came over a connection, read with bounds."""

import json
from typing import Any

from p2pool.codec.json.depth import too_deep


def document(body: bytes) -> dict[str, Any]:
    """The JSON object in a body or a line, empty if it holds none."""
    try:
        text = body.decode()
        value = None if too_deep(text) else json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
