"""A pool for named scenarios: some nodes that have elected a leader, and a user."""

from p2pool.core.node import Node
from p2pool.model.ids import TaskId
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.faults.scenario import Story
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

ENDLESS = ("run", "0", "0")
FORMED_MS = 8_000


def brief() -> TaskSpec:
    """A task that ends soon."""
    return TaskSpec(name="brief", image="i", command=("run", "100", "0"))


class Pool(Story):
    """Three nodes that have elected a leader, and a user."""

    def node(self, number: int) -> Node:
        node = self.world.machines[number].node
        assert node is not None
        return node

    def leader(self) -> Machine:
        (found,) = [m for m in self.world.machines if m.node and m.node.context.pool_log.leads]
        return found

    def other(self) -> Machine:
        """A node that runs and does not lead."""
        return next(m for m in self.world.machines if m.node and m is not self.leader())

    def voter(self) -> Machine:
        """A voter that runs and does not lead: in a pool larger than its committee, no other
        node need be one."""
        leader = self.leader()
        voters = self.node(leader.number).context.pool_log.configuration.voters
        named = [v.node_id for v in voters]
        return next(
            m for m in self.world.machines if m.node and m is not leader and m.node_id in named
        )

    def run_task(self, at: int, **spec: object) -> TaskId:
        """Have a task run and wait until all its copies do."""
        given = {"name": "t", "image": "i", "command": ENDLESS, "reconnect_window_s": 5} | spec
        name = self.submitted[self.submit(at, TaskSpec(**given))]  # type: ignore[arg-type]
        wanted = given.get("replicas", 1)
        self.until(lambda: self.states(name) == ["RUNNING"] * wanted)  # type: ignore[operator]
        return name

    def run_request(self, at: int) -> int:
        """Ask for a task that ends soon; the number of the request."""
        return self.submit(at, brief())

    def states(self, name: TaskId) -> list[str]:
        """States of a task's copies, as the leader has them."""
        leaders = [m.node for m in self.world.machines if m.node and m.node.context.pool_log.leads]
        state = leaders[0].context.pool_log.state if leaders else None
        return [c.state.name for c in state.of_task(name)] if state is not None else []

    def until(self, done: object, most_ms: int = 60_000) -> None:
        assert self.world.run_until(done, most_ms)  # type: ignore[arg-type]

    def running(self, number: int) -> int:
        containers = self.world.machines[number].engine.containers.values()
        return sum(not c.ended for c in containers)

    def reply(self, request_id: int) -> object:
        self.until(lambda: request_id in self.world.replies)
        return self.world.replies[request_id]


def started(size: int, seed: int = 7, committee: int = 3) -> Pool:
    """A pool whose nodes have just started."""
    world = World(seed, size)
    world.committee = committee
    made = Pool(seed, world, Checks(world), world.rng)
    for number in range(size):
        world.start(number)
    return made


def formed(size: int = 3, seed: int = 7) -> Pool:
    """A pool that has formed, with a committee of three."""
    made = started(size, seed)
    made.world.run(FORMED_MS)
    node = made.leader().node
    assert node is not None
    assert len(node.context.pool_log.configuration.voters) == 3
    return made
