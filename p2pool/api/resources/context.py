"""What all routes share: the agent behind them, its view, and names as text.

Accounts, contracts and node ids are `0x` and 40 hex digits; other names are hex. Times are Unix
milliseconds, 0 for never. States are lower-case words. Each answer carries `meta`, which names the
view that it was read from, so that a reader can tell its age.
"""

from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Any, TypeVar, cast

import attrs
import trio
from litestar import Request
from litestar.datastructures import State

from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.peer_id import peer_id
from p2pool.model import limits
from p2pool.model.errors import Malformed, Unavailable
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.ports.agent import Accepted, AgentPort, Ask, ReadIndexCommand
from p2pool.model.ports.view import NodeView, View

AnyRequest = Request[Any, Any, Any]
Answer = TypeVar("Answer")

# --- the agent -------------------------------------------------------------------------------


def port_of(state: State) -> AgentPort:
    """The agent behind the application."""
    return cast(AgentPort, state.port)


async def view_of(state: State, consistent: bool) -> View:
    """The newest view; if `consistent`, after catching up with the leader."""
    if consistent:
        await ask_agent(state, ReadIndexCommand())
    return port_of(state).view()


async def ask_agent(state: State, asked: Ask) -> Accepted:
    """Ask the agent to carry something out; `Unavailable` after the deadline."""
    hint = "Send the same request again: the pool carries it out once, however often it comes."
    return await in_time(lambda deadline_ms: port_of(state).ask(asked, deadline_ms), hint)


async def in_time(ask: Callable[[int], Awaitable[Answer]], hint: str) -> Answer:
    """An answer to what is asked with a deadline, in ms; `Unavailable` if the agent misses it."""
    deadline_ms = limits.REQUEST_DEADLINE_MS
    with trio.move_on_after((deadline_ms + limits.API_ASK_SLACK_MS) / 1000):
        return await ask(deadline_ms)
    raise Unavailable(f"The agent gave no answer within {deadline_ms // 1000} s.", hint=hint)


# --- what is sent ----------------------------------------------------------------------------


async def json_body(request: AnyRequest) -> Any:
    """The JSON in the body; `Malformed` if it is not JSON or comes too slowly."""
    with trio.move_on_after(limits.API_BODY_TIMEOUT_MS / 1000):
        return jsonform.load(await request.body())
    raise Malformed("The body did not arrive in time.", hint="Send it without pauses.")


# --- what is answered ------------------------------------------------------------------------


@attrs.frozen
class Meta:
    """The view behind an answer, and how much of the log and the chain it had seen.

    `leader_since_ms`: since when this leader is known; without one, since when there is none.
    """

    as_of_ms: int
    revision: int
    node_id: str
    epoch: int
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    roster_block: int | None
    roster_age_ms: int
    leader_since_ms: int = 0


def meta_of(view: View) -> Meta:
    """How much a view had seen."""
    return Meta(
        as_of_ms=view.as_of_ms,
        revision=view.revision,
        node_id=address_text(view.node_id),
        epoch=view.epoch,
        term=view.term,
        leader=node_text(view.leader),
        commit_index=view.commit_index,
        applied_index=view.applied_index,
        roster_block=None if view.roster is None else view.roster.block_number,
        roster_age_ms=view.roster_age_ms,
        leader_since_ms=view.leader_since_ms,
    )


def word(state: IntEnum) -> str:
    """A state as people read it."""
    return state.name.lower().replace("_", "-")


def reachability_of(seen: NodeView | None) -> str:
    """Whether the pool hears a node, `unknown` where nothing tells."""
    return "unknown" if seen is None or not seen.known else word(seen.reachability)


def node_text(node_id: NodeId | None) -> str | None:
    """A node id as text."""
    return None if node_id is None else address_text(node_id)


def peer_text(key: PeerKey | None) -> str:
    """A peer id as text, empty if the key is unknown."""
    return "" if key is None else peer_id(key)
