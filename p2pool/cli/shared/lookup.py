"""Finds a task or node by what a person types: a name, an id, the beginning of one."""

from collections.abc import Sequence

from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model.errors import Conflict, NotFound

_PREFIX_MIN = 4
_DIGITS_MAX = 9

_LISTED = 5


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, its name, or the beginning of its id; of several of a name, the living one."""
    tasks = client.tasks()
    return _task(text, _exactly(tasks, text) or _beginning(tasks, text))


def find_copy(client: AgentClient, text: str) -> tuple[Answer, int | None]:
    """A task as `find_task` finds it, or `TASK.REPLICA`: that task and the copy's number. What is
    exactly a task's name or id is that task, though its name may end in a dot and digits."""
    tasks = client.tasks()
    exact = _exactly(tasks, text)
    head, dot, tail = text.rpartition(".")
    if exact or not dot or not (tail.isascii() and tail.isdigit()) or len(tail) > _DIGITS_MAX:
        return _task(text, exact or _beginning(tasks, text)), None
    found = _exactly(tasks, head) or _beginning(tasks, head)
    return _task(head if found else text, found), int(tail)


def _task(text: str, found: list[Answer]) -> Answer:
    return _only(found, f"task {text!r}", "task_id", "p2pool task ls --all")


def _exactly(tasks: list[Answer], text: str) -> list[Answer]:
    """The task of that id; else those of that name that live, or the one that ended last."""
    wanted = text.lower().removeprefix("0x")
    if found := [task for task in tasks if task["task_id"] == wanted]:
        return found
    named = [task for task in tasks if task["name"] == text]
    return [task for task in named if task["state"] in LIVING] or named[:1]


def _beginning(tasks: list[Answer], text: str) -> list[Answer]:
    """The tasks whose id begins so."""
    wanted = text.lower().removeprefix("0x")
    if len(wanted) < _PREFIX_MIN:
        return []
    return [task for task in tasks if task["task_id"].startswith(wanted)]


def find_node(client: AgentClient, text: str) -> Answer:
    """A node by id or the beginning of it."""
    wanted = "0x" + text.lower().removeprefix("0x")
    found = [node for node in client.nodes() if node["node_id"].startswith(wanted)]
    if len(wanted) < _PREFIX_MIN + 2:
        found = []
    return _only(found, f"node {text!r}", "node_id", "p2pool node ls")


LIVING = ("pending", "running", "stopping")


def _only(found: Sequence[Answer], what: str, key: str, where: str) -> Answer:
    if not found:
        raise NotFound(f"There is no {what}.", hint=f"List them: {where}.")
    if len(found) > 1:
        ids = ", ".join(str(one[key]) for one in found[:_LISTED])
        raise Conflict(f"{len(found)} match {what}: {ids}.", hint="Type more of the id.")
    return found[0]
