"""A certified leader that lies to those without a seat: they hold what the voters signed.

It answers their questions with entries of its own, speaks to them as a leader does, and announces
a history and a state that are nobody's. They take the log from others, say so, and are never put
off; nobody throws away what is right.
"""

import pytest

from p2pool.core.node_status import NodeStatus
from p2pool.model import limits
from tests.sim.faults.misleader import Misleader
from tests.sim.harness.pool import Pool, brief, formed
from tests.sim.invariants import liveness
from tests.sim.world.machine import Machine

LIES_MS = 90_000


def idle(pool: Pool) -> list[Machine]:
    """Members that are no participants of the log."""
    return [m for m in pool.world.machines if m.node and m.node.context.pool_log.fetches]


@pytest.mark.parametrize("seed", [7, 8])
def test_a_leader_that_lies_to_followers_changes_nothing(seed: int) -> None:
    """For longer than from one certificate to the next, in every way; the checks look on."""
    pool = formed(5, seed)
    lies = Misleader(pool, pool.leader())
    lies.begin(LIES_MS)
    victims = idle(pool)
    assert len(victims) == 2
    for _ in range(LIES_MS // 5_000):
        pool.submit(pool.leader().number, brief())
        pool.world.run(5_000)
        for m in victims:
            assert m.node is not None
            context = m.node.context
            assert context.leader_certificates.diverged is None
            assert context.pool_log.fetches
            assert context.status.value is NodeStatus.OBSERVER
            assert m.node.parts.replica.discarded_ms is None
    assert lies.lies() or pool.world.now_ms >= lies.until_ms
    assert set(lies.told) == {"StateAnswered", "AppendRequested", "Announcement"}
    pool.until(lambda: not liveness.unsettled(pool.world), 30_000)


def test_a_follower_says_who_misleads_it() -> None:
    """The problem names the leader, and goes with it."""
    pool = formed(5)
    leader = pool.leader()
    Misleader(pool, leader).begin(LIES_MS)

    def told() -> list[str]:
        said = [m.node.view(pool.world.now(m)).problems for m in idle(pool) if m.node]
        return [text for texts in said for text in texts if leader.node_id.hex() in text]

    for _ in range(10):
        pool.submit(leader.number, brief())
        pool.world.run(3_000)
    assert any("not what the voters signed" in text for text in told())
    pool.world.crash(leader.number)
    pool.world.run(20_000)
    assert not told()


def test_a_newcomer_believes_no_leader_that_lies() -> None:
    """It knows nothing of the log, not even that the voters sign it; the certificate says so."""
    pool = formed(5)
    victim = idle(pool)[0]
    pool.world.crash(victim.number)
    victim.disk.tables = {name: {} for name in victim.disk.tables}
    victim.disk.entries, victim.disk.snapshot, victim.disk.log_id = {}, None, None
    lies = Misleader(pool, pool.leader())
    lies.begin(LIES_MS)
    pool.world.start(victim.number)
    pool.world.run(30_000)
    assert victim.node is not None
    assert victim.node.context.leader_certificates.diverged is None
    pool.until(lambda: not liveness.unsettled(pool.world), 60_000)
    assert lies.told["StateAnswered"] <= 30_000 // limits.FETCH_RETRY_MS
