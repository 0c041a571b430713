"""What the log judged without a node is set right when the node is heard again."""

import pytest

from p2pool.core import inputs
from p2pool.core.fsm.state import Allocation
from p2pool.core.leader import decisions
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import TaskId
from p2pool.model.states import AllocationState, Intent, Reachability
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from tests.sim.harness.pool import ENDLESS, Pool, formed
from tests.sim.world.violation import Violation

ONE_GPU = Resources(cpu_milli=100, gpu=GpuRequest(1))
BIG = Resources(cpu_milli=4_500)
OUTAGE_MS = 25_000
S = AllocationState


def copies(pool: Pool, name: TaskId) -> tuple[Allocation, ...]:
    """A task's copies, as the leader has them."""
    state = pool.node(pool.leader().number).context.pool_log.state
    assert state is not None
    return state.of_task(name)


def paused(pool: Pool, name: TaskId, for_ms: int = OUTAGE_MS) -> Allocation:
    """Stop a follower's agent for so long, until its copy is lost; its containers run on."""
    machine = pool.other()
    (copy,) = [c for c in copies(pool, name) if c.node_id == machine.node_id]
    pool.world.stall(machine, for_ms)
    ends_ms = pool.world.now_ms + for_ms
    pool.until(lambda: "LOST" in pool.states(name), for_ms)
    pool.world.run(ends_ms - pool.world.now_ms)
    return copy


@pytest.mark.parametrize("gpu", [ONE_GPU, BIG])
def test_a_copy_whose_agent_paused_is_taken_back(gpu: Resources) -> None:
    """Nothing replaced it and it never stopped running: it runs, in the log too, soon."""
    pool = formed()
    name = pool.run_task(0, replicas=3, resources=gpu, reconnect_window_s=10)
    before = copies(pool, name)
    paused(pool, name)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 3, 10_000)
    assert [c.attempt for c in copies(pool, name)] == [c.attempt for c in before]


def test_a_copy_taken_back_is_not_placed_elsewhere_when_room_appears() -> None:
    """The healthy copy once was killed for an empty one, as soon as another node had room."""
    pool = formed()
    name = pool.run_task(0, replicas=2, resources=BIG, reconnect_window_s=10)
    filler = pool.run_task(0, resources=BIG)
    machine = pool.other()
    if all(c.node_id != machine.node_id for c in copies(pool, name)):
        name, filler = filler, name
    before = paused(pool, name)
    pool.stop(pool.leader().number, filler)
    pool.world.run(15_000)
    (after,) = [c for c in copies(pool, name) if c.allocation == before.allocation]
    assert (after.state, after.attempt, after.node_id) == (S.RUNNING, 1, machine.node_id)
    assert pool.running(machine.number) == 1


def test_a_copy_that_ended_while_it_was_lost_has_ended() -> None:
    """Nobody runs a second time what is done."""
    pool = formed()
    ends = ("run", "20000", "0")
    name = pool.run_task(0, replicas=3, resources=BIG, reconnect_window_s=10, command=ends)
    urgent = TaskSpec(name="u", image="i", command=ENDLESS, resources=BIG, replicas=2, priority=1)
    pool.submit(0, urgent)  # It takes the room of those that ended.
    paused(pool, name, 40_000)
    pool.until(lambda: pool.states(name) == ["SUCCEEDED"] * 3, 15_000)
    assert [c.attempt for c in copies(pool, name)] == [1, 1, 1]


def test_a_task_stopped_meanwhile_does_not_come_back() -> None:
    """A lost copy of a task that is over ends when its node is heard, and never runs on."""
    pool = formed()
    name = pool.run_task(0, replicas=3, resources=BIG, reconnect_window_s=10)
    machine = pool.other()
    pool.world.stall(machine, OUTAGE_MS)
    pool.until(lambda: "LOST" in pool.states(name), OUTAGE_MS)
    pool.stop(pool.leader().number, name)
    pool.until(lambda: pool.running(machine.number) == 0, 30_000)
    pool.until(lambda: pool.states(name) == ["STOPPED"] * 3, 15_000)


def test_a_gang_that_fell_starts_anew_as_a_whole() -> None:
    """Its lost member does not come back alone."""
    pool = formed()
    name = pool.run_task(0, replicas=3, resources=BIG, reconnect_window_s=10, gang=True)
    paused(pool, name)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 3, 40_000)
    assert [c.attempt for c in copies(pool, name)] == [2, 2, 2]


def test_a_lost_copy_leaves_a_node_that_drains() -> None:
    """It is known again first, then stopped with its grace, and only then placed elsewhere."""
    pool = formed()
    name = pool.run_task(0, replicas=2, resources=BIG, reconnect_window_s=10)
    machine = pool.other()
    if all(c.node_id != machine.node_id for c in copies(pool, name)):
        machine = next(m for m in pool.world.machines if m not in (machine, pool.leader()))
    pool.world.stall(machine, OUTAGE_MS)
    state = pool.node(pool.leader().number).context.pool_log.state
    assert state is not None
    pool.until(lambda: state.node(machine.node_id).reachability is Reachability.UNREACHABLE, 20_000)
    pool.send(0, pool.sign(Action.DRAIN, machine.node_id.hex(), ""))
    pool.until(lambda: state.node(machine.node_id).intent is Intent.DRAINED, 90_000)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 2, 30_000)
    assert pool.running(machine.number) == 0


def test_the_simulator_sees_a_copy_that_stays_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node says of it is passed over: the invariant tells."""
    monkeypatch.setattr(decisions, "_found", lambda *of: iter(()))
    pool = formed()
    name = pool.run_task(0, replicas=3, resources=BIG, reconnect_window_s=10)
    paused(pool, name)
    with pytest.raises(Violation, match="is lost to the log"):
        pool.world.run(60_000)


def test_a_replacement_that_has_not_begun_is_taken_back() -> None:
    """Its image is still being fetched when the old copy's node is heard: that copy goes on, the
    new one is given up, and the next attempt has a number that none had."""
    pool = formed()
    name = pool.run_task(0, reconnect_window_s=5)
    state = pool.node(pool.leader().number).context.pool_log.state
    assert state is not None
    pool.until(lambda: state.level == DISTRUST_LEVEL)
    (before,) = copies(pool, name)
    (at,) = [m for m in pool.world.machines if m.node_id == before.node_id]
    if at is pool.leader():
        pool.world.give(at, inputs.StopAsked())
        pool.until(lambda: at is not pool.leader(), 30_000)
    others = [m for m in pool.world.machines if m is not at]
    for m in others:
        m.engine.away = True  # So nothing begins there.
    pool.world.cut = {(at.number, m.number) for m in others}
    pool.until(lambda: pool.states(name) == ["ASSIGNED"], 60_000)
    assert copies(pool, name)[0].attempt == 2
    pool.world.cut = set()
    pool.until(lambda: pool.states(name) == ["RUNNING"], 30_000)
    (after,) = copies(pool, name)
    assert (after.attempt, after.node_id) == (1, at.node_id)
    assert (after.placed_at_ms, after.given_up) == (before.placed_at_ms, 2)
    for m in others:
        m.engine.away = False
    pool.world.run(15_000)
    assert [pool.running(m.number) for m in (at, *others)] == [1, 0, 0]
    leader = pool.node(pool.leader().number).context.pool_log.state
    assert leader is not None
    assert not leader.strays
    pool.send(0, pool.sign(Action.DRAIN, at.node_id.hex(), ""))
    pool.until(lambda: copies(pool, name)[0].attempt == 3, 30_000)
    pool.until(lambda: pool.states(name) == ["RUNNING"], 30_000)


def test_more_copies_than_a_heartbeat_names_are_all_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node first names those that the log takes for lost, and then the next ones."""
    pool = formed()
    third = Resources(cpu_milli=2_600)
    name = pool.run_task(0, replicas=9, resources=third, reconnect_window_s=10)
    monkeypatch.setattr(limits, "ALLOCATIONS_PER_HEARTBEAT_MAX", 1)
    machine = pool.other()
    pool.world.stall(machine, OUTAGE_MS)
    pool.until(lambda: pool.states(name).count("LOST") == 3, OUTAGE_MS)
    pool.until(lambda: pool.states(name) == ["RUNNING"] * 9, 40_000)
    assert [c.attempt for c in copies(pool, name)] == [1] * 9
