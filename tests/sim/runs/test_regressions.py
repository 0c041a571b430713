"""What seeds of the simulator found, each as a scenario of its own."""

from p2pool.core.node import Node
from p2pool.model.ports.agent import Accepted
from tests.sim.harness.pool import Pool, formed


def _voters(pool: Pool) -> list[bytes]:
    node = pool.leader().node
    assert isinstance(node, Node)
    return [v.node_id for v in node.context.pool_log.configuration.voters]


def test_a_voter_that_left_is_not_removed_while_another_is_dead() -> None:
    """Found by seed 0: the committee became the leader and a dead disk, which can never commit
    that, and the pool was lost. The dead one is replaced first."""
    pool = formed(4)
    world, leader = pool.world, pool.leader()
    voters = _voters(pool)
    dead, left = (m for m in world.machines if m.node_id in voters and m is not leader)
    world.crash(dead.number)
    world.run(2_000)
    world.members.remove(left.number)
    world.run(30_000)
    spare = next(m for m in world.machines if m.node_id not in voters)
    assert isinstance(pool.reply(pool.run_request(spare.number)), Accepted)
    pool.until(lambda: dead.node_id not in _voters(pool), 120_000)
    pool.until(lambda: left.node_id not in _voters(pool))
    assert spare.node_id in _voters(pool)
