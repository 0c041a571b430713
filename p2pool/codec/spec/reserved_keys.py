"""Says what a request holds that would change nothing, so that nobody takes it for heeded.

Intuition: a signer who names secrets means that the task needs them. Whoever lets such a request in
(a command, the API, the leader before it proposes) asks here first and refuses it.

Invariants: applying an entry never asks. What older logs hold stays applied as it was.
Source: docs/design/tasks.md, "The specification".
"""

import json
from collections.abc import Mapping
from typing import Any

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.duplicates import repeated
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import BadSpec, Malformed, P2poolError

RESERVED: Mapping[str, str] = {
    "run_until_s": "has no effect yet: use deadline_s, which ends a task after a time",
}
"""Keys of a specification that are read and do nothing, and what to tell who uses them."""

_KEYS: Mapping[Action, tuple[str, ...]] = {
    Action.SET: ("value",),
    Action.REVOKE: ("beforeS", "stopRunning"),
    Action.SET_SECRET: ("restart", "secrets"),
}
"""What the text of a request that submits nothing may hold; of the others: nothing."""


def unheeded_keys(specification: Mapping[str, Any]) -> list[str]:
    """A sentence for each key of a specification that would do nothing as it is given."""
    problems = [f"{key} {why}" for key, why in RESERVED.items() if key in specification]
    # Names alone are what the first feature level took.
    if isinstance(specification.get("secrets"), list | tuple):
        problems.append(
            "secrets has names and no values: give them with `p2pool task run --secret`"
        )
    return problems


def nested(request: TaskRequest) -> Malformed | None:
    """Why not even to parse what a request holds: how it is nested could end the process."""
    if not too_deep(request.spec_json):
        return None
    return Malformed("The request's specJson is nested too deeply.", hint="Send a plain object.")


def unheeded(request: TaskRequest) -> P2poolError | None:
    """Why to refuse a request of which a part would do nothing; None if all of it counts, or if
    others will say what is wrong with it."""
    submits = request.action is Action.SUBMIT
    if submits and request.target:
        return Malformed("A submission has no target.", hint="Leave target empty.")
    twice: list[str] = []
    if too_deep(request.spec_json):
        return None if submits else nested(request)
    try:
        value = json.loads(request.spec_json or "{}", object_pairs_hook=_noting(twice))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if submits:
        problems = unheeded_keys(value)
        if not problems:
            return None
        listed = "; ".join(problems)
        return BadSpec(f"The task specification is not good: {listed}.", problems=tuple(problems))
    known = _KEYS.get(request.action, ())
    unknown = sorted(set(value) - set(known)) + sorted(twice)
    if not unknown:
        return None
    may = f"only {', '.join(known)}, each once" if known else "nothing"
    return Malformed(
        f"The specJson of {request.action.value} holds {may}; {unknown[0][:64]!r} would do nothing."
    )


def _noting(twice: list[str]) -> Any:
    """A hook for objects that notes the names that stand twice in one of them."""

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice.extend(repeated(name for name, _ in pairs))
        return dict(pairs)

    return hook
