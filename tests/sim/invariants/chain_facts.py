"""What must hold of the chain while one machine's endpoint lies: no fact counts that never was.

The root record that a node follows was on the chain once; the manager whom it obeys is the pool's;
the pool has not ended; and nobody is finally out who was never out. A node that knows no voters
but itself, or none that can be asked, takes its endpoint's word: it is excused, for good, if that
endpoint lied then.
"""

import attrs

from p2pool.core.log.pool_log import PoolLog
from p2pool.model.features import DISTRUST_LEVEL
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import World


@attrs.define
class ChainFacts:
    """Looks at a machine after each of its steps."""

    world: World
    excused: set[int] = attrs.field(factory=set)

    def look(self, m: Machine) -> None:
        """After a step of one machine."""
        assert m.node is not None
        world, context = self.world, m.node.context
        if not _has_voters(context.pool_log) and world.endpoint_liar == m.number:
            self.excused.add(m.number)
        if m.number in self.excused | world.liars:
            return
        roster = context.roster
        if context.pool_log.root not in world.chain.roots | {None}:
            raise Violation(f"node {m.number} follows a root record that was never there")
        if roster.latest is not None and roster.latest.manager != world.manager:
            raise Violation(f"node {m.number} obeys a manager that never was")
        if roster.ended:
            raise Violation(f"node {m.number} believes that the pool has ended")
        for other in world.machines:
            if other.number not in world.chain.left and roster.out_finally(other.node_id):
                raise Violation(f"node {m.number} has put node {other.number} out, which never was")
        self._unseats_nobody(m)

    def _unseats_nobody(self, m: Machine) -> None:
        """No voter is agreed to be out that never was; of two voters each is the other's quorum."""
        assert m.node is not None
        context, standings = m.node.context, m.node.parts.eligibility.standings
        if all(len(half) <= 2 for half in context.pool_log.configuration.halves):
            return
        for other in self.world.machines:
            never_left = other.number not in self.world.chain.left
            if never_left and standings.confirmed(other.node_id, self.world.now(m)):
                raise Violation(f"node {m.number} unseats node {other.number}, which never was out")


def _has_voters(pool_log: PoolLog) -> bool:
    """Whether a node knows others to ask, who know the question."""
    held = pool_log.held_log
    if held is None or held.state.level < DISTRUST_LEVEL:
        return False
    return len(held.raft.state.configuration.voters) > 1
