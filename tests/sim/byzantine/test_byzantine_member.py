"""A member that lies and is no participant of the log: among the honest nothing changes."""

import pytest

from tests.sim.faults.byzantine import Liar
from tests.sim.harness.pool import formed
from tests.sim.invariants import liveness

LIES_MS = 30_000


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_member_that_lies_changes_nothing(seed: int) -> None:
    """Nobody is deposed, stopped, judged or confused by it; all is at rest while it lies on."""
    pool = formed(5, seed)
    leader = pool.leader()
    assert leader.node is not None
    voters = leader.node.context.pool_log.configuration.voters
    liar = next(m for m in pool.world.machines if m.node_id not in [v.node_id for v in voters])
    gone = [m.number for m in pool.world.machines if m is not liar]
    endless = pool.run_task(gone[0], replicas=3)
    term = leader.node.context.pool_log.term
    lies = Liar(pool, liar)
    lies.begin()
    for _ in range(5):
        pool.reply(pool.run_request(pool.rng.choice(gone)))
        pool.read(pool.rng.choice(gone))
        pool.world.run(LIES_MS // 5)
    assert pool.leader() is leader
    assert leader.node.context.pool_log.term == term
    assert pool.states(endless) == ["RUNNING"] * 3
    # Who was caught handing over a forged log is asked no more for a while.
    assert lies.told.pop("state", 1) >= 1
    assert min(lies.told.values()) > 10
    pool.until(lambda: not liveness.unsettled(pool.world))
