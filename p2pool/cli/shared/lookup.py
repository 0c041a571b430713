"""Finds a task or node by what a person types: a name, an id, the beginning of one.

The agent finds it, so that a command reads that one and not the whole list.
"""

import re
import secrets

from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model import limits
from p2pool.model.errors import NotFound

_DIGITS_MAX = 9
_NAME_MAX = limits.TASK_NAME_MAX_BYTES
_STEM_MAX = _NAME_MAX - len("-1234")
"""Of a name that gets an ending."""
_NO_END = ".-_"
"""What no name ends with."""
NODE_DIGITS_MAX = 40
"""Of an address; its own module costs a read more to import than all else here."""

LIVING = ("pending", "running", "stopping")


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, its name, or the beginning of its id; of several of a name, the living one."""
    if not text or "/" in text:  # It would be another route.
        raise NotFound(
            f"There is no task {text[:64]!r}.", hint="List the tasks: p2pool task ls --all."
        )
    return client.task(text)


def find_copy(client: AgentClient, text: str) -> tuple[Answer, int | None]:
    """A task as `find_task` finds it, or `TASK.REPLICA`: that task and the copy's number. What is
    exactly a task's name or id is that task, though its name may end in a dot and digits."""
    try:
        return find_task(client, text), None
    except NotFound:
        head, dot, tail = text.rpartition(".")
        if not dot or not (tail.isascii() and tail.isdigit()) or len(tail) > _DIGITS_MAX:
            raise
    return find_task(client, head), int(tail)


def free_name(client: AgentClient, name: str, *, prefix: str = "") -> str:
    """The name, or one that begins like it if a living task has it: for a task that was given none.
    If another task takes it meanwhile, the pool refuses the later one. `prefix`: how every name of
    whoever asks has to begin."""
    if not name.startswith(prefix):
        name = f"{prefix}{name}"[:_NAME_MAX].rstrip(_NO_END)
    wanted = [("name", name), *(("state", state) for state in LIVING)]
    found = client.pages("/v1/tasks", "tasks", wanted)
    if not any(one["name"] == name and one["state"] in LIVING for one in found):
        return name
    return f"{name[:_STEM_MAX].rstrip(_NO_END)}-{secrets.token_hex(2)}"


def find_node(client: AgentClient, text: str) -> Answer:
    """A node and its allocations, by its id or the beginning of it."""
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]*", digits) or len(digits) > NODE_DIGITS_MAX:
        raise NotFound(
            f"{text!r} is not the id of a node, or the beginning of one: 0x and hex digits.",
            hint="List them: p2pool node ls.",
        )
    if len(digits) < limits.API_PREFIX_MIN:
        raise NotFound(
            f"{text!r} is too short for the beginning of a node's id: it needs"
            f" {limits.API_PREFIX_MIN} hex digits, and has {len(digits)}.",
            hint="List them: p2pool node ls --all.",
        )
    return client.node(text)
