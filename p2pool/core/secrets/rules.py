"""Who may have a task's data key: pure rules over the log as a node holds it.

Intuition: whoever holds a data key must not take a leader's word for whom to seal it to, or a
leader that lies would name the thief. So it looks into its own replica, and only as far as a quorum
of the voters signed what is there.

Invariants: unknown is never yes; the submitter's policy comes first; every node that asks is one
that the chain has, and that the log has given this very copy.
Source: docs/design/secrets.md, "Sealed on".
"""

import attrs

from p2pool.core.fsm.state import Allocation, PoolState, Task
from p2pool.model.chain.roster import ChainMember
from p2pool.model.ids import AllocationId, Digest, NodeId
from p2pool.model.states import AllocationState, Reachability
from p2pool.model.tasks.secrets import SecretOwner

NOT_YET = "most voters have not signed yet that the copy is there"
"""Why a holder waits: it passes."""


@attrs.frozen
class KeyQuestion:
    """Who asks for the key of which blob, for which copy."""

    asker: NodeId
    allocation: AllocationId
    attempt: int
    digest: Digest


def owner_of(state: PoolState, task: Task) -> SecretOwner:
    """The request that a task's secrets have to be for."""
    signed, account = task.secrets_from
    return SecretOwner(state.pool, account, signed.request.request_id)


def seal_refusal(
    state: PoolState,
    proven_index: int,
    me: NodeId,
    member: ChainMember | None,
    question: KeyQuestion,
) -> str | None:
    """Why a holder seals no key for this question, or None if it may. `proven_index`: up to where
    a quorum signed what this replica holds; `member`: the asker as the chain has it."""
    task = state.tasks.get(question.allocation.task_id)
    if task is None:
        return "this node knows no such task"
    if task.finished or task.stop_requested:
        return "the task is over"
    if not task.secrets.sealed or task.secrets.digest != question.digest.hex():
        return "the task has other secrets"
    if member is None:
        return "the chain does not have that node"
    if not task.secrets.recipients.permits(question.asker, member.provider):
        return "its submitter does not name that node as a recipient"
    copy = state.allocation(question.allocation)
    if copy is None or copy.node_id != question.asker or copy.attempt != question.attempt:
        return "the copy is not assigned to that node"
    if copy.terminal:
        return "that copy has ended"
    if copy.token.epoch != state.epoch or copy.token.index > proven_index:
        return NOT_YET
    if task.secrets_index > proven_index:
        return NOT_YET  # A leader could have made up who sets the secrets, and for whom.
    if not any(_runs(state, mine, me, proven_index) for mine in state.of_task(task.task_id)):
        return "no copy of the task runs here"
    return None


def _runs(state: PoolState, copy: Allocation, node_id: NodeId, proven_index: int) -> bool:
    """Whether a copy runs on a node, as a quorum has signed."""
    placed = copy.token.epoch == state.epoch and copy.token.index <= proven_index
    return copy.node_id == node_id and copy.state is AllocationState.RUNNING and placed


def holders(state: PoolState, task: Task, other_than: NodeId | None = None) -> tuple[NodeId, ...]:
    """The nodes that run a copy with the task's present secrets, and were not judged gone."""
    found: dict[NodeId, None] = {}
    for copy in state.of_task(task.task_id):
        if copy.node_id is None or copy.node_id == other_than:
            continue
        present = copy.secrets_index == task.secrets_index
        heard = state.node(copy.node_id).reachability is Reachability.HEALTHY
        if copy.state is AllocationState.RUNNING and present and heard:
            found[copy.node_id] = None
    return tuple(found)
