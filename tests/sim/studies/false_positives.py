"""How often a node that lives is declared unreachable while some machines are slow.

    python -m tests.sim.studies.false_positives --nodes 20 --hours 2 --share 0.1

A slow machine begins each step up to a quarter of a second late, and stands still for up to
`--stall-ms` every half a minute; so it is late with every answer, and now and then silent. Nobody
dies and no link fails, so each declaration is a false one. Told per day of one node.
"""

import argparse
import sys

import attrs

from p2pool.model.states import Reachability
from tests.sim.world.machine import Machine, Slowness
from tests.sim.world.world import World

SLOW = Slowness(step_ms=250, stall_ms=5_000, every_ms=30_000)


@attrs.define
class Measure:
    """What a run came to."""

    nodes: int
    slow: int
    hours: float
    declared: list[tuple[int, int, str]] = attrs.field(factory=list)
    suspected: int = 0
    terms: int = 0

    @property
    def per_node_day(self) -> float:
        """False declarations per day of a node."""
        return len(self.declared) / (self.nodes * self.hours / 24)

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.nodes} nodes, {self.slow} of them slow, {self.hours:g} h: "
            f"{len(self.declared)} false declarations ({self.per_node_day:.3g} per node-day), "
            f"{self.suspected} suspicions, {self.terms} terms"
        )


@attrs.define
class Watcher:
    """Counts what leaders conclude."""

    world: World
    measure: Measure
    suspects: dict[int, set[bytes]] = attrs.field(factory=dict)
    judged: dict[int, Reachability] = attrs.field(factory=dict)

    def look(self, m: Machine) -> None:
        """After a step of one machine."""
        node = m.node
        assert node is not None
        self.measure.terms = max(self.measure.terms, node.context.pool_log.term)
        state, leader = node.context.pool_log.state, node.parts.leader
        if leader is None or state is None:
            self.suspects.pop(m.number, None)
            return
        under: set[bytes] = set(leader.failure_detector.suspicions)
        self.measure.suspected += len(under - self.suspects.get(m.number, set()))
        self.suspects[m.number] = under
        for other in self.world.machines:
            seen = state.node(other.node_id)
            before = self.judged.get(other.number, Reachability.HEALTHY)
            self.judged[other.number] = seen.reachability
            if before is Reachability.HEALTHY is not seen.reachability and other.node is not None:
                told = (self.world.now_ms, other.number, seen.reason)
                self.measure.declared.append(told)


def measure(
    seed: int, nodes: int, share: float, hours: float, slowness: Slowness = SLOW
) -> Measure:
    """Let a pool run for so long, a share of it slow."""
    world = World(seed, nodes)
    world.committee = 5
    for number in range(nodes):
        world.start(number)
    slow = world.rng.sample(range(nodes), round(share * nodes))
    for number in slow:
        world.slow(number, slowness)
    world.run(30_000)
    made = Measure(nodes, len(slow), hours)
    watcher = Watcher(world, made)
    world.on_step.append(watcher.look)
    world.run(int(hours * 3_600_000))
    return made


def main() -> int:
    """The exit code: 0 where nobody who lives was declared unreachable."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim.studies.false_positives", description=__doc__
    )
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--share", type=float, action="append", help="Default: 0, 0.05 and 0.1.")
    parser.add_argument("--stall-ms", type=int, default=SLOW.stall_ms)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    slowness = attrs.evolve(SLOW, stall_ms=given.stall_ms)
    found = 0
    for share in given.share or (0.0, 0.05, 0.1):
        made = measure(given.seed, given.nodes, share, given.hours, slowness)
        found += len(made.declared)
        print(made, flush=True)
        for at_ms, number, reason in made.declared[:5]:
            print(f"  node {number} at {at_ms / 1000:.1f} s: {reason}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
