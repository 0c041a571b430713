"""Adoption: taking over copies that an earlier log ordered and this log does not know.

Intuition: after a recovery the state is as old as the log that survived. Copies that lost entries
placed still run, and their nodes still have the submissions, each signed by an account with the
right to it: that signature, not any log, made it a task. So the pool takes up the task again, and
the copy with its attempt and its GPUs, as if it had never forgotten them.

Invariants: the pool adopts a copy if it does not know the task, or if the attempt is later than the
one it knows, which an earlier log must have given up; it adopts none onto a GPU that another copy
holds in this state (the node may still have to report that one's end: it claims again), and none
onto a node whose order is full. Copies that this log itself ended or replaced stop as always.
Source: docs/design/tasks.md, "Adoption".
"""

from enum import Enum

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import parse_spec
from p2pool.core.fsm import tasks
from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.order_room import order_bytes, room_on
from p2pool.core.fsm.state import Allocation, AppliedRequest, PoolState, Task, TaskRecord
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.errors import BadSpec, Malformed
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, NodeId, Token
from p2pool.model.log.entries import Adopted
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import TaskSpec

REASON = "adopted after a recovery"


class ClaimVerdict(Enum):
    """What this state makes of a claimed copy."""

    ADOPT = "adopt"
    KNOWN = "known"
    LEAVE = "leave"


def judge_claim(
    state: PoolState,
    node_id: NodeId,
    name: AllocationId,
    attempt: int,
    signed: SignedRequest,
    gpus: tuple[str, ...],
) -> ClaimVerdict:
    """Whether to adopt a copy that a node claims, to judge it by the state like any other (known),
    or to let it run on (leave)."""
    spec = _spec(state, name, signed)
    if spec is None or not 1 <= attempt < limits.LOG_NUMBER_MAX:
        return ClaimVerdict.LEAVE
    replicas = limits.LOG_NUMBER_MAX if spec.system else spec.replicas
    if not 0 <= name.replica < replicas or _overfull(state, name, signed, spec):
        return ClaimVerdict.LEAVE
    task = state.tasks.get(name.task_id)
    if task is None:
        used = signed.request.request_id in state.applied
        waits = used or _finds_no_room(state, node_id, name, signed, gpus)
        return ClaimVerdict.LEAVE if waits else ClaimVerdict.ADOPT
    copy = state.allocation(name)
    if task.finished or task.stop_requested or (copy is not None and copy.next_attempt > attempt):
        return ClaimVerdict.KNOWN
    if (name, attempt) in state.strays:
        return ClaimVerdict.KNOWN
    waits = _finds_no_room(state, node_id, name, signed, gpus)
    return ClaimVerdict.LEAVE if waits else ClaimVerdict.ADOPT


def _overfull(state: PoolState, name: AllocationId, signed: SignedRequest, spec: TaskSpec) -> bool:
    """Whether adopting a copy would take the state beyond its bounds."""
    task = state.tasks.get(name.task_id)
    if state.level < DISTRUST_LEVEL:
        return False
    if task is None:
        return tasks.submission_refusal(state, signed, spec) is not None
    added = state.allocation(name) is None
    return added and spec.system and not tasks.has_room_for_copy(state, task)


def _spec(state: PoolState, name: AllocationId, signed: SignedRequest) -> TaskSpec | None:
    if task_id(state.pool, signed.request) != name.task_id:
        return None
    try:
        return parse_spec(signed.request.spec_json, state.level)
    except (BadSpec, Malformed):
        return None


def _finds_no_room(
    state: PoolState,
    node_id: NodeId,
    name: AllocationId,
    signed: SignedRequest,
    gpus: tuple[str, ...],
) -> bool:
    """Whether another copy holds one of these GPUs in this state, or the node's order is full."""
    wanted = dict.fromkeys(gpus)
    others = (h for h in state.holders(node_id) if h.allocation != name)
    if any(uuid in wanted for holder in others for uuid in holder.gpus):
        return True
    if state.level < DISTRUST_LEVEL:
        return False
    return room_on(state, node_id).refusal(order_bytes(signed), len(gpus)) is not None


def adopt(changes: Changes, record: Adopted) -> None:
    """Adopt a copy, and its task if unknown; ignore one that no longer fits."""
    state, name = changes.state, record.allocation
    found = judge_claim(state, record.node_id, name, record.attempt, record.signed, record.gpus)
    if found is not ClaimVerdict.ADOPT:
        return
    if name.task_id not in state.tasks:
        _add_task(changes, record)
    old = state.allocation(name)
    if old is not None and old.holds:
        state.leave_behind(old, state.tasks[name.task_id].spec.resources)
    new = Allocation(
        allocation=name,
        state=AllocationState.RUNNING,
        attempt=record.attempt,
        node_id=record.node_id,
        gpus=record.gpus,
        reason=REASON,
    )
    token = Token(state.epoch, state.applied_term, state.applied_index)
    changes.set(attrs.evolve(new, token=token, placed_at_ms=state.log_time_ms))


def _add_task(changes: Changes, record: Adopted) -> None:
    state, request = changes.state, record.signed.request
    kept = TaskRecord(
        task_id=record.allocation.task_id,
        signed=record.signed,
        signer=record.signer,
        grantor=record.grantor,
        index=changes.index,
        submitted_at_ms=state.log_time_ms,
        judged_at=record.judged_at,
    )
    # A client that lost its answer may send the same submission again: it learns that it is here.
    state.note_applied(
        AppliedRequest(request.request_id, kept.task_id, changes.index, request.not_after_s)
    )
    tasks.add(changes, kept, Task(kept, parse_spec(request.spec_json, state.level)))
