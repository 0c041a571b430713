"""Whose fault a failed start is decides what becomes of a copy: pools of three real nodes, of which
some refuse to start anything."""

import pytest

from p2pool.core import inputs
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model import limits
from p2pool.model.ids import TaskId
from p2pool.model.states import AllocationState
from p2pool.model.tasks.faults import Fault
from p2pool.model.tasks.spec import Constraint, RestartMode, RestartPolicy, TaskSpec
from tests.sim.faults.scenario import Story
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

S = AllocationState
ALWAYS = RestartPolicy(RestartMode.ALWAYS)
NO_REGISTRY = ("image-refused", "This node takes no images from there.", Fault.NODE)
TAKEN = ("host-port-taken", "Port 8080 is in use.", Fault.NODE_NOW)
NO_TAG = ("image-not-found", "The registry does not have it.", Fault.TASK)
AWAY = ("registry-unavailable", "The registry does not answer.", Fault.WORLD)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool whose waits are seconds, so that a test takes no minutes of virtual time."""
    monkeypatch.setattr(limits, "SET_ASIDE_MIN_MS", 2_000)
    monkeypatch.setattr(limits, "SET_ASIDE_TOP_MS", 8_000)
    monkeypatch.setattr(limits, "START_TROUBLE_MAX_MS", 6_000)
    monkeypatch.setattr(limits, "OUT_OF_PLACEMENT_MIN_MS", 20_000)


class Refusing:
    """A pool of three, of which the nodes in `refusing` start nothing, for that reason; only the
    agents of `here` run."""

    def __init__(
        self, why: tuple[str, str, Fault], *refusing: int, here: tuple[int, ...] = (0, 1, 2)
    ) -> None:
        self.world = World(3, 3)
        self.story = Story(3, self.world, Checks(self.world), self.world.rng)
        for number in here:
            self.world.start(number)
        for number in refusing:
            self.world.machines[number].engine.refuses = why
        self.world.run(8_000)

    def leader(self) -> Machine:
        """The machine whose node leads."""
        return next(m for m in self.world.machines if m.node and m.node.context.pool_log.leads)

    @property
    def state(self) -> PoolState:
        node = self.leader().node
        assert node is not None
        state = node.context.pool_log.state
        assert state is not None
        return state

    def submit(self, **spec: object) -> TaskId:
        """A task that runs for ever, unless its specification says otherwise."""
        given = {"name": "t", "image": "i", "command": ("run", "0", "0")} | spec
        before = dict.fromkeys(self.state.tasks)
        self.story.submit(0, TaskSpec(**given))  # type: ignore[arg-type]
        assert self.world.run_until(lambda: len(self.state.tasks) > len(before), 10_000)
        return next(name for name in self.state.tasks if name not in before)

    def copies(self, task: TaskId) -> tuple[Allocation, ...]:
        return self.state.of_task(task)

    def becomes(self, task: TaskId, state: AllocationState, within_ms: int) -> bool:
        """Whether all copies of a task come to be in a state."""
        return self.world.run_until(
            lambda: all(c.state is state for c in self.copies(task)) and bool(self.copies(task)),
            within_ms,
        )


def test_what_one_node_refuses_runs_on_another() -> None:
    """Each copy ends up where it is taken, and the node that refused is known with its reason."""
    pool = Refusing(NO_REGISTRY, 0, 1)
    task = pool.submit(replicas=3)
    assert pool.becomes(task, S.RUNNING, 20_000), [c.reason for c in pool.copies(task)]
    taker = pool.world.machines[2].node_id
    assert {c.node_id for c in pool.copies(task)} == {taker}
    aside = pool.state.set_aside.of_task(task)
    assert {row.node_id for row in aside} == {m.node_id for m in pool.world.machines[:2]}
    assert all("no images from there" in row.reason for row in aside)


def test_a_taken_port_is_tried_again_until_it_is_free() -> None:
    """No matter that every node refuses it now: what may mend by itself ends nothing."""
    pool = Refusing(TAKEN, 0, 1, 2)
    task = pool.submit(restart=ALWAYS)
    pool.world.run(20_000)
    (copy,) = pool.copies(task)
    assert copy.state is S.PENDING
    assert "in use" in copy.reason
    assert copy.attempt <= 3 * 5, "each refusal sets a node aside for longer"
    for machine in pool.world.machines:
        machine.engine.refuses = None
    assert pool.becomes(task, S.RUNNING, limits.SET_ASIDE_TOP_MS)


def test_a_node_that_was_never_heard_may_run_what_all_others_refuse() -> None:
    """So nothing ends before its agent has come."""
    pool = Refusing(NO_REGISTRY, 0, 1, here=(0, 1))
    task = pool.submit()
    pool.world.run(20_000)
    (copy,) = pool.copies(task)
    assert copy.state is S.PENDING
    assert "image-refused" in copy.reason
    pool.world.start(2)
    assert pool.becomes(task, S.RUNNING, 20_000)


def test_what_every_node_refuses_for_good_ends_and_names_why() -> None:
    """Only the owners of all three could change it."""
    pool = Refusing(NO_REGISTRY, 0, 1, 2)
    task = pool.submit()
    assert pool.becomes(task, S.FAILED, 30_000)
    (copy,) = pool.copies(task)
    assert "3 nodes: refused to start it: image-refused" in copy.reason
    assert len(pool.state.set_aside.of_task(task)) == 3


def test_while_one_node_is_not_heard_nothing_ends() -> None:
    """It might run what the others refuse."""
    pool = Refusing(NO_REGISTRY, 0, 1)
    pool.world.crash(2)
    task = pool.submit()
    pool.world.run(30_000)
    assert pool.copies(task)[0].state is S.PENDING
    pool.world.start(2)
    assert pool.becomes(task, S.RUNNING, 60_000)


def test_a_copy_that_no_other_node_takes_over_runs_on_where_it_is() -> None:
    """Its agent is away for a while, and every other node refuses to start it: when the agent is
    back, the container still runs and is the copy again, and nobody stops it for one that waits."""
    pool = Refusing(NO_REGISTRY)
    task = pool.submit(reconnect_window_s=10)
    assert pool.becomes(task, S.RUNNING, 20_000)
    (before,) = pool.copies(task)
    (at,) = [m for m in pool.world.machines if m.node_id == before.node_id]
    others = [m for m in pool.world.machines if m is not at]
    if at is pool.leader():
        pool.world.give(at, inputs.StopAsked())
        assert pool.world.run_until(lambda: pool.leader() is not at, 30_000)
    for machine in others:
        machine.engine.refuses = NO_REGISTRY
    pool.world.stall(at, 40_000)
    assert pool.world.run_until(lambda: len(pool.state.set_aside.of_task(task)) == 2, 39_000)
    assert pool.becomes(task, S.RUNNING, 40_000)
    pool.world.run(20_000)
    (after,) = pool.copies(task)
    assert (after.state, after.node_id, after.attempt) == (S.RUNNING, at.node_id, 1)
    assert after.given_up >= 3
    assert len(at.engine.containers) == 1
    assert not pool.state.strays


def test_the_images_own_fault_ends_it_at_once() -> None:
    """No other node is bothered with it."""
    pool = Refusing(NO_TAG, 0, 1, 2)
    task = pool.submit()
    assert pool.becomes(task, S.FAILED, 15_000)
    (copy,) = pool.copies(task)
    assert (copy.attempt, pool.state.set_aside.of_task(task)) == (1, ())


def test_what_the_world_keeps_from_starting_here_goes_elsewhere_after_a_while() -> None:
    """First it is tried again where it is, with the reason."""
    pool = Refusing(AWAY, 0, 1)
    task = pool.submit(replicas=3)
    pool.world.run(limits.START_TROUBLE_MAX_MS // 2)
    assert {c.state for c in pool.copies(task)} == {S.RUNNING, S.PULLING}
    assert pool.becomes(task, S.RUNNING, 8 * limits.START_TROUBLE_MAX_MS)


def test_a_gang_goes_elsewhere_whole() -> None:
    """One refused copy brings the others along, and ends nothing."""
    pool = Refusing(NO_REGISTRY, 0)
    task = pool.submit(replicas=3, gang=True)
    assert pool.becomes(task, S.RUNNING, 60_000), [c.reason for c in pool.copies(task)]
    assert pool.world.machines[0].node_id not in {c.node_id for c in pool.copies(task)}


def test_a_system_task_lacks_a_copy_where_it_is_refused() -> None:
    """The other nodes have theirs, and the one that has none says why."""
    pool = Refusing(NO_REGISTRY, 0)
    task = pool.submit(system=True)
    pool.world.run(5_000)
    found = {c.node_id: c for c in pool.copies(task)}
    refusing = pool.world.machines[0].node_id
    assert len(found) == 3
    assert found.pop(refusing).state is S.STOPPED
    assert {c.state for c in found.values()} == {S.RUNNING}
    pool.world.run(10_000)
    assert len(pool.copies(task)) == 3, "each try is another attempt of the same copy"


def test_a_stop_ends_what_is_refused_everywhere_for_now() -> None:
    """It waits no longer than its submitter wants."""
    pool = Refusing(TAKEN, 0, 1, 2)
    task = pool.submit()
    pool.world.run(5_000)
    pool.story.stop(0, task)
    assert pool.becomes(task, S.STOPPED, 20_000)


def test_a_node_that_nobody_asked_for_does_not_save_a_pinned_task() -> None:
    """Nodes that its constraints rule out do not count among those that might take it."""
    pool = Refusing(NO_REGISTRY, 0)
    pinned = Constraint("node", pool.world.machines[0].node_id.hex())
    task = pool.submit(constraints=(pinned,))
    assert pool.becomes(task, S.FAILED, 30_000)


def test_a_machine_on_which_starts_keep_failing_takes_itself_out_and_comes_back() -> None:
    """It says why, gets nothing new meanwhile, and works again once it is mended."""
    broken = ("node-cannot-start", "The engine has no runc.", Fault.NODE)
    pool = Refusing(broken, 0)
    machine = pool.world.machines[0]
    for number in range(limits.STARTS_FAILED_MAX):
        pool.submit(name=f"t{number}", replicas=3)
    pool.world.run(5_000)
    assert machine.node is not None
    trouble = machine.node.parts.machine.trouble
    assert trouble is not None
    assert "starts keep failing here: The engine has no runc." in trouble
    task = pool.submit(name="later", replicas=3)
    pool.world.run(5_000)
    assert pool.state.set_aside.of_task(task) == ()
    machine.engine.refuses = None
    pool.world.run(limits.OUT_OF_PLACEMENT_MIN_MS)
    assert machine.node.parts.machine.trouble is None
    task = pool.submit(name="latest", replicas=3)
    assert pool.becomes(task, S.RUNNING, 20_000)
    assert machine.node_id in {c.node_id for c in pool.copies(task)}
