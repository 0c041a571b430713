"""Finds a task or node by what a person types: a name, an id, the beginning of one.

The agent finds it, so that a command reads that one and not the whole list.
"""

from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model.errors import NotFound

_DIGITS_MAX = 9

LIVING = ("pending", "running", "stopping")


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, its name, or the beginning of its id; of several of a name, the living one."""
    return client.task(text)


def find_copy(client: AgentClient, text: str) -> tuple[Answer, int | None]:
    """A task as `find_task` finds it, or `TASK.REPLICA`: that task and the copy's number. What is
    exactly a task's name or id is that task, though its name may end in a dot and digits."""
    try:
        return client.task(text), None
    except NotFound:
        head, dot, tail = text.rpartition(".")
        if not dot or not (tail.isascii() and tail.isdigit()) or len(tail) > _DIGITS_MAX:
            raise
    return client.task(head), int(tail)


def find_node(client: AgentClient, text: str) -> Answer:
    """A node by id or the beginning of it."""
    return dict(client.node(text)["node"])
