"""What an agent does not know, said as such: how old a state is, and that nobody leads."""

from p2pool.cli.shared.output import age, warn
from p2pool.client.agent_client import AgentClient, Answer


def copy_state(copy: Answer) -> str:
    """A copy's state, with its health if its image has a check; of a node that nobody hears, what
    it was when the node was heard last."""
    if not copy.get("known", True):
        heard = copy["heard_ms"]
        when = f"{age(heard)} ago" if heard else "its node was never heard"
        return f"unknown ({copy['state']}, {when})"
    return f"{copy['state']} ({copy['health']})" if copy["health"] != "none" else str(copy["state"])


def runs(copy: Answer) -> bool:
    """Whether a copy runs, as far as anybody can tell."""
    return copy["state"] == "running" and bool(copy.get("known", True))


def warn_if_stale(client: AgentClient) -> None:
    """Say on standard error that the last answer may be old: its agent knows no leader."""
    meta = client.meta
    if not meta or meta["leader"] is not None:
        return
    since = age(meta.get("leader_since_ms", 0), meta["as_of_ms"])
    long = f" for {since}" if since != "-" else ""
    warn(f"this agent has known no leader{long}: tasks and nodes are shown as they were then.")
