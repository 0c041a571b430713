"""What validators say of a node, as commands show it; that nobody says anything is told too."""

from collections.abc import Sequence

from p2pool.cli.shared.output import age, short
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.model.errors import NotFound

UNCONFIRMED = "the chain has not confirmed the validator yet"
CONTRADICTED = "contradicted by the validator itself"


def verdicts_on(client: AgentClient, node_id: str) -> list[Answer] | None:
    """The verdicts on one node; None from an agent of before version 0.3, which knows none."""
    try:
        return client.validations(node_id)
    except NotFound:
        return None


def verdict_pairs(verdicts: Sequence[Answer] | None) -> list[tuple[str, str]]:
    """A line for each validator."""
    if verdicts is None:
        return [("validated", "unknown: this agent hears no validators")]
    if not verdicts:
        return [("validated", "unknown: no validator's verdict on it is known here")]
    lines = [f"{short(one['validator'])}: {verdict_text(one)}" for one in verdicts]
    return [("validated" if number == 0 else "", line) for number, line in enumerate(lines)]


def verdict_text(one: Answer) -> str:
    """A conclusion, its age, and what there is to know about who says so."""
    parts = [f"{one['conclusion']}, {age(one['concluded_at_ms'])} ago"]
    if not one["confirmed"]:
        parts.append(UNCONFIRMED)
    if one["contradicted_by"] is not None:
        parts.append(CONTRADICTED)
    return "; ".join(parts)
