"""What a delegation says, in words for people: its scope, its quota, its times.

Kept apart from what signs: `access ls` only reads, and shows the same words.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from p2pool.cli.shared.output import SPANS
from p2pool.model import limits
from p2pool.model.access.amounts import cpus_text

SCOPES: Mapping[str, str] = {
    "read": "read the log lines of every task",
    "submit": "run tasks, stop its own and set their secrets, read the log lines of every task",
    "admin": "run and stop tasks, set their secrets, drain, resume and ban nodes, read the log"
    " lines of every task",
}
"""What each scope lets a delegate do."""

_YEAR_MAX_S = 253_402_300_800
"""The end of the year 9999: a time beyond it has no date that anybody writes."""


def moment(at_s: int) -> str:
    """A time as people write it, to the second."""
    if not 0 <= at_s < _YEAR_MAX_S:
        return f"Unix second {at_s}"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_s))


def span(seconds: int) -> str:
    """A span in its largest whole unit."""
    for length_s, unit in SPANS:
        if seconds >= length_s:
            return f"{seconds // length_s}{unit}"
    return f"{max(0, seconds)}s"


def state_of(not_before_s: int, not_after_s: int, now_s: int) -> str:
    """What a delegation is worth by its times alone, in the API's words. A pool takes one that
    begins a moment from now: clocks differ."""
    if now_s > not_after_s:
        return "expired"
    early = now_s * 1000 < not_before_s * 1000 - limits.CLOCK_SKEW_MAX_MS
    return "not-yet" if early else "in-force"


def state_text(not_before_s: int, not_after_s: int, now_s: int) -> str:
    """The same in words, with how long ago or how soon."""
    state = state_of(not_before_s, not_after_s, now_s)
    if state == "expired":
        return f"expired {span(now_s - not_after_s)} ago"
    if state == "not-yet":
        return f"not yet in force: begins in {span(not_before_s - now_s)}"
    return f"in force, for {span(not_after_s - now_s)} more"


def quota_text(quota: Mapping[str, Any] | None) -> str:
    """A quota as its JSON has it, in a line; what it does not limit is not named."""
    given = quota or {}
    at_once = [
        *_counted(given.get("max_gpus"), str, "GPU", "GPUs"),
        *_counted(given.get("max_cpu_milli"), cpus_text, "CPU", "CPUs"),
        *_counted(given.get("max_replicas"), str, "copy", "copies"),
    ]
    parts = [f"{_listed(at_once)} at once"] if at_once else []
    if given.get("max_priority") is not None:
        parts.append(f"priority up to {given['max_priority']}")
    if given.get("name_prefix") is not None:
        parts.append(f"names that begin with {given['name_prefix']}")
    return "; ".join(parts) or "no limit"


def _counted(most: int | None, text: Callable[[int], str], one: str, many: str) -> list[str]:
    if most is None:
        return []
    shown = text(most)
    return [f"no {one}" if not most else f"{shown} {one if shown == '1' else many}"]


def _listed(parts: list[str]) -> str:
    *before, last = parts
    return f"{', '.join(before)} and {last}" if before else last
