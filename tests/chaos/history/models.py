"""What a pool promises its clients, as single-threaded objects: a task, and a node's intent.

A task is absent, then live, then stopped; its id is derived from its request, so to submit it again
changes nothing. A node is eligible or drained; requests are applied once by their id, however often
they are sent, so the state remembers the ids: a second application is an order that no history has.
`consistent` reads are operations as any other.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from tests.chaos.history.linearizability import UNKNOWN, Model

ABSENT, LIVE, STOPPED = "absent", "live", "stopped"
ELIGIBLE, DRAINED = "eligible", "drained"
DONE, REFUSED = "done", "refused"


@attrs.frozen
class Call:
    """What was asked: `submit`, `stop`, `drain`, `resume` (with a request id), or `read`."""

    kind: str
    request: str = ""


def _task(state: str, call: Call, result: Any) -> str | None:
    if call.kind == "read":
        return state if result in (state, UNKNOWN) else None
    if call.kind == "submit":
        after = LIVE if state == ABSENT else state
        return after if result in (DONE, UNKNOWN) else None
    assert call.kind == "stop", call
    if state == ABSENT:  # There is no such task: refused, or it changed nothing.
        return state if result in (REFUSED, UNKNOWN) else None
    return STOPPED if result in (DONE, UNKNOWN) else None


TASK = Model(ABSENT, _task)

_FROM: Mapping[str, tuple[str, str]] = {"drain": (ELIGIBLE, DRAINED), "resume": (DRAINED, ELIGIBLE)}
Intent = tuple[str, frozenset[str]]


def _intent(state: Intent, call: Call, result: Any) -> Intent | None:
    value, applied = state
    if call.kind == "read":
        return state if result in (value, UNKNOWN) else None
    before, after = _FROM[call.kind]
    if call.request in applied:
        return state if result in (DONE, UNKNOWN) else None
    if value != before:
        return state if result in (REFUSED, UNKNOWN) else None
    return (after, applied | {call.request}) if result in (DONE, UNKNOWN) else None


INTENT = Model((ELIGIBLE, frozenset()), _intent)
