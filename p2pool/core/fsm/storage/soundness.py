"""Whether a state is one that a log can lead to: what all code that reads a state relies on.

Intuition: the rows of a snapshot decode one by one, and together they may say what no history of
entries says: a lost copy that was never on a node, a change of the committee from the future. A
later step would end the agent, or a state would have no exit; and what is on the disk ends it again
at each start. So whoever receives a state checks it once, before anything of it is kept.

Invariants: whatever `core.fsm.apply` makes of a sound state, by any entry at any feature level, is
sound: nothing is listed here that an honest pool, or one that a leader lied to, could break. One
pass over the copies, nodes, links and refusals.
Source: docs/design/consensus.md, "Snapshots".
"""

from collections.abc import Iterator

from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model import limits
from p2pool.model.states import AllocationState, Reachability, StartRefusal

UNPLACED = (AllocationState.PENDING, AllocationState.STOPPED, AllocationState.FAILED)
"""What a copy may be that was never on a node."""


def flaw(state: PoolState) -> str | None:
    """Why no log leads to a state, or None if one may."""
    return next(_flaws(state), None)


def _flaws(state: PoolState) -> Iterator[str]:
    """What is wrong with it. The state has no other invariants that its rows could break."""
    most = limits.LOG_NUMBER_MAX
    if not (0 <= state.applied_index < most and 0 <= state.applied_term <= most):
        yield "its place in the log is none"
    if state.log_time_ms < 0:
        yield "its time is before all time"
    for task_id in state.allocations:
        if task_id not in state.tasks:
            yield f"it has copies of a task {task_id.hex()} that it does not have"
    for row in state.set_aside:
        if row.task_id not in state.tasks:
            yield f"it sets a node aside for a task {row.task_id.hex()} that it does not have"
        if row.times < 1 or row.until_ms > row.at_ms + limits.SET_ASIDE_TOP_MS:
            yield f"node {row.node_id.hex()} is set aside for longer than may be"
        if row.kind is StartRefusal.NONE or row.at_ms > state.log_time_ms:
            yield f"node {row.node_id.hex()} is set aside for what it did not refuse"
    for copy in state.all_allocations():
        if (why := _flaw_of(copy, _attempts_max(state))) is not None:
            yield f"copy {copy.allocation} {why}"
    for stray in state.strays.values():
        if not 0 <= stray.attempt <= _attempts_max(state) or stray.allocation.replica < 0:
            yield f"an older copy {stray.allocation} has a number that is none"
    for node in state.nodes.values():
        if node.reachability is Reachability.SUSPECT:
            yield f"node {node.node_id.hex()} is suspect, which is one observer's word"
    yield from _flaws_of_chain(state)


def _attempts_max(state: PoolState) -> int:
    """The last attempt that a log of this length can have led to: a node may claim any below
    `LOG_NUMBER_MAX`, and an entry begins at most one more of a copy."""
    return limits.LOG_NUMBER_MAX + state.applied_index


def _flaw_of(copy: Allocation, attempts_max: int) -> str | None:
    """What is wrong with a copy: it is placed or not, in its state, attempt and node alike."""
    numbers = (copy.attempt, copy.given_up)
    if any(not 0 <= n <= attempts_max for n in numbers) or copy.allocation.replica < 0:
        return "has a number that is none"
    if copy.node_id is None and copy.state not in UNPLACED:
        return f"is {copy.state.name.lower()} on no node"
    if copy.node_id is None and copy.gpus:
        return "holds GPUs of no node"
    if copy.node_id is not None and copy.state is AllocationState.PENDING:
        return "waits for a place and has one"
    return None


def _flaws_of_chain(state: PoolState) -> Iterator[str]:
    """Each change of the committee comes after the one before it, by index and not in the future:
    one that lacks signatures could never be given up."""
    chain, last = state.chain, 0
    if not 0 <= chain.dropped <= limits.LOG_NUMBER_MAX:
        yield "its chain of committees has lost no number of links"
    if not chain.base and (chain.links or chain.epoch):
        yield "its chain of committees begins with nobody"
    for link in chain.links:
        if not last < link.index <= state.applied_index:
            yield f"the committee's change at {link.index} is out of order"
        if link.at_ms > state.log_time_ms:
            yield f"the committee's change at {link.index} is later than the state"
        if not link.voters:
            yield f"the committee's change at {link.index} leaves nobody"
        last = link.index
