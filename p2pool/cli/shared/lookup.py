"""Finds a task or node by what a person types: a name, an id, the beginning of one.

The agent finds it, so that a command reads that one and not the whole list.
"""

from p2pool.client.agent_client import AgentClient, Answer

LIVING = ("pending", "running", "stopping")


def find_task(client: AgentClient, text: str) -> Answer:
    """A task by id, its name, or the beginning of its id; of several of a name, the living one."""
    return client.task(text)


def find_node(client: AgentClient, text: str) -> Answer:
    """A node by id or the beginning of it."""
    return dict(client.node(text)["node"])
