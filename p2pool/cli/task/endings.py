"""Says how a task ended, and why a copy is in its state, in words and by an exit code."""

import re
from collections import Counter

from p2pool.cli.documents import visible
from p2pool.cli.errors import FAILED
from p2pool.cli.task.progress import copies_text, pull_text
from p2pool.client.agent_client import Answer

_REASONS_MAX = 5
_EXIT_CODE_MAX = 255


def reason_text(copy: Answer) -> str:
    """Why a copy is in its state, as far as that is known; else empty."""
    parts = [copy["reason"]] if copy["reason"] else []
    if copy["pull_total_bytes"]:
        parts.append(pull_text(copy))
    if copy["oom_killed"]:
        whose = "one of its processes" if copy["exit_code"] == 0 else "it"
        parts.append(f"{whose} used more memory than it has, and was killed")
    code = f"exit code {copy['exit_code']}"
    if copy["exit_code"] is not None and not re.search(rf"\b{code}\b", copy["reason"]):
        parts.append(code)
    return "; ".join(parts)


def reasons_text(one: Answer) -> str:
    """Why copies do not run, each reason once, the most frequent first."""
    waiting = [c for c in one["allocations"] if c["state"] not in ("running", "succeeded")]
    counted = Counter(text for text in map(reason_text, waiting) if text)
    named = [
        f"{text} ({count} copies)" if count > 1 else text
        for text, count in counted.most_common(_REASONS_MAX)
    ]
    more = len(counted) - len(named)
    return "; ".join([*named, *([f"and {more} more reasons"] if more > 0 else [])])


def ending_text(one: Answer) -> str:
    """What a wait has come to: the state, how many copies run, and the reason if not all do."""
    state, why = one["state"], reasons_text(one)
    said = {"running": "runs", "succeeded": "has succeeded"}.get(state, f"is {state}")
    if state in ("failed", "stopped"):
        said = f"has {state}" if state == "failed" else "was stopped"
        return visible(f"{one['name']} {said}: {why or copies_text(one) + ' copies run'}.")
    return visible(f"{one['name']} {said}: {copies_text(one)} copies run.")


def exit_code_of(one: Answer) -> int:
    """The exit code for a task that did not come to run: that of its container where there is one
    copy, as `docker run` has it; else 1."""
    copies = one["allocations"]
    if len(copies) != 1 or one["spec"].get("replicas", 1) != 1 or one["spec"].get("system"):
        return FAILED
    code = copies[0]["exit_code"]
    return code if isinstance(code, int) and 0 < code <= _EXIT_CODE_MAX else FAILED
