"""A pool whose majority is lost, and the manager who founds its next epoch."""

import attrs

from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.ids import StateDigest
from p2pool.model.ports.agent import Accepted
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.harness.pool import FORMED_MS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

SETTLE_MS = 45_000


class Recovering(Pool):
    """Five nodes with a committee of three, so that two copies of the log outlive its majority.

    Each has two endpoints, so that the next epoch's record counts although nobody confirms it."""

    @classmethod
    def formed(cls, seed: int = 7, size: int = 5) -> "Recovering":
        """A pool that has elected a leader and filled its committee."""
        world = World(seed, size)
        made = cls(seed, world, Checks(world), world.rng)
        for number in range(size):
            world.machines[number].chain.agreed = True
            world.start(number)
        world.run(FORMED_MS)
        assert len(made.voters()) == 3
        return made

    def voters(self) -> list[int]:
        """Numbers of the voters, as the leader has them."""
        node = self.leader().node
        assert node is not None
        named = [v.node_id for v in node.context.pool_log.configuration.voters]
        return [m.number for m in self.world.machines if m.node_id in named]

    def held(self, number: int) -> StoredLog:
        """The log that a node holds."""
        held = self.node(number).context.pool_log.held_log
        assert held is not None
        return held

    def alive(self) -> list[int]:
        return [m.number for m in self.world.machines if m.node is not None]

    def lose(self, *numbers: int) -> None:
        """These machines are gone for good."""
        for number in numbers:
            self.world.crash(number)

    def end(self, number: int) -> tuple[int, int]:
        """Last term and index of the log that a node holds."""
        log = self.held(number).raft.state.log
        return log.last_term, log.last_index

    def longest(self) -> int:
        """Who holds the longest log."""
        return max(self.alive(), key=lambda n: (*self.end(n), -n))

    def record(self, founder: int, epoch: int = 2) -> RootRecord:
        """The record by which a node founds the next epoch from its log."""
        m, held = self.world.machines[founder], self.held(founder)
        _, last_index = self.end(founder)
        previous = PreviousLog(held.raft.state.log_id, last_index, held.end_digest())
        return RootRecord(epoch, m.node_id, m.peer_key, m.store_id, previous)

    def recover(self, epoch: int = 2) -> RootRecord:
        """The manager founds the next epoch from the longest log, and waits for its leader."""
        root = self.record(self.longest(), epoch)
        self.world.root = root
        self.until(lambda: self.led_in(epoch))
        return root

    def led_in(self, epoch: int) -> bool:
        """Whether all that run follow one leader of an epoch, and hold its state."""
        logs = [self.node(n).context.pool_log for n in self.alive()]
        good = all(pool_log.epoch == epoch and pool_log.previous_epoch is None for pool_log in logs)
        return good and any(pool_log.leads for pool_log in logs)

    def containers(self) -> dict[tuple[int, str, int], int]:
        """What runs, wherever its agent is: (machine, allocation, attempt) -> when it began."""
        return {
            (m.number, str(name), attempt): status.started_at_ms
            for m in self.world.machines
            for (name, attempt), status in m.engine.containers.items()
            if not status.ended
        }

    def accepts(self, at: int) -> bool:
        """Whether a new submission is accepted and runs to its end."""
        spec = TaskSpec(name="new", image="i", command=("run", "100", "0"))
        request = self.submit(at, spec)
        if not isinstance(self.reply(request), Accepted):
            return False
        name = self.submitted[request]
        return self.world.run_until(lambda: self.states(name) == ["SUCCEEDED"], SETTLE_MS)

    def problems(self, number: int) -> str:
        """What a node says against itself."""
        m: Machine = self.world.machines[number]
        assert m.node is not None
        return " ".join(m.node.view(self.world.now(m)).problems)


def other_digest(root: RootRecord) -> RootRecord:
    """The same recovery from a state that nobody has."""
    assert root.previous is not None
    return attrs.evolve(
        root, previous=attrs.evolve(root.previous, state_digest=StateDigest(b"\x01" * 33))
    )
