"""The life cycle of tasks and their copies, as entries drive it: placed, reported, stopped, ended.

A gang stands and falls as one: when one copy fails, the rest stops and fails too; when one is lost
or has to move, the rest stops, so that the scheduler places all of them anew as a new attempt.
"""

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.core.fsm.access.revocations import WITHDRAWN, withdrawn
from p2pool.core.fsm.changes import Changes
from p2pool.core.fsm.sizes import TaskSize, task_size
from p2pool.core.fsm.state import Allocation, PoolState, Stray, Task, TaskRecord
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, NodeId, TaskId, Token
from p2pool.model.log.entries import Outcome, Placed
from p2pool.model.states import (
    TERMINAL_ALLOCATION_STATES,
    AllocationState,
    Membership,
    Reachability,
    StartRefusal,
    may_become,
)
from p2pool.model.tasks.set_aside import SetAside
from p2pool.model.tasks.spec import TaskSpec

S = AllocationState
REPLACEABLE = (S.PENDING, S.LOST, S.STOPPED)
ENDED = (S.SUCCEEDED, S.FAILED)
UNFINISHED = (S.PULLING, S.STARTING)
"""What a lost copy could not become again at earlier levels."""


def add(changes: Changes, record: TaskRecord, task: Task) -> None:
    """Add a task; its copies wait for a place (a system task's appear with their nodes)."""
    changes.state.put_task(task)
    text = f"{task.spec.name} was submitted"
    changes.tell("task", record.task_id.hex(), text, state="pending", name=task.spec.name)
    if task.spec.system:
        return
    for replica in range(task.spec.replicas):
        copy = Allocation(AllocationId(record.task_id, replica), reason="waits to be placed")
        changes.state.put(attrs.evolve(copy, changed_at_ms=changes.state.log_time_ms))


def wants_copy(state: PoolState, task: Task, replica: int) -> bool:
    """Whether a copy of this number waits for a place (again)."""
    if task.stop_requested or task.finished or gang_failed(state, task):
        return False
    copy = state.allocation(AllocationId(task.task_id, replica))
    if copy is None:
        return task.spec.system and replica >= 0 and has_room_for_copy(state, task)
    if task.spec.gang:
        copies = state.of_task(task.task_id)
        moved = any(c.state in REPLACEABLE for c in copies)
        return moved and all(c.state is S.SUCCEEDED or c.state in REPLACEABLE for c in copies)
    return copy.state in REPLACEABLE


def waits_anew(state: PoolState, copy: Allocation) -> bool:
    """Whether a copy that had a place waits for another, so that its reason may say why in vain."""
    if state.level < DISTRUST_LEVEL or copy.state not in (S.LOST, S.STOPPED):
        return False
    return wants_copy(state, state.tasks[copy.allocation.task_id], copy.allocation.replica)


def has_room_for_copy(state: PoolState, task: Task) -> bool:
    """Whether a system task may have one more copy."""
    if state.level < DISTRUST_LEVEL:
        return True
    delegated = task.record.signed.delegation is not None
    return state.sizes.overfull(TaskSize(limits.STATE_COPY_BYTES, 1, delegated)) is None


def submission_refusal(state: PoolState, signed: SignedRequest, spec: TaskSpec) -> str | None:
    """Why the pool holds no more such tasks, or None if it does."""
    copies = 0 if spec.system else spec.replicas
    delegated = signed.delegation is not None
    return state.sizes.overfull(task_size(signed.request.spec_json, copies, delegated=delegated))


def gang_failed(state: PoolState, task: Task) -> bool:
    """Whether a gang has lost a member for good."""
    return task.spec.gang and any(c.state is S.FAILED for c in state.of_task(task.task_id))


def should_run(state: PoolState, copy: Allocation) -> bool:
    """Whether its node should run this copy; if not, and it still holds resources, it must stop."""
    task = state.tasks[copy.allocation.task_id]
    if copy.state is S.LOST:
        return not (task.stop_requested or task.finished or task.spec.gang)
    return copy.holds and copy.state is not S.STOPPING


def follows(state: PoolState, copy: Allocation, into: AllocationState) -> bool:
    """Whether a copy may take this state. A lost one is what its node says of it, but one that is
    to stop (its task is over, its gang has fallen) only ends: it would run on for nobody."""
    if state.level >= DISTRUST_LEVEL and copy.state is S.LOST:
        ends = into in TERMINAL_ALLOCATION_STATES
        return may_become(S.LOST, into) and (ends or should_run(state, copy))
    return may_become(copy.state, into) and not (copy.state is S.LOST and into in UNFINISHED)


def place(changes: Changes, placed: Placed, token: Token) -> None:
    """Start a new attempt. A lost copy that it replaces stays behind as a stray."""
    state = changes.state
    old = state.allocation(placed.allocation)
    if old is not None and old.state is S.LOST:
        task = state.tasks[placed.allocation.task_id]
        state.leave_behind(old, task.spec.resources)
    new = Allocation(
        allocation=placed.allocation,
        state=S.ASSIGNED,
        attempt=placed.attempt,
        node_id=placed.node_id,
        gpus=placed.gpus,
    )
    index = state.tasks[placed.allocation.task_id].secrets_index
    changes.set(attrs.evolve(new, token=token, placed_at_ms=state.log_time_ms, secrets_index=index))


def may_take_back(state: PoolState, stray: Stray) -> bool:
    """Whether a copy that was left behind may be the current one again: what is to replace it, on
    another node, has not begun."""
    task, copy = state.tasks.get(stray.allocation.task_id), state.allocation(stray.allocation)
    if state.level < DISTRUST_LEVEL or task is None or copy is None or task.spec.gang:
        return False
    waits = copy.state in (S.ASSIGNED, S.PULLING) and copy.attempt > stray.attempt
    ends = task.stop_requested or task.finished or task.spec.system
    return waits and not ends and copy.node_id != stray.node_id


def take_back(changes: Changes, stray: Stray, reason: str) -> None:
    """Give up the attempt that was to replace a copy which still runs: that is the copy again."""
    state = changes.state
    copy = state.allocation(stray.allocation)
    assert copy is not None
    del state.strays[(stray.allocation, stray.attempt)]
    state.leave_behind(copy, stray.resources)
    changes.set(attrs.evolve(_again(state, stray, copy, S.RUNNING), reason=reason))


def take_outcome(changes: Changes, copy: Allocation, o: Outcome) -> None:
    """Apply an outcome; a stopping copy keeps the reason why it stops."""
    task = changes.state.tasks[copy.allocation.task_id]
    if _refused(changes, task, copy, o):
        return
    into, reason, failing = o.state, o.reason, copy.failing
    if copy.state is S.STOPPING:
        reason = copy.reason or reason
        if failing and into is S.STOPPED:
            into = S.FAILED
    if into is S.STOPPING and past_deadline(task, copy, changes.state.log_time_ms):
        failing = True
    new = attrs.evolve(
        copy,
        state=into,
        reason=reason,
        failing=failing,
        exit_code=o.exit_code,
        oom_killed=o.oom_killed,
        image_digest=o.image_digest or copy.image_digest,
    )
    if new == copy:
        return
    changes.set(new)
    if task.spec.gang and not task.stop_requested and new.state is not copy.state:
        _follow(changes, task, new)


def _refused(changes: Changes, task: Task, copy: Allocation, o: Outcome) -> bool:
    """Set a node aside that refused a copy; the copy waits for another node. A system task's copy
    belongs to its node: it stays there, stopped, with the reason."""
    state = changes.state
    refused = o.refused is not StartRefusal.NONE and o.state is S.STOPPED
    if not refused or state.level < DISTRUST_LEVEL or copy.node_id is None:
        return False
    if copy.state is S.STOPPING or task.stop_requested or task.finished:
        return False
    row = SetAside(
        task_id=task.task_id,
        node_id=copy.node_id,
        kind=o.refused,
        reason=clipped(o.reason, limits.REFUSAL_TEXT_MAX_BYTES),
        times=1,
        at_ms=state.log_time_ms,
        until_ms=state.log_time_ms,
    )
    state.set_aside.refused(row, copy.placed_at_ms)
    if task.spec.system:
        return False
    waits = _before(state, task, copy)
    changes.set(attrs.evolve(waits, reason=_who_refused(row)))
    if task.spec.gang:
        _follow(changes, task, waits)
    return True


def _before(state: PoolState, task: Task, copy: Allocation) -> Allocation:
    """What a copy is that its node refused: it waits for a place. One that it was to replace is the
    copy again, lost as it was, while its node may come back: it may run on there."""
    none = Allocation(
        copy.allocation,
        attempt=copy.attempt,
        given_up=copy.given_up,
        secrets_index=copy.secrets_index,
    )
    mine = (s for s in state.strays.values() if s.allocation == copy.allocation)
    older = [s for s in mine if s.attempt < copy.attempt and _may_come_back(state, s.node_id)]
    newest = max(older, key=lambda stray: stray.attempt, default=None)
    if newest is None or task.spec.gang or newest.node_id == copy.node_id:
        return none
    del state.strays[(newest.allocation, newest.attempt)]
    return _again(state, newest, copy, S.LOST)


def _may_come_back(state: PoolState, node_id: NodeId) -> bool:
    node = state.node(node_id)
    gone = node.reachability is Reachability.DEAD or node.membership is Membership.LEFT
    return not gone


def _again(state: PoolState, stray: Stray, copy: Allocation, into: AllocationState) -> Allocation:
    """A copy that was left behind as the current one, in the place of the one begun since."""
    return Allocation(
        allocation=stray.allocation,
        state=into,
        attempt=stray.attempt,
        node_id=stray.node_id,
        gpus=stray.gpus,
        token=copy.token,
        image_digest=stray.image_digest,
        placed_at_ms=stray.placed_at_ms or state.log_time_ms,
        given_up=copy.next_attempt - 1,
    )


def _who_refused(row: SetAside) -> str:
    return f"node {row.node_id.hex()} refused it: {row.reason}"


def fail_waiting(changes: Changes, copy: Allocation, o: Outcome) -> None:
    """Every node refuses a copy that waits: it has failed."""
    state = changes.state
    task = state.tasks[copy.allocation.task_id]
    told = o.state is S.FAILED and copy.state is S.PENDING and state.level >= DISTRUST_LEVEL
    if not told or not state.set_aside.of_task(task.task_id):
        return
    failed = attrs.evolve(copy, state=S.FAILED, reason=o.reason)
    changes.set(failed)
    if task.spec.gang and not task.stop_requested:
        _follow(changes, task, failed)


def past_deadline(task: Task, copy: Allocation, at_ms: int) -> bool:
    """Whether a copy has used up its task's time, counted from its placement."""
    deadline_ms = task.spec.deadline_s * 1000
    return deadline_ms > 0 and copy.node_id is not None and at_ms >= copy.placed_at_ms + deadline_ms


def _follow(changes: Changes, task: Task, first: Allocation) -> None:
    """Make the rest of a gang follow a copy that failed, was lost or has to stop."""
    if first.state not in (S.PENDING, S.FAILED, S.LOST, S.STOPPING, S.STOPPED):
        return
    failing = first.failing or first.state is S.FAILED
    reason = f"its gang ends: replica {first.allocation.replica} is {first.state.name.lower()}"
    for copy in changes.state.of_task(task.task_id):
        if copy.allocation == first.allocation:
            continue
        if failing and copy.node_id is None:
            changes.set(attrs.evolve(copy, state=S.FAILED, reason=reason))
        elif not copy.terminal and copy.node_id is not None:
            old = copy.reason if copy.state is S.STOPPING else reason
            changes.set(
                attrs.evolve(copy, state=S.STOPPING, reason=old, failing=failing or copy.failing)
            )


def stop(changes: Changes, task_id: TaskId, reason: str) -> None:
    """Stop a task on request: waiting copies are stopped at once, placed ones start stopping."""
    state = changes.state
    task = state.tasks[task_id]
    if task.stop_requested or task.finished:
        return
    state.put_task(attrs.evolve(task, record=attrs.evolve(task.record, stop_requested=True)))
    changes.touched[task_id] = None
    text, name = f"{task.spec.name} is being stopped: {reason}", task.spec.name
    changes.tell("task", task_id.hex(), text, state="stopping", name=name, reason=reason)
    for copy in state.of_task(task_id):
        if copy.terminal or copy.state is S.STOPPING:
            continue
        into = S.STOPPED if copy.node_id is None else S.STOPPING
        changes.set(attrs.evolve(copy, state=into, reason=reason))


def withdraw(changes: Changes, task_id: TaskId) -> None:
    """The right to a task was revoked: nothing of it begins any more. It ends with the last copy
    that has a place; until then the copies that wait say why they do in vain."""
    state = changes.state
    task = state.tasks[task_id]
    if task.stop_requested or task.finished or not withdrawn(state, task):
        return
    copies = state.of_task(task_id)
    if not any(copy.holds for copy in copies):
        stop(changes, task_id, WITHDRAWN)
        return
    for copy in copies:
        if copy.node_id is None and not copy.terminal and copy.reason != WITHDRAWN:
            changes.set(attrs.evolve(copy, reason=WITHDRAWN))


def finish(changes: Changes) -> None:
    """Mark the touched tasks that have ended; forget the oldest ended ones beyond the limits."""
    state = changes.state
    ended = False
    for task_id in tuple(changes.touched):
        withdraw(changes, task_id)
    for task_id in changes.touched:
        task = state.tasks[task_id]
        if task.finished or not _ended(state, task):
            continue
        record = attrs.evolve(task.record, finished_at_ms=max(1, state.log_time_ms))
        state.put_task(attrs.evolve(task, record=record))
        how, name = summary(state, task), task.spec.name
        changes.tell("task", task_id.hex(), f"{name} {how}", state=how, name=name)
        ended = True
    if not ended:
        return
    done = [t for t in state.tasks.values() if t.finished]
    done.sort(key=lambda t: (t.record.finished_at_ms, t.index))
    over = max(0, len(done) - limits.FINISHED_TASKS_KEPT)
    for number, task in enumerate(done):
        heavy = state.sizes.finished_bytes > limits.STATE_FINISHED_MAX_BYTES
        if number >= over and not (heavy and state.level >= DISTRUST_LEVEL):
            break
        state.drop_task(task.task_id)


def _ended(state: PoolState, task: Task) -> bool:
    """Whether a task has nothing left to do."""
    copies = state.of_task(task.task_id)
    if task.stop_requested or gang_failed(state, task):
        return all(c.terminal for c in copies)
    return not task.spec.system and all(c.state in ENDED for c in copies)


def summary(state: PoolState, task: Task) -> str:
    """One word for a task: pending, running, stopping, or how it ended."""
    states = [c.state for c in state.of_task(task.task_id)]
    if _ended(state, task):
        if S.FAILED in states:
            return "failed"
        if task.stop_requested and any(s is not S.SUCCEEDED for s in states):
            return "stopped"
        return "succeeded" if states else "stopped"
    if task.stop_requested:
        return "stopping"
    return "running" if S.RUNNING in states else "pending"
