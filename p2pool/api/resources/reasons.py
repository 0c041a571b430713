"""Reasons in full: the log has room for the beginning of a reason, its node for all of it."""

import attrs
import trio
from litestar import get
from litestar.datastructures import State

from p2pool.api.resources.context import Meta, meta_of, node_text, port_of
from p2pool.api.resources.parameters import TaskText
from p2pool.api.resources.tasks import task_in
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import NodeId
from p2pool.model.ports.view import TaskView


@attrs.frozen
class Reason:
    """Why an attempt of a copy ended or did not start."""

    allocation: str
    attempt: int
    reason: str


@attrs.frozen
class NodeReasons:
    """What one node tells. `problem`: why it told nothing, empty if it did."""

    node_id: str | None
    reasons: tuple[Reason, ...]
    problem: str


@attrs.frozen
class ReasonsAnswer:
    """Answer of `/v1/tasks/{id}/reasons`. `left_out`: how many nodes were too many to ask."""

    meta: Meta
    nodes: tuple[NodeReasons, ...]
    left_out: int


def _to_ask(seen: TaskView) -> tuple[NodeId, ...]:
    """The nodes that may know more than the log says."""
    refused = (one.node_id for one in seen.refusals)
    ended = (c.node_id for c in seen.allocations if c.node_id is not None and c.reason)
    return tuple(dict.fromkeys((*refused, *ended)))


@get("/v1/tasks/{task_id:str}/reasons", summary="Why a task's copies ended, in full")
async def task_reasons(state: State, task_id: TaskText) -> ReasonsAnswer:
    """The reasons that were cut in the log, from every node that has them, all asked at once."""
    port = port_of(state)
    view = port.view()
    seen = task_in(view, task_id)
    nodes = _to_ask(seen)
    asked = nodes[: limits.FULL_REASONS_NODES_MAX]
    found: dict[NodeId, NodeReasons] = {}

    async def ask(where: NodeId) -> None:
        try:
            told = await port.full_reasons(seen.task_id, where)
        except P2poolError as error:
            found[where] = NodeReasons(node_text(where), (), error.message)
        else:
            reasons = tuple(Reason(str(one.allocation), one.attempt, one.reason) for one in told)
            found[where] = NodeReasons(node_text(where), reasons, "")

    async with trio.open_nursery() as nursery:
        for where in asked:
            nursery.start_soon(ask, where)
    told = tuple(found[where] for where in asked)
    return ReasonsAnswer(meta_of(view), told, len(nodes) - len(asked))
