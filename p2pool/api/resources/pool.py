"""The pool as a whole: its roster, its committee, the logs that agents hold, its events."""

from typing import cast

import attrs
from litestar import get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from p2pool.api.http.streams import Streams, event_answer
from p2pool.api.resources.context import (
    AnyRequest,
    Meta,
    in_time,
    meta_of,
    node_text,
    peer_text,
    port_of,
    reachability_of,
    view_of,
    word,
)
from p2pool.api.resources.parameters import AfterEvent, Consistent
from p2pool.codec.json.held_logs import HeldLog, held_log
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import Malformed
from p2pool.model.log.raft import Voter, majority
from p2pool.model.ports.view import NodeView, View
from p2pool.model.states import Membership, Reachability

OUTSIDE = (Membership.APPLICANT, Membership.INVITED, Membership.LEFT)


# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Lagging:
    """A voter or learner that keeps the pool from its next feature level. `feature_level` null: it
    was not heard of late."""

    node_id: str
    agent_version: str
    feature_level: int | None


@attrs.frozen
class Pool:
    """The pool: its name on the chain, its keepers, its resources. `nodes_unknown`: members of
    which nothing tells how they are; `roster_age_ms`: how old the chain's word is."""

    chain_id: int
    contract: str
    pool_id: int
    name: str
    status: str
    domain_id: int
    creator: str | None
    manager: str | None
    requirements: str
    members: int
    nodes_healthy: int
    nodes_eligible: int
    gpus: int
    gpus_free: int
    tasks: dict[str, int]
    settings: dict[str, str]
    leader: str | None
    feature_level: int
    lagging: tuple[Lagging, ...]
    nodes_unknown: int = 0
    roster_age_ms: int = 0


@attrs.frozen
class PoolAnswer:
    """Answer of `/v1/pool`."""

    meta: Meta
    pool: Pool


@attrs.frozen
class Member:
    """A node of the roster."""

    node_id: str
    provider: str
    eligible: bool
    reason: str


@attrs.frozen
class Roster:
    """Who belongs, read at one block of the chain; `final_block` is the newest final one."""

    block_number: int
    block_hash: str
    block_time_ms: int
    final_block: int | None
    age_ms: int
    members: tuple[Member, ...]


@attrs.frozen
class RosterAnswer:
    """Answer of `/v1/roster`; null: the agent has not read the chain yet, unlike *empty*."""

    meta: Meta
    roster: Roster | None


@attrs.frozen
class CommitteeMember:
    """A voter or learner: its node, and the key and data directory that it votes with. While the
    committee changes, `comes` and `goes` mark the voters that are in one of the two only."""

    node_id: str
    peer_id: str
    store_id: str
    voter: bool
    leader: bool
    reachability: str
    comes: bool = False
    goes: bool = False


@attrs.frozen
class Committee:
    """Who keeps the log: `quorum` voters must agree that do not go. While the committee changes,
    `outgoing_quorum` of those that do not come must agree, too; else that is null."""

    quorum: int
    members: tuple[CommitteeMember, ...]
    outgoing_quorum: int | None = None


@attrs.frozen
class CommitteeAnswer:
    """Answer of `/v1/committee`."""

    meta: Meta
    committee: Committee


@attrs.frozen
class LogsHeldAnswer:
    """Answer of `/v1/logs-held`; `silent`: connected members that did not answer in time."""

    meta: Meta
    logs: tuple[HeldLog, ...]
    silent: tuple[str, ...]


# --- from a view to answers ---------------------------------------------------------------------


def pool_of(view: View) -> Pool:
    """The pool as a whole."""
    known = view.roster
    healthy = [one for one in view.nodes if _is_healthy(one)]
    return Pool(
        chain_id=view.pool.chain_id,
        contract=address_text(view.pool.contract),
        pool_id=view.pool.pool_id,
        name=known.pool_name if known else "",
        status=word(known.status) if known else "unknown",
        domain_id=known.domain_id if known else 0,
        creator=address_text(known.creator) if known else None,
        manager=address_text(known.manager) if known else None,
        requirements=known.requirements if known else "",
        members=len(known.members) if known else 0,
        nodes_healthy=len(healthy),
        nodes_eligible=sum(one.eligible for one in healthy),
        gpus=sum(len(one.hardware.gpus) for one in healthy if one.hardware),
        gpus_free=sum(one.free.gpus for one in healthy if one.free),
        tasks=dict(view.tasks.states()),
        settings=dict(view.settings),
        leader=node_text(view.leader),
        feature_level=view.feature_level,
        lagging=tuple(
            Lagging(address_text(one.node_id), one.agent_version, one.feature_level)
            for one in view.lagging
        ),
        nodes_unknown=sum(not n.known for n in view.nodes if n.membership not in OUTSIDE),
        roster_age_ms=view.roster_age_ms,
    )


def _is_healthy(node: NodeView) -> bool:
    healthy = node.known and node.reachability is Reachability.HEALTHY
    return healthy and node.membership not in OUTSIDE


def roster_of(view: View) -> Roster | None:
    """The roster, None until the agent has read the chain."""
    known = view.roster
    if known is None:
        return None
    return Roster(
        block_number=known.block_number,
        block_hash=known.block_hash.hex(),
        block_time_ms=known.block_time_ms,
        final_block=None if view.roster_final is None else view.roster_final.block_number,
        age_ms=view.roster_age_ms,
        members=tuple(
            Member(
                node_id=address_text(one.node_id),
                provider=address_text(one.provider),
                eligible=one.eligible,
                reason=one.reason,
            )
            for one in known.members
        ),
    )


def committee_of(view: View) -> Committee:
    """While the committee changes, the voters that come and those that go."""
    group = view.configuration
    return Committee(
        quorum=majority(len(group.voters)) if group.voters else 0,
        members=tuple(_committee_member(view, one) for one in group.everybody),
        outgoing_quorum=majority(len(group.outgoing)) if group.is_joint else None,
    )


def _committee_member(view: View, one: Voter) -> CommitteeMember:
    seen, group = view.node(one.node_id), view.configuration
    votes = one in group.electors
    return CommitteeMember(
        node_id=address_text(one.node_id),
        peer_id=peer_text(one.peer_key),
        store_id=one.store_id.hex(),
        voter=votes,
        leader=one.node_id == view.leader,
        reachability=reachability_of(seen),
        comes=votes and group.is_joint and one not in group.outgoing,
        goes=votes and one not in group.voters,
    )


# --- routes -------------------------------------------------------------------------------------


@get("/v1/committee", summary="Voters and learners of the log")
async def committee(state: State, consistent: Consistent = False) -> CommitteeAnswer:
    """The committee."""
    view = await view_of(state, consistent)
    return CommitteeAnswer(meta_of(view), committee_of(view))


@get("/v1/roster", summary="Who belongs, as the chain says")
async def roster(state: State) -> RosterAnswer:
    """The roster."""
    view = port_of(state).view()
    return RosterAnswer(meta_of(view), roster_of(view))


@get("/v1/pool", summary="The pool as a whole")
async def pool(state: State, consistent: Consistent = False) -> PoolAnswer:
    """The pool."""
    view = await view_of(state, consistent)
    return PoolAnswer(meta_of(view), pool_of(view))


@get("/v1/logs-held", summary="Which log each reachable agent holds")
async def logs_held(state: State) -> LogsHeldAnswer:
    """What a recovery could go on from."""
    ends = await in_time(port_of(state).log_ends, "Ask again.")
    meta = meta_of(port_of(state).view())
    silent = tuple(address_text(node_id) for node_id in ends.silent)
    return LogsHeldAnswer(meta, tuple(held_log(one) for one in ends.found), silent)


@get(
    "/v1/events",
    summary="Events of the pool, as server-sent events",
    responses={
        200: ResponseSpec(
            str, description="SSE", media_type="text/event-stream", generate_examples=False
        )
    },
)
async def events(state: State, request: AnyRequest, after: AfterEvent = "") -> ASGIApp:
    """Events from now on, or after the id in `Last-Event-ID` or `?after=`. Where the agent lost
    some of those, one of the kind `gap` comes first; an id of the future is refused."""
    text = request.headers.get("last-event-id") or after
    stream = await port_of(state).events(_event_id(text) if text else None)
    return event_answer(cast(Streams, state.streams), stream)


def _event_id(text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 20 for p in parts):
        hint = "Copy the id of the last event that you read: EPOCH.INDEX.NUMBER."
        raise Malformed(f"{text[:64]!r} is not the id of an event.", hint=hint)
    return int(parts[0]), int(parts[1]), int(parts[2])
