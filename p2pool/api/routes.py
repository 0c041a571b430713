"""The routes under `/v1`: reads of the newest view, signed writes, streams.

Reads come from this agent's own view and say how old it is; `?consistent=true` first waits until
this agent has applied what the leader had committed. Writes are signed requests: whoever holds the
token may pass one on, and only the signature inside gives a right to anything.
"""

import time
from typing import Any, cast

import trio
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from p2pool.api import answers, render
from p2pool.api.http.streams import Streams, event_answer, log_answer
from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.spec.spec import parse_spec
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Malformed, NotFound, P2poolError, Unavailable
from p2pool.model.ids import ADDRESS_BYTES, TASK_ID_BYTES, AllocationId, NodeId, TaskId
from p2pool.model.ports.agent import (
    Accepted,
    AgentPort,
    Ask,
    InviteOffered,
    ReadIndexCommand,
    SubmitCommand,
)
from p2pool.model.ports.view import AllocationView, TaskView, View
from p2pool.wire import typed_data

# How much longer than it was given the agent may take to say that it did not make it.
ASK_SLACK_S = 1.0

AnyRequest = Request[Any, Any, Any]


def _port(state: State) -> AgentPort:
    return cast(AgentPort, state.port)


async def _view(state: State, consistent: bool) -> View:
    """The newest view, after catching up with the leader where that is asked for."""
    if consistent:
        await _ask(state, ReadIndexCommand())
    return _port(state).view()


async def _ask(state: State, asked: Ask) -> Accepted:
    """Ask the agent, and do not wait longer than the deadline whatever it does."""
    deadline_ms = limits.REQUEST_DEADLINE_MS
    with trio.move_on_after(deadline_ms / 1000 + ASK_SLACK_S):
        return await _port(state).ask(asked, deadline_ms)
    raise Unavailable(
        f"The agent gave no answer within {deadline_ms // 1000} s.",
        hint="Ask again with the same request: it is carried out once however often it is sent.",
    )


async def _json_body(request: AnyRequest) -> Any:
    with trio.move_on_after(limits.API_BODY_TIMEOUT_MS / 1000):
        return jsonform.load(await request.body())
    raise Malformed("The body did not arrive in time.", hint="Send it at once.")


def _node_id(text: str) -> NodeId:
    if (found := unhex(text, ADDRESS_BYTES)) is None:
        raise Malformed(f"{text[:64]!r} is not a node id.", hint="It is 0x and 40 hex digits.")
    return NodeId(found)


def _task(view: View, text: str) -> TaskView:
    found = unhex(text, TASK_ID_BYTES)
    if found is None:
        raise Malformed(f"{text[:64]!r} is not a task id.", hint="It has 32 hex digits.")
    if (seen := view.task(TaskId(found))) is None:
        raise NotFound(f"There is no task {text}.", hint="See the tasks: p2pool task ls --all")
    return seen


# --- nodes --------------------------------------------------------------------------------------


@get("/v1/nodes", summary="All nodes that this agent knows")
async def nodes(state: State, consistent: FromQuery[bool] = False) -> answers.NodesAnswer:
    """All nodes."""
    view = await _view(state, consistent)
    return answers.NodesAnswer(render.meta(view), tuple(render.node(view, n) for n in view.nodes))


@get("/v1/nodes/{node_id:str}", summary="One node and the copies it runs")
async def node(
    state: State, node_id: FromPath[str], consistent: FromQuery[bool] = False
) -> answers.NodeAnswer:
    """One node."""
    wanted = _node_id(node_id)
    view = await _view(state, consistent)
    if (seen := view.node(wanted)) is None:
        raise NotFound(f"There is no node {node_id}.", hint="See the nodes: p2pool node ls")
    return answers.NodeAnswer(
        render.meta(view), render.node(view, seen), render.allocations(view, wanted)
    )


# --- tasks --------------------------------------------------------------------------------------


@get("/v1/tasks", summary="All tasks, the newest first")
async def tasks(state: State, consistent: FromQuery[bool] = False) -> answers.TasksAnswer:
    """All tasks."""
    view = await _view(state, consistent)
    newest = sorted(view.tasks, key=lambda t: (-t.submitted_at_ms, t.task_id))
    return answers.TasksAnswer(render.meta(view), tuple(render.task(t) for t in newest))


@get("/v1/tasks/{task_id:str}", summary="One task with its copies")
async def task(
    state: State, task_id: FromPath[str], consistent: FromQuery[bool] = False
) -> answers.TaskAnswer:
    """One task."""
    view = await _view(state, consistent)
    return answers.TaskAnswer(render.meta(view), render.task(_task(view, task_id)))


@get("/v1/tasks/{task_id:str}/metrics", summary="What a task says of itself, copy by copy")
async def task_metrics(state: State, task_id: FromPath[str]) -> answers.MetricsAnswer:
    """The last values from every node that runs the task, asked side by side."""
    view = _port(state).view()
    copies = _task(view, task_id).allocations
    found: dict[AllocationId, answers.CopyMetrics] = {}
    room = trio.CapacityLimiter(limits.METRICS_ASKS_IN_FLIGHT_MAX)

    async def ask(copy: AllocationView) -> None:
        async with room:
            try:
                told = await _port(state).task_metrics(copy.allocation)
            except P2poolError as error:
                found[copy.allocation] = render.metrics(copy, None, error.message)
            else:
                found[copy.allocation] = render.metrics(copy, told)

    async with trio.open_nursery() as nursery:
        for copy in copies:
            nursery.start_soon(ask, copy)
    return answers.MetricsAnswer(
        render.meta(view), tuple(found[copy.allocation] for copy in copies)
    )


@post("/v1/requests", status_code=200, summary="A signed request: submit, stop, drain, ...")
async def requests(state: State, request: AnyRequest) -> answers.Accepted:
    """Carry out a signed request; answered when it is committed."""
    signed = jsonform.read_request(await _json_body(request))
    signer = typed_data.recover_request(_port(state).pool, signed)
    typed_data.check_times(signed, int(time.time()))
    if signed.request.action is Action.SUBMIT:
        parse_spec(signed.request.spec_json)
    return render.accepted(await _ask(state, SubmitCommand(signed, signer)))


@post("/v1/invites", status_code=200, summary="An invite for a node, signed by the manager")
async def invites(state: State, request: AnyRequest) -> answers.Accepted:
    """Keep an invite and hand it to the node that it names."""
    invite = jsonform.read_invite(await _json_body(request))
    return render.accepted(await _ask(state, InviteOffered(invite)))


# --- allocations --------------------------------------------------------------------------------


@get("/v1/allocations", summary="All copies of all tasks")
async def allocations(
    state: State, consistent: FromQuery[bool] = False
) -> answers.AllocationsAnswer:
    """All allocations."""
    view = await _view(state, consistent)
    return answers.AllocationsAnswer(render.meta(view), render.allocations(view))


@get("/v1/allocations/{allocation_id:str}", summary="One copy of a task")
async def allocation(
    state: State, allocation_id: FromPath[str], consistent: FromQuery[bool] = False
) -> answers.AllocationAnswer:
    """One allocation."""
    view = await _view(state, consistent)
    wanted = _allocation_id(allocation_id)
    for one in render.allocations(view):
        if one.id == str(wanted):
            return answers.AllocationAnswer(render.meta(view), one)
    raise NotFound(f"There is no allocation {wanted}.", hint="See p2pool task show TASK.")


@post(
    "/v1/allocations/{allocation_id:str}/logs",
    status_code=200,
    summary="Log lines, under a signed grant",
    responses={200: ResponseSpec(str, description="NDJSON", media_type="application/x-ndjson")},
)
async def logs(state: State, request: AnyRequest, allocation_id: FromPath[str]) -> ASGIApp:
    """Log lines of one copy, wherever it runs."""
    wanted = _allocation_id(allocation_id)
    grant, options = jsonform.read_logs(await _json_body(request))
    chunks = _port(state).logs.open(wanted, options, grant)
    return log_answer(cast(Streams, state.streams), chunks)


def _allocation_id(text: str) -> Any:
    if (found := jsonform.read_allocation(text)) is None:
        hint = "It is a task id, a dot and a number: <32 hex digits>.0"
        raise Malformed(f"{text[:64]!r} is not an allocation id.", hint=hint)
    return found


# --- the pool -----------------------------------------------------------------------------------


@get("/v1/leader", summary="Who leads, since when, in which term, and the proof of it")
async def leader(state: State, consistent: FromQuery[bool] = False) -> answers.LeaderAnswer:
    """The leader."""
    view = await _view(state, consistent)
    return answers.LeaderAnswer(render.meta(view), render.leader(view))


@get("/v1/evidence", summary="Voters that were proven to have signed for two in one term")
async def evidence(state: State) -> answers.EvidenceAnswer:
    """Proofs of equivocation."""
    view = _port(state).view()
    return answers.EvidenceAnswer(render.meta(view), render.evidence(view))


@get("/v1/committee", summary="Voters and learners of the log")
async def committee(state: State, consistent: FromQuery[bool] = False) -> answers.CommitteeAnswer:
    """The committee."""
    view = await _view(state, consistent)
    return answers.CommitteeAnswer(render.meta(view), render.committee(view))


@get("/v1/roster", summary="Who belongs, as the chain says")
async def roster(state: State) -> answers.RosterAnswer:
    """The roster."""
    view = _port(state).view()
    return answers.RosterAnswer(render.meta(view), render.roster(view))


@get("/v1/pool", summary="The pool as a whole")
async def pool(state: State, consistent: FromQuery[bool] = False) -> answers.PoolAnswer:
    """The pool."""
    view = await _view(state, consistent)
    return answers.PoolAnswer(render.meta(view), render.pool(view))


@get("/v1/agent", summary="This agent itself")
async def agent(state: State) -> answers.AgentAnswer:
    """This agent."""
    view = _port(state).view()
    return answers.AgentAnswer(render.meta(view), render.agent(view))


@get("/v1/logs-held", summary="Which log each agent holds that can be reached from here")
async def logs_held(state: State) -> answers.LogsHeldAnswer:
    """What a recovery could go on from."""
    deadline_ms = limits.REQUEST_DEADLINE_MS
    with trio.move_on_after(deadline_ms / 1000 + ASK_SLACK_S):
        ends = await _port(state).log_ends(deadline_ms)
        meta = render.meta(_port(state).view())
        silent = tuple(address_text(node_id) for node_id in ends.silent)
        return answers.LogsHeldAnswer(meta, render.logs_held(ends), silent)
    raise Unavailable("The agent gave no answer in time.", hint="Ask again.")


@get(
    "/v1/events",
    summary="What happens, as server-sent events",
    responses={200: ResponseSpec(str, description="SSE", media_type="text/event-stream")},
)
async def events(state: State, request: AnyRequest, after: FromQuery[str | None] = None) -> ASGIApp:
    """Events from now on, or after the id in `Last-Event-ID` or `?after=`."""
    text = request.headers.get("last-event-id") or after
    source = _port(state).events(_event_id(text) if text else None)
    return event_answer(cast(Streams, state.streams), source)


def _event_id(text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 20 for p in parts):
        hint = "It is EPOCH.INDEX.NUMBER, as in the last event that was read."
        raise Malformed(f"{text[:64]!r} is not the id of an event.", hint=hint)
    return int(parts[0]), int(parts[1]), int(parts[2])


# --- the process --------------------------------------------------------------------------------


@get("/v1/health", summary="The process answers; needs no token", security=[])
async def health() -> answers.Health:
    """Alive."""
    return answers.Health("ok")


@get("/v1/readiness", summary="Whether this agent takes part; 503 where it does not")
async def readiness(state: State) -> Response[answers.Readiness]:
    """Ready."""
    view = _port(state).view()
    answer = answers.Readiness(view.ready, render.problems(view))
    return Response(answer, status_code=200 if view.ready else 503)


@get("/metrics", summary="Prometheus metrics", media_type="text/plain")
async def metrics(state: State) -> Response[bytes]:
    """Metrics."""
    text = _port(state).metrics()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


ALL = (
    *(nodes, node, tasks, task, task_metrics, requests, invites, allocations, allocation, logs),
    *(leader, evidence, committee, roster, pool, agent, logs_held),
    *(events, health, readiness, metrics),
)
