"""Finds a task or node by what a person types: a name, an id, the beginning of one."""

import re
from collections.abc import Sequence

from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import ADDRESS_BYTES

_PREFIX_MIN = 4


_LISTED = 5


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, the beginning of its id, or its name; of several, the living one."""
    tasks = client.tasks()
    wanted = text.lower().removeprefix("0x")
    found = [task for task in tasks if task["task_id"] == wanted]
    if not found:
        named = [task for task in tasks if task["name"] == text]
        alive = [task for task in named if task["state"] in LIVING]
        found = alive or named[:1]
    if not found and len(wanted) >= _PREFIX_MIN:
        found = [task for task in tasks if task["task_id"].startswith(wanted)]
    if not found and len(wanted) < _PREFIX_MIN and re.fullmatch("[0-9a-f]+", wanted):
        raise NotFound(
            f"There is no task named {text!r}, and the beginning of an id needs {_PREFIX_MIN} hex"
            " digits.",
            hint="List them: p2pool task ls --all.",
        )
    return _only(found, f"task {text!r}", "task_id", "p2pool task ls --all")


def find_node(client: AgentClient, text: str) -> Answer:
    """A node by id or the beginning of it."""
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]*", digits) or len(digits) > 2 * ADDRESS_BYTES:
        raise NotFound(
            f"{text!r} is not the id of a node, or the beginning of one: 0x and hex digits.",
            hint="List them: p2pool node ls.",
        )
    if len(digits) < _PREFIX_MIN:
        raise NotFound(
            f"{text!r} is too short for the beginning of a node's id: it needs {_PREFIX_MIN} hex"
            f" digits, and has {len(digits)}.",
            hint="List them: p2pool node ls --all.",
        )
    found = [node for node in client.nodes() if node["node_id"].startswith(f"0x{digits}")]
    return _only(found, f"node {text!r}", "node_id", "p2pool node ls")


LIVING = ("pending", "running", "stopping")


def _only(found: Sequence[Answer], what: str, key: str, where: str) -> Answer:
    if not found:
        raise NotFound(f"There is no {what}.", hint=f"List them: {where}.")
    if len(found) > 1:
        ids = ", ".join(str(one[key]) for one in found[:_LISTED])
        raise Conflict(f"{len(found)} match {what}: {ids}.", hint="Type more of the id.")
    return found[0]
