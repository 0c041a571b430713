"""A pool whose agents are upgraded one after the other while people use it.

All nodes of a world run in one process, so what differs between versions is what each node is told
that its program knows (`NodeConfig.newest_level`). The codec knows all of it; that no older program
would need more than it has is what the core promises: it reads and writes by the level of the log.
"""

from random import Random

from p2pool.core.node_status import NodeStatus
from p2pool.model.errors import TooOld
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from tests.sim.faults import operators
from tests.sim.harness.pool import FORMED_MS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import World

NEXT = FeatureLevel(BASE_LEVEL + 1)
DOWN_MS = 2_000
APART_MS = 12_000


class Upgrading(Pool):
    """Five nodes, three of them with seats, that all begin with the old program."""

    @classmethod
    def formed(cls, seed: int, size: int = 5) -> "Upgrading":
        """Once they have a committee."""
        world = World(seed, size)
        world.known = dict.fromkeys(range(size), BASE_LEVEL)
        pool = cls(seed, world, Checks(world), Random(seed))
        world.on_step.append(pool.nobody_left_behind)
        for number in range(size):
            world.start(number)
        world.run(FORMED_MS)
        return pool

    def nobody_left_behind(self, m: Machine) -> None:
        """Who has a seat is never too old for what the leader has written."""
        if m.node is None or m.node.context.status.value is not NodeStatus.TOO_OLD:
            return
        seats = [v.node_id for v in m.node.context.pool_log.configuration.everybody]
        if m.node_id in seats:
            raise Violation(f"{m.number} has a seat, and the level was raised beyond its program")

    def seated(self) -> list[int]:
        """Who has a seat now; the leader is the last."""
        leader = self.leader()
        assert leader.node is not None
        seats = [v.node_id for v in leader.node.context.pool_log.configuration.everybody]
        numbers = [m.number for m in self.world.machines if m.node_id in seats]
        return sorted(numbers, key=lambda n: (n == leader.number, n))

    def install(self, number: int, known: FeatureLevel) -> None:
        """End an agent, and start it again as another program."""
        self.world.crash(number)
        self.world.run(DOWN_MS)
        self.world.known[number] = known
        self.world.start(number)

    def upgrade_under_load(self) -> None:
        """Every agent, those with seats last; people ask for things, and another agent crashes."""
        seated = self.seated()
        order = [n for n in range(len(self.world.machines)) if n not in seated] + seated
        for number in order:
            operators.submit(self)
            self.install(number, NEXT)
            operators.burst(self)
            self.world.run(APART_MS)
            other = self.rng.choice([n for n in order if n != number])
            self.world.crash(other)
            self.world.run(DOWN_MS)
            self.world.start(other)
            operators.submit_widely(self)
            self.world.run(APART_MS)

    def levels(self) -> list[int]:
        """The level of the log as each node that runs has it."""
        states = [m.node.context.pool_log.state for m in self.world.machines if m.node]
        return [state.level for state in states if state is not None]

    def refused(self, number: int) -> TooOld | None:
        """Start an agent; why its program does not take the disk, where it does not."""
        try:
            self.world.start(number)
        except TooOld as error:
            return error
        return None
