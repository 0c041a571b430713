"""Tasks, their copies, their metrics and logs; and the signed requests that change them."""

import math
import time
from typing import Any, cast

import attrs
import trio
from litestar import get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from p2pool.api.http.streams import Streams, log_answer
from p2pool.api.resources.context import (
    AnyRequest,
    Meta,
    ask_agent,
    json_body,
    meta_of,
    node_text,
    port_of,
    view_of,
    word,
)
from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.spec.spec import check_sizes, parse_spec, spec_dict
from p2pool.model import features, limits
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import BadSpec, Malformed, NotFound, P2poolError
from p2pool.model.ids import TASK_ID_BYTES, AllocationId, NodeId, TaskId
from p2pool.model.messages.task_streams import MetricsAnswered
from p2pool.model.ports import agent as ports
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import AllocationView, TaskView, View
from p2pool.wire import typed_data

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Allocation:
    """One copy of a task; `id` is `<task id>.<replica>`.

    `health`: what the image's check says (none, starting, healthy, unhealthy). During a pull
    `pulled_bytes` of `pull_total_bytes` of its image are here; else both are 0.
    """

    id: str
    task_id: str
    task_name: str
    replica: int
    attempt: int
    state: str
    node_id: str | None
    gpus: tuple[str, ...]
    reason: str
    exit_code: int | None
    oom_killed: bool
    image_digest: str
    changed_at_ms: int
    health: str
    pulled_bytes: int
    pull_total_bytes: int


@attrs.frozen
class Task:
    """A task, its signed specification, and its copies."""

    task_id: str
    name: str
    image: str
    signer: str
    state: str
    stop_requested: bool
    submitted_at_ms: int
    spec: dict[str, Any]
    allocations: tuple[Allocation, ...]


@attrs.frozen
class TasksAnswer:
    """Answer of `/v1/tasks`."""

    meta: Meta
    tasks: tuple[Task, ...]


@attrs.frozen
class TaskAnswer:
    """Answer of `/v1/tasks/{id}`."""

    meta: Meta
    task: Task


@attrs.frozen
class AllocationsAnswer:
    """Answer of `/v1/allocations`."""

    meta: Meta
    allocations: tuple[Allocation, ...]


@attrs.frozen
class AllocationAnswer:
    """Answer of `/v1/allocations/{id}`."""

    meta: Meta
    allocation: Allocation


@attrs.frozen
class Metric:
    """The last value of a number that a task reports."""

    name: str
    value: float
    at_ms: int


@attrs.frozen
class CopyMetrics:
    """What one copy reported. `problem`: why its node gave no answer, empty if it did.

    `refused_lines`: dropped lines, which were not JSON, too many or too fast.
    """

    allocation: str
    node_id: str | None
    metrics: tuple[Metric, ...]
    refused_lines: int
    problem: str


@attrs.frozen
class MetricsAnswer:
    """The numbers that a task reports, copy by copy."""

    meta: Meta
    copies: tuple[CopyMetrics, ...]


@attrs.frozen
class Accepted:
    """A request is committed; `duplicate`: it was committed before. Of `task_id`, `node_id` and
    `setting` the one is there that the request is about."""

    action: str
    task_id: str | None
    node_id: str | None
    setting: str | None
    index: int
    leader: str | None
    replicated: bool
    duplicate: bool


# --- from a view to answers ---------------------------------------------------------------------


def task_of(seen: TaskView) -> Task:
    """A task with its copies."""
    return Task(
        task_id=seen.task_id.hex(),
        name=seen.spec.name,
        image=seen.spec.image,
        signer=address_text(seen.signer),
        state=seen.state,
        stop_requested=seen.stop_requested,
        submitted_at_ms=seen.submitted_at_ms,
        spec=spec_dict(seen.spec),
        allocations=tuple(allocation_of(seen, one) for one in seen.allocations),
    )


def allocation_of(of: TaskView, seen: AllocationView) -> Allocation:
    """One copy of a task."""
    return Allocation(
        id=str(seen.allocation),
        task_id=of.task_id.hex(),
        task_name=of.spec.name,
        replica=seen.allocation.replica,
        attempt=seen.attempt,
        state=word(seen.state),
        node_id=node_text(seen.node_id),
        gpus=seen.gpus,
        reason=seen.reason,
        exit_code=seen.exit_code,
        oom_killed=seen.oom_killed,
        image_digest=seen.image_digest,
        changed_at_ms=seen.changed_at_ms,
        health=word(seen.health),
        pulled_bytes=seen.pulled_bytes,
        pull_total_bytes=seen.pull_total_bytes,
    )


def allocations_of(view: View, on: NodeId | None = None) -> tuple[Allocation, ...]:
    """All copies of all tasks, or those on a node."""
    return tuple(
        allocation_of(of, one)
        for of in view.tasks
        for one in of.allocations
        if on is None or one.node_id == on
    )


def metrics_of(
    copy: AllocationView, told: MetricsAnswered | None, problem: str = ""
) -> CopyMetrics:
    """What a copy reported, or why its node gave no answer."""
    values = told.metrics if told is not None else ()
    return CopyMetrics(
        allocation=str(copy.allocation),
        node_id=node_text(copy.node_id),
        metrics=tuple(Metric(m.name, _number(m.value), m.at_ms) for m in values),
        refused_lines=told.refused_lines if told is not None else 0,
        problem=problem,
    )


def _number(text: str) -> float:
    """A number that another node wrote, 0 if it is not finite or not a number."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def accepted_of(
    answer: ports.Accepted,
    action: str,
    *,
    task_id: str | None = None,
    node_id: str | None = None,
    setting: str | None = None,
) -> Accepted:
    """A committed request, and what it is about."""
    return Accepted(
        action=action,
        task_id=task_id,
        node_id=node_id,
        setting=setting,
        index=answer.index,
        leader=node_text(answer.leader),
        replicated=answer.replicated,
        duplicate=answer.duplicate,
    )


def _carried_out(answer: ports.Accepted, request: TaskRequest) -> Accepted:
    """A committed request of the log. Each has an id as tasks have one; only that of a submission
    is a task's."""
    target = request.target.lower().removeprefix("0x")
    match request.action:
        case Action.SUBMIT:
            named = {"task_id": answer.task_id.hex()}
        case Action.STOP:
            named = {"task_id": target}
        case Action.SET:
            named = {"setting": request.target}
        case Action.REVOKE:
            named = {}
        case _:
            named = {"node_id": f"0x{target}"}
    return accepted_of(answer, request.action.value, **named)


# --- routes -------------------------------------------------------------------------------------


@get("/v1/tasks", summary="All tasks, the newest first")
async def tasks(state: State, consistent: FromQuery[bool] = False) -> TasksAnswer:
    """All tasks."""
    view = await view_of(state, consistent)
    newest = sorted(view.tasks, key=lambda t: (-t.submitted_at_ms, t.task_id))
    return TasksAnswer(meta_of(view), tuple(task_of(t) for t in newest))


@get("/v1/tasks/{task_id:str}", summary="One task with its copies")
async def task(
    state: State, task_id: FromPath[str], consistent: FromQuery[bool] = False
) -> TaskAnswer:
    """One task."""
    view = await view_of(state, consistent)
    return TaskAnswer(meta_of(view), task_of(_task(view, task_id)))


def _task(view: View, text: str) -> TaskView:
    found = unhex(text, TASK_ID_BYTES)
    if found is None:
        raise Malformed(f"{text[:64]!r} is not a task id.", hint="Write 32 hex digits.")
    if (seen := view.task(TaskId(found))) is None:
        raise NotFound(f"There is no task {text}.", hint="List the tasks: p2pool task ls --all.")
    return seen


@get("/v1/tasks/{task_id:str}/metrics", summary="The numbers that a task reports, copy by copy")
async def task_metrics(state: State, task_id: FromPath[str]) -> MetricsAnswer:
    """The last values from every node that runs the task, all asked at once."""
    view = port_of(state).view()
    copies = _task(view, task_id).allocations
    found: dict[AllocationId, CopyMetrics] = {}
    room = trio.CapacityLimiter(limits.METRICS_ASKS_IN_FLIGHT_MAX)

    async def ask(copy: AllocationView) -> None:
        async with room:
            try:
                told = await port_of(state).task_metrics(copy.allocation)
            except P2poolError as error:
                found[copy.allocation] = metrics_of(copy, None, error.message)
            else:
                found[copy.allocation] = metrics_of(copy, told)

    async with trio.open_nursery() as nursery:
        for copy in copies:
            nursery.start_soon(ask, copy)
    return MetricsAnswer(meta_of(view), tuple(found[copy.allocation] for copy in copies))


@post(
    "/v1/requests", status_code=200, summary="Carry out a signed request: submit, stop, drain, ..."
)
async def requests(state: State, request: AnyRequest) -> Accepted:
    """Carry out a signed request; answers once it is committed."""
    signed = jsonform.read_request(await json_body(request))
    signer = typed_data.recover_request(port_of(state).pool, signed)
    typed_data.check_times(signed, int(time.time()))
    if signed.request.action is Action.SUBMIT:
        _check_spec(port_of(state).view(), signed.request.spec_json)
    return _carried_out(await ask_agent(state, SubmitCommand(signed, signer)), signed.request)


def _check_spec(view: View, spec_json: str) -> None:
    """Refuse here what the pool cannot take; what only its level stands against, with who keeps it
    from rising."""
    try:
        spec = parse_spec(spec_json, view.feature_level)
    except BadSpec as error:
        parse_spec(spec_json, features.newest())  # Worse than early: then that is to be told.
        behind = ", ".join(
            f"{address_text(one.node_id)} runs {one.agent_version or 'nothing known'}"
            for one in view.lagging
        )
        hint = f"The pool is at feature level {view.feature_level}"
        hint += f", because {behind}: upgrade that." if behind else ": wait until it is raised."
        raise BadSpec(error.message, hint=hint, problems=error.problems) from error
    check_sizes(spec)


@get("/v1/allocations", summary="All copies of all tasks")
async def allocations(state: State, consistent: FromQuery[bool] = False) -> AllocationsAnswer:
    """All allocations."""
    view = await view_of(state, consistent)
    return AllocationsAnswer(meta_of(view), allocations_of(view))


@get("/v1/allocations/{allocation_id:str}", summary="One copy of a task")
async def allocation(
    state: State, allocation_id: FromPath[str], consistent: FromQuery[bool] = False
) -> AllocationAnswer:
    """One allocation."""
    view = await view_of(state, consistent)
    wanted = _allocation_id(allocation_id)
    for one in allocations_of(view):
        if one.id == str(wanted):
            return AllocationAnswer(meta_of(view), one)
    raise NotFound(
        f"There is no allocation {wanted}.", hint="List its copies: p2pool task show TASK."
    )


@post(
    "/v1/allocations/{allocation_id:str}/logs",
    status_code=200,
    summary="Log lines, under a signed grant",
    responses={200: ResponseSpec(str, description="NDJSON", media_type="application/x-ndjson")},
)
async def logs(state: State, request: AnyRequest, allocation_id: FromPath[str]) -> ASGIApp:
    """Log lines of one copy, wherever it runs."""
    wanted = _allocation_id(allocation_id)
    grant, options = jsonform.read_logs(await json_body(request))
    chunks = port_of(state).logs.open(wanted, options, grant)
    return log_answer(cast(Streams, state.streams), chunks)


def _allocation_id(text: str) -> Any:
    if (found := jsonform.read_allocation(text)) is None:
        hint = "Write a task id, a dot and a number: <32 hex digits>.0"
        raise Malformed(f"{text[:64]!r} is not an allocation id.", hint=hint)
    return found
