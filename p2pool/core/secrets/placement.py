"""What a leader decides about secrets: which nodes can get a task's, and whose copies to replace.

Intuition: a copy that no node can open secrets for would wait on whatever node it is placed. So it
waits unplaced, and says for whom: its submitter, who alone can seal to more nodes. When secrets are
set anew, copies that run with the last ones are replaced one after the other.

Invariants: only proposals; the state is read, and at most told which tasks need no look any more.
What this leader does not know yet is no yes. At most one copy of a task is away for its new
secrets: the next one goes when all that were begun run. If one of them fails or is refused, the
others keep what they have until secrets are set again.
Source: docs/design/secrets.md, "Placement" and "Rotation".
"""

from p2pool.core.context import Context
from p2pool.core.fsm.state import Allocation, PoolState, Task
from p2pool.core.scheduler.capacity import SecretReach
from p2pool.core.secrets.rules import holders
from p2pool.model.ids import Digest, NodeId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.states import AllocationState, Intent, Reachability

S = AllocationState
UNSETTLED = (S.ASSIGNED, S.PULLING, S.STARTING, S.STOPPING, S.STOPPED)
RENEWED = "its secrets were set anew"
FETCHED = (
    "the leader has to fetch its secrets first; if no node has them: p2pool task provide-secrets"
)


def reach_of(context: Context, state: PoolState, task: Task) -> SecretReach:
    """Which nodes can get a task's secrets."""
    policy = task.secrets.recipients
    blob = context.secrets.blob(Digest(bytes.fromhex(task.secrets.digest)))
    if blob is None:
        return SecretReach(policy, frozenset(), FETCHED)
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
    for task_id in tuple(state.renewed):
        task = state.tasks[task_id]
        copies = state.of_task(task_id)
        old = [copy for copy in copies if _runs_with_earlier(task, copy)]
        if not old:
            state.none_runs_with_earlier_secrets(task_id)
        elif not task.stop_requested and not any(_keeps_others(state, task, c) for c in copies):
            first = old[0]
            assert first.node_id is not None
            outcome = Outcome(first.allocation, first.attempt, S.STOPPING, RENEWED)
            out.append(ReportApplied(first.node_id, (outcome,)))
    return out


def _runs_with_earlier(task: Task, copy: Allocation) -> bool:
    earlier = copy.secrets_index < task.secrets_index
    return copy.node_id is not None and copy.state is S.RUNNING and earlier


def _keeps_others(state: PoolState, task: Task, copy: Allocation) -> bool:
    """Whether no other copy may be stopped for its new secrets because of this one: it is on its
    way, or what was begun with them has not come to run. A system task's copy on a node that takes
    none now says nothing: it may never come back, and no other node replaces it."""
    if task.spec.system and copy.node_id is not None:
        node = state.node(copy.node_id)
        if (node.reachability, node.intent) != (Reachability.HEALTHY, Intent.ELIGIBLE):
            return False
    if copy.state in UNSETTLED:
        return True
    begun = copy.attempt > 0 and copy.secrets_index == task.secrets_index
    return begun and copy.state not in (S.RUNNING, S.SUCCEEDED)
