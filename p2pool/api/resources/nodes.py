"""Nodes, and the invites that let them in."""

import attrs
from litestar import get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery

from p2pool.api.resources.context import (
    AnyRequest,
    Meta,
    ask_agent,
    json_body,
    meta_of,
    node_id_of,
    node_text,
    peer_text,
    view_of,
    word,
)
from p2pool.api.resources.tasks import Accepted, Allocation, accepted_of, allocations_of
from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import NotFound
from p2pool.model.machine.hardware import FreeResources, Hardware, Load
from p2pool.model.ports.agent import InviteOffered
from p2pool.model.ports.view import NodeView, View

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Node:
    """One node: membership (the chain's word), reachability (the pool's), intent (its owner's)."""

    node_id: str
    provider: str
    membership: str
    reachability: str
    intent: str
    eligible: bool
    reason: str
    role: str
    leader: bool
    peer_id: str
    agent_version: str
    feature_level: int | None
    addresses: tuple[str, ...]
    incarnation: int
    last_heard_ms: int
    hardware: Hardware | None
    free: FreeResources | None
    load: Load
    allocations: int


@attrs.frozen
class NodesAnswer:
    """Answer of `/v1/nodes`."""

    meta: Meta
    nodes: tuple[Node, ...]


@attrs.frozen
class NodeAnswer:
    """Answer of `/v1/nodes/{id}`, with the copies that the node runs."""

    meta: Meta
    node: Node
    allocations: tuple[Allocation, ...]


# --- from a view to answers ---------------------------------------------------------------------


def node_of(view: View, seen: NodeView) -> Node:
    """One node."""
    return Node(
        node_id=address_text(seen.node_id),
        provider=address_text(seen.provider),
        membership=word(seen.membership),
        reachability=word(seen.reachability),
        intent=word(seen.intent),
        eligible=seen.eligible,
        reason=seen.reason,
        role=word(seen.role),
        leader=seen.node_id == view.leader,
        peer_id=peer_text(seen.peer_key),
        agent_version=seen.agent_version,
        feature_level=seen.feature_level,
        addresses=seen.addresses,
        incarnation=seen.incarnation,
        last_heard_ms=seen.last_heard_ms,
        hardware=seen.hardware,
        free=seen.free,
        load=seen.load,
        allocations=seen.allocations,
    )


# --- routes -------------------------------------------------------------------------------------


@get("/v1/nodes", summary="All nodes that this agent knows")
async def nodes(state: State, consistent: FromQuery[bool] = False) -> NodesAnswer:
    """All nodes."""
    view = await view_of(state, consistent)
    return NodesAnswer(meta_of(view), tuple(node_of(view, n) for n in view.nodes))


@get("/v1/nodes/{node_id:str}", summary="One node and the copies it runs")
async def node(
    state: State, node_id: FromPath[str], consistent: FromQuery[bool] = False
) -> NodeAnswer:
    """One node."""
    wanted = node_id_of(node_id)
    view = await view_of(state, consistent)
    if (seen := view.node(wanted)) is None:
        raise NotFound(f"There is no node {node_id}.", hint="List the nodes: p2pool node ls.")
    return NodeAnswer(meta_of(view), node_of(view, seen), allocations_of(view, wanted))


@post(
    "/v1/invites", status_code=200, summary="Hand over an invite for a node, signed by the manager"
)
async def invites(state: State, request: AnyRequest) -> Accepted:
    """Keep an invite and hand it to the invited node."""
    invite = jsonform.read_invite(await json_body(request))
    answer = await ask_agent(state, InviteOffered(invite))
    return accepted_of(answer, "invite", node_id=node_text(invite.node_id))
