"""Says how a task ended, in words and by an exit code."""

from p2pool.cli.documents import visible
from p2pool.cli.errors import FAILED
from p2pool.cli.task.progress import copies_text
from p2pool.cli.task.reasons import reasons_text
from p2pool.client.agent_client import Answer

_EXIT_CODE_MAX = 255


def ending_text(one: Answer) -> str:
    """What a wait has come to: the state, how many copies run, and the reason if not all do."""
    state, why = one["state"], reasons_text(one)
    said = {"running": "runs", "succeeded": "has succeeded"}.get(state, f"is {state}")
    if state in ("failed", "stopped"):
        said = f"has {state}" if state == "failed" else "was stopped"
        why = why.removesuffix(".") or f"{copies_text(one)} copies run"
        return visible(f"{one['name']} {said}: {why}.")
    return visible(f"{one['name']} {said}: {copies_text(one)} copies run.")


def exit_code_of(one: Answer) -> int:
    """The exit code for a task that did not come to run: that of its container where there is one
    copy, as `docker run` has it; else 1."""
    copies = one["allocations"]
    if len(copies) != 1 or one["spec"].get("replicas", 1) != 1 or one["spec"].get("system"):
        return FAILED
    code = copies[0]["exit_code"]
    return code if isinstance(code, int) and 0 < code <= _EXIT_CODE_MAX else FAILED
