"""A task's own metrics: one line of JSON with numbers in it.

    {"loss": 0.41, "step": 1200}            names and numbers
    {"label": "loss", "value": 0.41}        the form that other networks' tools write

A line counts whole or not at all, so a reader never sees half of what belongs together.
Numbers are finite; on the wire they travel as the shortest decimal text that gives them back.
"""

import json
import math
import re
from typing import Any

from p2pool.model import limits
from p2pool.model.errors import Malformed

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,63}")
_HINT = 'Write {"name": 1.5} and a newline.'


def parse_line(line: bytes) -> tuple[tuple[str, float], ...]:
    """The names and numbers of one line, in its order; `Malformed` says what is wrong."""
    if len(line) > limits.METRIC_LINE_MAX_BYTES:
        most = limits.METRIC_LINE_MAX_BYTES
        raise Malformed(f"A line of metrics has {most} bytes at most.", hint=_HINT)
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("A line of metrics is not JSON.", hint=_HINT) from error
    if not isinstance(value, dict) or not value:
        raise Malformed("A line of metrics is an object with names and numbers.", hint=_HINT)
    if set(value) >= {"label", "value"}:
        return (_checked(value["label"], value["value"]),)
    return tuple(_checked(name, number) for name, number in value.items())


def _checked(name: Any, number: Any) -> tuple[str, float]:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise Malformed(
            f"{str(name)[:64]!r} is not the name of a metric.",
            hint="It begins with a letter and has 64 letters, digits or _.:/- at most.",
        )
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise Malformed(f"The metric {name} is not a number.", hint=_HINT)
    try:
        taken = float(number)
    except OverflowError:
        taken = math.inf
    if not math.isfinite(taken):
        raise Malformed(f"The metric {name} is not a finite number.", hint=_HINT)
    return name, taken


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
