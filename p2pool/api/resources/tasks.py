"""Tasks, their copies, their metrics and logs; and the signed requests that change them."""

import math
import re
import time
from itertools import islice
from typing import Any, cast

import attrs
import trio
from litestar import get, post
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
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
from p2pool.api.resources.pages import (
    Filter,
    copies_behind,
    copy_place_text,
    cut,
    place_text,
    task_place,
)
from p2pool.api.resources.parameters import (
    AfterCopy,
    AfterTask,
    AllocationText,
    Consistent,
    CopyStates,
    Labels,
    Limit,
    Named,
    OfTask,
    OnNode,
    States,
    TaskText,
    pairs,
)
from p2pool.codec.cbor.structs import lowest_level
from p2pool.codec.json import requests as jsonform
from p2pool.codec.json.hex import address_text, unhex
from p2pool.codec.spec.reserved_keys import unheeded
from p2pool.codec.spec.spec import (
    check_devices,
    check_heeded,
    check_image,
    check_sizes,
    parse_spec,
    spec_dict,
)
from p2pool.model import features, limits
from p2pool.model.access.quotas import never_fits, quota_refusal
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import BadSpec, Conflict, Malformed, NotFound, P2poolError
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import ADDRESS_BYTES, TASK_ID_BYTES, AllocationId, NodeId, TaskId
from p2pool.model.messages.task_streams import MetricsAnswered
from p2pool.model.ports import agent as ports
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import AllocationView, TaskView, View
from p2pool.wire import typed_data

LIVING = ("pending", "running", "stopping")
_TOLD = 5
"""So many of the ids that match are told."""

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Allocation:
    """One copy of a task; `id` is `<task id>.<replica>`.

    `health`: what the image's check says (none, starting, healthy, unhealthy). During a pull
    `pulled_bytes` of `pull_total_bytes` of its image are here; else both are 0. `known` false: its
    node was last heard at `heard_ms` (0: never), and nobody knows whether the state still holds.
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
    known: bool
    heard_ms: int


@attrs.frozen
class Refusal:
    """A node that refused to start a task, and gets none of it before `until_ms`. `lasting`: only
    the node's owner can change that; `times`: how often it refused."""

    node_id: str
    reason: str
    times: int
    lasting: bool
    until_ms: int


@attrs.frozen
class Task:
    """A task, its signed specification, its copies, and the nodes that refused to start it.
    `grantor`: in whose name its signer submitted it; null: in its own."""

    task_id: str
    name: str
    image: str
    signer: str
    grantor: str | None
    state: str
    stop_requested: bool
    submitted_at_ms: int
    spec: dict[str, Any]
    allocations: tuple[Allocation, ...]
    refusals: tuple[Refusal, ...]


@attrs.frozen
class TasksAnswer:
    """Answer of `/v1/tasks`, the newest first. `next`: the place behind which the next page begins,
    null for the last."""

    meta: Meta
    tasks: tuple[Task, ...]
    next: str | None


@attrs.frozen
class TaskAnswer:
    """Answer of `/v1/tasks/{id}`."""

    meta: Meta
    task: Task


@attrs.frozen
class AllocationsAnswer:
    """Answer of `/v1/allocations`, those of the newest task first. `next`: the place behind which
    the next page begins, null for the last."""

    meta: Meta
    allocations: tuple[Allocation, ...]
    next: str | None


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
        grantor=None if seen.grantor is None else address_text(seen.grantor),
        state=seen.state,
        stop_requested=seen.stop_requested,
        submitted_at_ms=seen.submitted_at_ms,
        spec=spec_dict(seen.spec),
        allocations=tuple(allocation_of(seen, one) for one in seen.allocations),
        refusals=tuple(
            Refusal(
                node_id=address_text(one.node_id),
                reason=one.reason,
                times=one.times,
                lasting=one.lasting,
                until_ms=one.until_ms,
            )
            for one in seen.refusals
        ),
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
        known=seen.known,
        heard_ms=seen.heard_ms,
    )


def allocations_of(view: View, on: NodeId) -> tuple[Allocation, ...]:
    """All copies on a node, those of the newest task first."""
    return tuple(
        allocation_of(of, one)
        for of in view.tasks.on_node(on)
        for one in of.allocations
        if one.node_id == on
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
        case Action.STOP | Action.SET_SECRET:
            named = {"task_id": target}
        case Action.SET:
            named = {"setting": request.target}
        case Action.REVOKE:
            named = {}
        case _:
            named = {"node_id": f"0x{target}"}
    return accepted_of(answer, request.action.value, **named)


# --- routes -------------------------------------------------------------------------------------


@get("/v1/tasks", summary="The tasks, the newest first, in pages")
async def tasks(
    state: State,
    states: States = None,
    label: Labels = None,
    node: OnNode = None,
    name: Named = None,
    limit: Limit = limits.API_PAGE_DEFAULT,
    after: AfterTask = "",
    consistent: Consistent = False,
) -> TasksAnswer:
    """Tasks that fit all that is given."""
    wanted = Filter(
        states=frozenset(one.value for one in states or ()),
        labels=pairs(label),
        node=_node_id(node),
        name=name,
    )
    view = await view_of(state, consistent)
    found, last = cut(wanted.candidates(view, task_place(after)), wanted.fits, limit)
    return TasksAnswer(
        meta_of(view),
        tuple(task_of(one) for one in found),
        place_text(last.place) if last is not None else None,
    )


@get("/v1/tasks/{task_id:str}", summary="One task with its copies")
async def task(state: State, task_id: TaskText, consistent: Consistent = False) -> TaskAnswer:
    """One task, by its id, its name, or the beginning of its id. 409 if several match."""
    view = await view_of(state, consistent)
    return TaskAnswer(meta_of(view), task_of(task_in(view, task_id)))


def task_in(view: View, text: str) -> TaskView:
    """A task by what a person types; of several of a name the living one, or else the newest."""
    wanted = text.lower().removeprefix("0x")
    whole = unhex(text, TASK_ID_BYTES)
    if whole is not None and (seen := view.task(TaskId(whole))) is not None:
        return seen
    named = list(islice(view.tasks.named(text), limits.API_PAGE_MAX))
    found = [one for one in named if one.state in LIVING] or named[:1]
    if not found and len(wanted) >= limits.API_PREFIX_MIN and re.fullmatch(r"[0-9a-f]+", wanted):
        found = list(view.tasks.starting(wanted, _TOLD + 1))
    if not found:
        hint, told = "List the tasks: p2pool task ls --all.", f"There is no task {text[:64]!r}."
        if re.fullmatch(f"[0-9a-f]{{1,{limits.API_PREFIX_MIN - 1}}}", wanted):
            told = f"There is no task named {text[:64]!r}, and the beginning of an id needs"
            told += f" {limits.API_PREFIX_MIN} hex digits."
        raise NotFound(told, hint=hint)
    if len(found) > 1:
        told = ", ".join(one.task_id.hex() for one in found[:_TOLD])
        many = len(found) if len(found) <= _TOLD else "Several"
        hint = "Type more of the id."
        raise Conflict(f"{many} match task {text[:64]!r}: {told}.", hint=hint)
    return found[0]


def _node_id(text: str | None) -> NodeId | None:
    if text is None:
        return None
    if (found := unhex(text, ADDRESS_BYTES)) is None:
        raise Malformed(f"{text[:64]!r} is not a node id.", hint="Write 0x and 40 hex digits.")
    return NodeId(found)


@get("/v1/tasks/{task_id:str}/metrics", summary="The numbers that a task reports, copy by copy")
async def task_metrics(state: State, task_id: TaskText) -> MetricsAnswer:
    """The last values from every node that runs the task, all asked at once."""
    view = port_of(state).view()
    copies = task_in(view, task_id).allocations
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
    body = await json_body(request)
    secrets = jsonform.take_secrets(body)
    signed = jsonform.read_request(body)
    signer = typed_data.recover_request(port_of(state).pool, signed)
    typed_data.check_times(signed, int(time.time()))
    if (why := unheeded(signed.request)) is not None:
        raise why
    if signed.delegation is not None or signed.request.action is Action.SET_SECRET:
        _check_level(port_of(state).view(), signed)
    if signed.request.action is Action.SUBMIT:
        _check_spec(port_of(state).view(), signed)
    return _carried_out(
        await ask_agent(state, SubmitCommand(signed, signer, secrets)), signed.request
    )


def _check_level(view: View, signed: SignedRequest) -> None:
    """Refuse what the pool's log has no words for yet: a delegation with a quota, other secrets. A
    leader of that level could not even read it."""
    renews = signed.request.action is Action.SET_SECRET
    if max(lowest_level(signed), DISTRUST_LEVEL if renews else BASE_LEVEL) > view.feature_level:
        told = f"The pool is at feature level {view.feature_level}, which knows no such request."
        raise Conflict(told, hint=_level_hint(view))


def _level_hint(view: View) -> str:
    """Who keeps the pool from its next level."""
    behind = ", ".join(
        f"{address_text(one.node_id)} runs {one.agent_version or 'nothing known'}"
        for one in view.lagging
    )
    hint = f"The pool is at feature level {view.feature_level}"
    return hint + (f", because {behind}: upgrade that." if behind else ": wait until it is raised.")


def _check_spec(view: View, signed: SignedRequest) -> None:
    """Refuse here what the pool cannot take, or a quota never lets in; what only the pool's level
    stands against, with who keeps it from rising."""
    spec_json = signed.request.spec_json
    try:
        spec = parse_spec(spec_json, view.feature_level)
    except BadSpec as error:
        parse_spec(spec_json, features.newest())  # Worse than early: then that is to be told.
        raise BadSpec(error.message, hint=_level_hint(view), problems=error.problems) from error
    quota = signed.delegation.delegation.quota if signed.delegation is not None else None
    if quota is not None and (flaws := never_fits(quota, spec)):
        raise quota_refusal(flaws)
    check_sizes(spec)
    check_image(spec.image)
    check_devices(spec)
    check_heeded(spec)


@get("/v1/allocations", summary="The copies of all tasks, in pages")
async def allocations(
    state: State,
    states: CopyStates = None,
    node: OnNode = None,
    task: OfTask = None,
    limit: Limit = limits.API_PAGE_DEFAULT,
    after: AfterCopy = "",
    consistent: Consistent = False,
) -> AllocationsAnswer:
    """Copies that fit all that is given, those of the newest task first."""
    view = await view_of(state, consistent)
    on = _node_id(node)
    of = None if task is None else TaskId(bytes.fromhex(task))
    in_states = frozenset(one.value for one in states or ())

    def fits(row: tuple[TaskView, AllocationView]) -> bool:
        _, one = row
        on_it = on is None or one.node_id == on
        return on_it and (not in_states or word(one.state) in in_states)

    found, last = cut(copies_behind(view, Filter(node=on, task=of), after), fits, limit)
    return AllocationsAnswer(
        meta_of(view),
        tuple(allocation_of(*row) for row in found),
        copy_place_text(*last) if last is not None else None,
    )


@get("/v1/allocations/{allocation_id:str}", summary="One copy of a task")
async def allocation(
    state: State, allocation_id: AllocationText, consistent: Consistent = False
) -> AllocationAnswer:
    """One allocation."""
    view = await view_of(state, consistent)
    wanted = _allocation_id(allocation_id)
    of = view.task(wanted.task_id)
    for one in of.allocations if of is not None else ():
        if of is not None and one.allocation == wanted:
            return AllocationAnswer(meta_of(view), allocation_of(of, one))
    raise NotFound(
        f"There is no allocation {wanted}.", hint="List its copies: p2pool task show TASK."
    )


@post(
    "/v1/allocations/{allocation_id:str}/logs",
    status_code=200,
    summary="Log lines, under a signed grant",
    responses={
        200: ResponseSpec(
            str, description="NDJSON", media_type="application/x-ndjson", generate_examples=False
        )
    },
)
async def logs(state: State, request: AnyRequest, allocation_id: AllocationText) -> ASGIApp:
    """Log lines of one copy, wherever it runs."""
    wanted = _allocation_id(allocation_id)
    grant, options = jsonform.read_logs(await json_body(request))
    chunks = port_of(state).logs.open(wanted, options, grant)
    return log_answer(cast(Streams, state.streams), chunks)


def _allocation_id(text: str) -> AllocationId:
    if (found := jsonform.read_allocation(text)) is None:
        hint = "Write a task id, a dot and a number: <32 hex digits>.0"
        raise Malformed(f"{text[:64]!r} is not an allocation id.", hint=hint)
    return found
