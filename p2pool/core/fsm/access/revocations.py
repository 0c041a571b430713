"""What a revocation voids, by the state.

Intuition: a revocation names an account and a time; delegations to it that began before are void,
whoever gave them. It stops nothing that runs unless it says so, but nothing begins under it: no
submission, no copy, no restart, no replacement.
Source: docs/design/tasks.md, "Rights".
"""

from p2pool.core.fsm.state import PoolState, Task
from p2pool.model.access.delegations import Delegation
from p2pool.model.features import DISTRUST_LEVEL

WITHDRAWN = "the delegation of its submitter was revoked"


def revoked(state: PoolState, delegation: Delegation) -> bool:
    """Whether a revocation voids this delegation, by its date."""
    revocation = state.revocations.get(delegation.delegate)
    return revocation is not None and delegation.not_before_s < revocation.before_s


def withdrawn(state: PoolState, task: Task) -> bool:
    """Whether nothing of a task begins any more, because the right to it was revoked. At earlier
    levels the log placed it all the same, and each node refused to start it."""
    given = task.delegation
    return given is not None and state.level >= DISTRUST_LEVEL and revoked(state, given)
