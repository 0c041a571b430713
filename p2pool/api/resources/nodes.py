"""Nodes, and the invites that let them in."""

import re
from bisect import bisect_right
from collections.abc import Sequence

import attrs
from litestar import get, post
from litestar.datastructures import State

from p2pool.api.resources.context import (
    AnyRequest,
    Meta,
    ask_agent,
    json_body,
    meta_of,
    node_text,
    peer_text,
    reachability_of,
    view_of,
    word,
)
from p2pool.api.resources.parameters import AfterNode, Consistent, Limit, NodeText
from p2pool.api.resources.tasks import Accepted, Allocation, accepted_of, allocations_of
from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text, unhex
from p2pool.model import limits
from p2pool.model.errors import Conflict, Malformed, NotFound
from p2pool.model.ids import ADDRESS_BYTES, NodeId
from p2pool.model.machine.hardware import FreeResources, Hardware, Load
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.agent import InviteOffered
from p2pool.model.ports.view import NodeView, View

_BEGINNING = rf"[0-9a-f]{{{limits.API_PREFIX_MIN},{2 * ADDRESS_BYTES}}}"
_TOLD = 5
"""So many of the ids that match are told."""

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Node:
    """One node: membership (the chain's word), reachability (the pool's), intent (its owner's).

    `reachability`: healthy, suspect, unreachable, dead, or unknown: never heard, or not of late and
    no leader is known that would judge it. `role`, `free` and `load` are as of `last_heard_ms`.
    """

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
    """Answer of `/v1/nodes`, by id. `next`: the place behind which the next page begins, null for
    the last."""

    meta: Meta
    nodes: tuple[Node, ...]
    next: str | None


@attrs.frozen
class NodeAnswer:
    """Answer of `/v1/nodes/{id}`, with the copies that the node runs."""

    meta: Meta
    node: Node
    allocations: tuple[Allocation, ...]


@attrs.frozen
class Binding:
    """The signed word of a node's two keys that they belong together: whoever encrypts for the
    node checks both signatures, and takes nobody's word for its peer key."""

    node_id: str
    provider: str
    eligible: bool
    peer_key: str
    not_before_s: int
    not_after_s: int
    node_signature: str
    peer_signature: str


@attrs.frozen
class BindingsAnswer:
    """Answer of `/v1/bindings`, by node id: members whose binding this agent knows. `next`: the
    place behind which the next page begins, null for the last."""

    meta: Meta
    bindings: tuple[Binding, ...]
    next: str | None


# --- from a view to answers ---------------------------------------------------------------------


def node_of(view: View, seen: NodeView) -> Node:
    """One node."""
    return Node(
        node_id=address_text(seen.node_id),
        provider=address_text(seen.provider),
        membership=word(seen.membership),
        reachability=reachability_of(seen),
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


def _page(view: View, limit: int, after: str) -> tuple[list[NodeView], str | None]:
    """So many nodes by id, those behind a place; and the place behind which the next page begins,
    None for the last."""
    ids = view.nodes.ids()
    start = _behind(ids, NodeId(bytes.fromhex(after[2:]))) if after else 0
    chosen = ids[start : start + limit]
    found = [seen for one in chosen if (seen := view.node(one)) is not None]
    return found, address_text(chosen[-1]) if start + limit < len(ids) else None


# --- routes -------------------------------------------------------------------------------------


@get("/v1/nodes", summary="The nodes that this agent knows, in pages")
async def nodes(
    state: State,
    consistent: Consistent = False,
    limit: Limit = limits.API_PAGE_DEFAULT,
    after: AfterNode = "",
) -> NodesAnswer:
    """Nodes by id: members, and those that left lately or may come."""
    view = await view_of(state, consistent)
    found, following = _page(view, limit, after)
    return NodesAnswer(meta_of(view), tuple(node_of(view, seen) for seen in found), following)


@get("/v1/bindings", summary="The bindings of the members' keys, in pages")
async def bindings(
    state: State, limit: Limit = limits.API_PAGE_DEFAULT, after: AfterNode = ""
) -> BindingsAnswer:
    """What a submitter needs to encrypt secrets for nodes."""
    view = await view_of(state, consistent=False)
    found, following = _page(view, limit, after)
    told = tuple(_binding_of(seen, seen.binding) for seen in found if seen.binding is not None)
    return BindingsAnswer(meta_of(view), told, following)


def _binding_of(seen: NodeView, binding: PeerBinding) -> Binding:
    return Binding(
        node_id=address_text(seen.node_id),
        provider=address_text(seen.provider),
        eligible=seen.eligible,
        peer_key=binding.peer_key.hex(),
        not_before_s=binding.not_before_s,
        not_after_s=binding.not_after_s,
        node_signature=binding.node_signature.hex(),
        peer_signature=binding.peer_signature.hex(),
    )


@get("/v1/nodes/{node_id:str}", summary="One node and the copies it runs")
async def node(state: State, node_id: NodeText, consistent: Consistent = False) -> NodeAnswer:
    """One node, by its id or the beginning of it. 409 if several begin so."""
    view = await view_of(state, consistent)
    seen = _node(view, node_id)
    return NodeAnswer(meta_of(view), node_of(view, seen), allocations_of(view, seen.node_id))


def _behind(ids: Sequence[NodeId], place: NodeId) -> int:
    """Where the ids behind a place begin, be its node still there or not."""
    return ids.index(place) + 1 if place in ids else bisect_right(ids, place)


def _node(view: View, text: str) -> NodeView:
    """A node by what a person types."""
    whole = unhex(text, ADDRESS_BYTES)
    found = view.node(NodeId(whole)) if whole is not None else None
    if found is not None:
        return found
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch(_BEGINNING, digits):
        raise Malformed(
            f"{text[:64]!r} is neither a node id nor the beginning of one.",
            hint=f"Write 0x and 40 hex digits, or {limits.API_PREFIX_MIN} of them at least.",
        )
    like = [one for one in view.nodes.ids() if one.hex().startswith(digits)]
    if len(like) > 1:
        told = ", ".join(address_text(one) for one in like[:_TOLD])
        raise Conflict(f"{len(like)} match node {text!r}: {told}.", hint="Type more of the id.")
    if like and (found := view.node(like[0])) is not None:
        return found
    raise NotFound(f"There is no node {text[:64]!r}.", hint="List the nodes: p2pool node ls.")


@post(
    "/v1/invites", status_code=200, summary="Hand over an invite for a node, signed by the manager"
)
async def invites(state: State, request: AnyRequest) -> Accepted:
    """Keep an invite and hand it to the invited node."""
    invite = jsonform.read_invite(await json_body(request))
    answer = await ask_agent(state, InviteOffered(invite))
    return accepted_of(answer, "invite", node_id=node_text(invite.node_id))
