"""A pool with a copy on a node, on which a leader's decisions are tried."""

from p2pool.core.fsm.state import Allocation, NodeRecord, PoolState
from p2pool.core.leader import decisions
from p2pool.model.ids import NodeId
from p2pool.model.log.entries import Outcome
from p2pool.model.states import Intent, Reachability
from p2pool.model.tasks.spec import TaskSpec
from p2pool.model.timing import Now
from tests.sim.faults.scenario import Story
from tests.sim.invariants.checks import Checks
from tests.sim.world.world import World


class Case:
    """A pool of three real nodes, of which one task's copy runs on the last."""

    def __init__(self, **spec: object) -> None:
        self.world = World(3, 3)
        story = Story(3, self.world, Checks(self.world), self.world.rng)
        for number in range(3):
            self.world.start(number)
        self.world.run(8_000)
        given = {"name": "t", "image": "i", "command": ("run", "0", "0"), "replicas": 3} | spec
        story.submit(0, TaskSpec(**given))  # type: ignore[arg-type]
        self.world.run(3_000)
        node = next(m.node for m in self.world.machines if m.node and m.node.context.pool_log.leads)
        self.context = node.context
        state = node.context.pool_log.state
        assert state is not None
        self.state: PoolState = state
        self.away = next(m.node_id for m in self.world.machines if m.node is not node)
        self.base_ms = self.world.now().wall_ms

    def judge(self, reachability: Reachability, node_id: NodeId | None = None) -> None:
        """The pool has judged a node, now."""
        name = node_id or self.away
        self.state.nodes[name] = NodeRecord(name, reachability, Intent.ELIGIBLE, "", self.base_ms)
        self.context.note_judged(self.at(0))

    def at(self, ms: int) -> Now:
        """So long after the judgement, in log time; the monotonic clock stands still."""
        return Now(self.world.now_ms, self.base_ms + ms)

    def lost(self, ms: int) -> list[Outcome]:
        """Copies that are lost so long after the judgement."""
        records = decisions.lost(self.context, self.state, self.at(ms))
        return [o for record in records for o in record.outcomes]

    def copy(self) -> Allocation:
        (found,) = self.state.on_node(self.away)
        return found
