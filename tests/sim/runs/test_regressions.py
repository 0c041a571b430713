"""What seeds of the simulator found, each as a scenario of its own."""

from p2pool.core.inputs import Received
from p2pool.core.node import Node
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.ports.agent import Accepted
from tests.sim.faults.member_liars import voter
from tests.sim.harness.pool import Pool, formed, started


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


def test_a_learner_left_alone_follows_whom_the_voters_elected() -> None:
    """Found by seed 80: in a joint change the leader could not be certified without a learner that
    nobody had contacted for long, and that one wanted a certificate. Votes are enough."""
    pool = started(2)
    pool.world.run(8_000)
    leader, learner = pool.leader(), pool.other()
    context, sealer = pool.node(learner.number).context, leader.sealer
    pool.world.crash(leader.number)
    pool.until(lambda: context.pool_log.fetches)
    assert context.pool_log.raft is not None
    assert sealer is not None
    s = context.pool_log.raft.state
    end = s.log.last_index, s.log.last_term
    frame = AppendRequested(s.log_id, s.hard.term + 1, voter(leader), s.me, *end, end[0], 1, ())
    said = Received(sealer.sealed(frame, pool.world.now(leader)), leader.peer_key)
    pool.world.give(learner, said)
    pool.world.run(50)
    assert context.pool_log.fetches
    context.leader_certificates.choose(s.log_id, voter(leader), frame.term)
    pool.world.give(learner, said)
    pool.world.run(50)
    assert not context.pool_log.fetches
