"""What a leader decides about secrets: which nodes can get a task's, and whose copies to replace.

Intuition: a copy that no node can open secrets for would wait on whatever node it is placed. So it
waits unplaced, and says for whom: its submitter, who alone can seal to more nodes. When secrets are
set anew, copies that run with the last ones are replaced one after the other.

Invariants: pure, and only proposals. What this leader does not know yet is no yes. At most one copy
of a task is away for its new secrets: the next one goes when all that were begun run.
Source: docs/design/secrets.md, "Placement" and "Rotation".
"""

from p2pool.core.context import Context
from p2pool.core.fsm.state import PoolState, Task
from p2pool.core.scheduler.capacity import SecretReach
from p2pool.core.secrets.rules import holders
from p2pool.model.ids import Digest, NodeId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.states import AllocationState

S = AllocationState
UNSETTLED = (S.ASSIGNED, S.PULLING, S.STARTING, S.STOPPING, S.STOPPED)
RENEWED = "its secrets were set anew"


def reach_of(context: Context, state: PoolState, task: Task) -> SecretReach:
    """Which nodes can get a task's secrets."""
    policy = task.secrets.recipients
    blob = context.secrets.blob(Digest(bytes.fromhex(task.secrets.digest)))
    if blob is None:
        return SecretReach(policy, frozenset(), "the leader has to fetch its secrets first")
    if holders(state, task):
        return SecretReach(policy, None)
    able: dict[NodeId, None] = {}
    for key in blob.keys:
        if context.bindings.key_of(key.node_id) == key.peer_key:
            able[key.node_id] = None
    for copy in state.of_task(task.task_id):
        if copy.node_id is not None and copy.secrets_index == task.secrets_index:
            able[copy.node_id] = None  # It was given the key, and keeps it while the task lasts.
    return SecretReach(policy, frozenset(able))


def renewals(state: PoolState) -> list[ReportApplied]:
    """The copies to stop now, so that they begin anew with the secrets that were set."""
    out: list[ReportApplied] = []
    for task_id in state.renewed:
        task = state.tasks[task_id]
        copies = state.of_task(task_id)
        if task.stop_requested or any(copy.state in UNSETTLED for copy in copies):
            continue
        for copy in copies:
            old = copy.secrets_index < task.secrets_index
            if copy.node_id is not None and copy.state is S.RUNNING and old:
                outcome = Outcome(copy.allocation, copy.attempt, S.STOPPING, RENEWED)
                out.append(ReportApplied(copy.node_id, (outcome,)))
                break
    return out
