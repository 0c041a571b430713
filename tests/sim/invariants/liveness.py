"""Liveness: what a pool comes to once everything works again, or the first thing that lacks."""

from collections.abc import Iterator

from p2pool.core.fsm.state import PoolState, Task
from p2pool.model.log.raft import Configuration
from p2pool.model.states import AllocationState, Membership, Reachability
from tests.sim.world.machine import Machine
from tests.sim.world.world import World


def honest(world: World) -> list[Machine]:
    """The machines that follow the protocol."""
    return [m for m in world.machines if m.number not in world.liars]


def a_state(world: World) -> PoolState:
    """The state of one of them."""
    for m in honest(world):
        state = m.node.context.pool_log.state if m.node is not None else None
        if state is not None:
            return state
    raise AssertionError("no node has a state")


def disagreement(world: World) -> str:
    """Why the replicas are not one, or ""."""
    states = [m.node.context.pool_log.state for m in honest(world) if m.node is not None]
    if len(states) != len(honest(world)) or any(s is None for s in states):
        return "a node has no state"
    if len({s.digest() for s in states if s is not None}) != 1:
        return "the nodes do not agree"
    return ""


def unsettled(world: World) -> str:
    """What is not as it should be yet, or ""."""
    return next(_lacks(world), "")


def _lacks(world: World) -> Iterator[str]:
    machines = honest(world)
    nodes = [m.node for m in machines if m.node is not None]
    logs = [n.context.pool_log for n in nodes]
    leading = [pool_log for pool_log in logs if pool_log.leads]
    if len(nodes) != len(machines) or len(leading) != 1:
        yield f"{len(nodes)} nodes run, and {len(leading)} lead"
        return
    leader = leading[0]
    indexes = [pool_log.applied_index for pool_log in logs]
    if any(index != leader.last_index for index in indexes):
        yield f"replicas are at {indexes}, and the log ends at {leader.last_index}"
        return
    state = a_state(world)
    yield from _committee(world, state)
    for task in state.tasks.values():
        if not (task.finished or _runs(state, task)):
            yield f"task {task.spec.name} is neither finished nor running as it should"
    for m in machines:
        yield from _member(world, m, state)


def _committee(world: World, state: PoolState) -> Iterator[str]:
    group = a_group(world)
    wanted = min(int(state.settings.get("committee", world.committee)), len(world.members))
    if len(group.voters) != wanted:
        yield f"{len(group.voters)} voters, not {wanted}"
    members = {world.machines[i].node_id for i in world.members}
    stores = {m.store_id for m in world.machines}
    if any(v.node_id not in members or v.store_id not in stores for v in group.voters):
        yield "a voter is no member, or has another disk"


def a_group(world: World) -> Configuration:
    """The committee as one of them has it."""
    return next(m.node.context.pool_log.configuration for m in honest(world) if m.node is not None)


def _runs(state: PoolState, task: Task) -> bool:
    copies = state.of_task(task.task_id)
    running = [c for c in copies if c.state is AllocationState.RUNNING]
    return not task.stop_requested and len(running) == task.spec.replicas


def _member(world: World, m: Machine, state: PoolState) -> Iterator[str]:
    assert m.node is not None
    if m.node.parts.requests.pending:
        yield f"node {m.number} holds requests that nobody answered"
    if m.number not in world.members:
        return
    record = state.node(m.node_id)
    if record.reachability is not Reachability.HEALTHY:
        yield f"node {m.number} is well, and taken for {record.reachability.name.lower()}"
    if m.node.context.roster.membership(m.node_id) is not Membership.MEMBER:
        yield f"node {m.number} is no member in its own eyes"
    running = {key for key, c in m.engine.containers.items() if not c.ended}
    wanted = {
        (c.allocation, c.attempt)
        for c in state.on_node(m.node_id)
        if c.state is AllocationState.RUNNING
    }
    if running != wanted:
        yield f"node {m.number} runs {len(running)} containers, and {len(wanted)} are wanted"
