"""What has to be true after a run, whatever was done to the pool: each check gives sentences."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.history.events import Event, operations
from tests.chaos.history.linearizability import Undecided, check
from tests.chaos.history.models import INTENT, TASK

ERROR_LEVELS = ("error", "critical")


def not_linearizable(events: Sequence[Event]) -> list[str]:
    """Objects whose history no order explains."""
    out = []
    for key, found in operations(events).items():
        model = TASK if key.startswith("task/") else INTENT
        try:
            verdict = check(model, found)
        except Undecided as error:
            out.append(f"{key}: undecided, {error}")
            continue
        if not verdict.linearizable:
            out.append(f"{key}: not linearizable; {verdict.stuck} fits nowhere")
    return out


def miscounted(events: Sequence[Event], tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Acknowledged submissions that are not there, and anything that is there twice or unasked."""
    out = []
    there = Counter(task["task_id"] for task in tasks)
    names = Counter(task["name"] for task in tasks)
    submitted = {e.key.removeprefix("task/") for e in events if e.kind == "submit"}
    acknowledged = {e.key.removeprefix("task/"): e for e in events if _is_done(e, "submit")}
    out += [
        f"{e.key} was acknowledged and is gone" for t, e in acknowledged.items() if t not in there
    ]
    out += [f"task {t} is there {n} times" for t, n in there.items() if n != 1]
    out += [f"{n} tasks are named {name}" for name, n in names.items() if n != 1]
    out += [f"task {t} was never asked for" for t in there if t not in submitted]
    indices: dict[str, set[int]] = {}
    for event in events:
        if event.request and event.type == "ok":
            indices.setdefault(event.request, set()).add(event.value["index"])
    out += [
        f"request {request} was applied at more than one index: {sorted(found)}"
        for request, found in indices.items()
        if len(found) > 1
    ]
    return out


def _is_done(event: Event, kind: str) -> bool:
    return event.kind == kind and event.type == "ok"


def complaints(logs: Iterable[Path]) -> list[str]:
    """Tracebacks and lines of error level in the logs of processes.

    The library of the network tells at `error` what the network does (a peer hangs up in the middle
    of a handshake, nobody listens at an address): that is what this test is made of.
    """
    out = []
    for path in logs:
        seen: Counter[str] = Counter()
        for line in path.read_text(errors="replace").splitlines():
            if "Traceback (most recent call last)" in line:
                seen["a traceback"] += 1
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not isinstance(entry, dict) or str(entry.get("logger")).startswith("libp2p."):
                continue
            if entry.get("level") in ERROR_LEVELS:
                seen[f"{entry['level']}: {entry.get('event')}"] += 1
        out += [f"{path.name}: {text} ({n} times)" for text, n in seen.items()]
    return out
