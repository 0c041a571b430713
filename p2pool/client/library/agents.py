"""The agents that a client may ask, and whose turn it is.

Each is named as `--agent` names one: a URL, a data directory, a socket; or by `Agent`, with the
token that belongs to it. Directories and token files are read anew for each request: an agent that
was restarted may listen elsewhere, and a token may have been replaced.

No agent is learned from another: a token opens one agent's door, and would go to whatever a liar
names.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import attrs

from p2pool.client.discovery import FoundAgent, find_agent, read_token_file
from p2pool.model import limits
from p2pool.model.errors import Misconfigured


@attrs.frozen(kw_only=True)
class Agent:
    """An agent by its URL, with its token, or the file that holds it. `ca_file`: whom to trust for
    its certificate, in the place of the system's authorities."""

    url: str
    token: str = attrs.field(default="", repr=False)
    token_file: str | Path | None = None
    ca_file: str | Path | None = None


Named: TypeAlias = str | Path | Agent


def listed(agents: "Named | Iterable[Named] | None") -> tuple[Named | None, ...]:
    """The agents that were named; none: the one that `P2POOL_AGENT` names, else this user's own."""
    if agents is None:
        return (None,)
    found = (agents,) if isinstance(agents, str | Path | Agent) else tuple(agents)
    if not found:
        raise Misconfigured("No agent is named.", hint="Name one by its URL or data directory.")
    if len(found) > limits.CLIENT_AGENTS_MAX:
        raise Misconfigured(f"More than {limits.CLIENT_AGENTS_MAX} agents are named.")
    return found


def name_of(agent: Named | None) -> str:
    """An agent as it was named, for people."""
    return agent.url if isinstance(agent, Agent) else str(agent or "the default agent")


def found(agent: Named | None) -> FoundAgent:
    """Where it is now. `Unavailable`: it does not run; `Misconfigured`: it has no token."""
    if not isinstance(agent, Agent):
        return find_agent(None if agent is None else str(agent), os.environ)
    token = agent.token or None
    if token is None and agent.token_file is not None:
        token = read_token_file(str(agent.token_file))
    ca = None if agent.ca_file is None else str(agent.ca_file)
    return find_agent(agent.url, os.environ, token=token, ca=ca)


@attrs.define
class Rotation:
    """Whose turn it is: who answered last is asked first. `at`: that agent's number."""

    count: int
    at: int = 0

    def leave(self, agent: int) -> None:
        """This one did not answer; who finds so at the same time skips no other."""
        if self.at == agent:
            self.at = (agent + 1) % self.count
