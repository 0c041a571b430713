"""What one voter that lies, or can do nothing, cannot spoil for good: a term, an office, a log."""

import attrs
import pytest

from p2pool.core.raft import replication
from p2pool.core.raft.state import RaftState
from p2pool.model import limits
from p2pool.model.log.raft import HardState
from tests.sim.harness.committee import leading, voters, works
from tests.sim.harness.pool import Pool, formed
from tests.sim.world.machine import Machine


def raft_of(pool: Pool, number: int) -> RaftState:
    raft = pool.node(number).context.pool_log.raft
    assert raft is not None
    return raft.state


def test_a_term_that_voters_raised_costs_nobody_its_seat() -> None:
    """Voters' bare words took one of them to a term that no leader comes to, and it lost its seat.
    It gives up the store that holds that term, once, and gets the seat that is free."""
    pool = formed(4)
    leader, raised = pool.leader(), pool.voter()
    pool.world.crash(raised.number)
    pool.until(lambda: len(voters(pool)) == 3 and raised.number not in voters(pool), 240_000)
    raised.disk.hard = HardState(raft_of(pool, leader.number).hard.term + 60_000)
    pool.world.start(raised.number)
    pool.world.run(1_000)
    assert raft_of(pool, raised.number).hard.term > 60_000
    pool.world.crash(pool.voter().number)
    pool.until(lambda: raised.number in voters(pool), 240_000)
    assert leading(pool) == leader.number
    assert raft_of(pool, leader.number).hard.term < 60_000


def withholds(monkeypatch: pytest.MonkeyPatch, liar: Machine) -> None:
    """From now on a machine commits nothing as a leader."""
    advance = replication.advance_commit

    def withhold(s: RaftState) -> None:
        if s.me.node_id != liar.node_id:
            advance(s)

    monkeypatch.setattr(replication, "advance_commit", withhold)


def test_a_leader_that_gets_nothing_committed_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is heard all the time, takes what is asked of it, and commits nothing: no quorum can
    certify it, and its followers elect another one."""
    pool = formed(3)
    first = pool.leader()
    withholds(monkeypatch, first)
    most_ms = limits.CERTIFY_INTERVAL_MS + limits.LEADER_UNPROVEN_MS + 30_000
    pool.until(lambda: leading(pool) not in (None, first.number), most_ms)
    at = leading(pool)
    assert at is not None
    works(pool, at)


def test_a_leader_that_is_silent_now_and_then_does_not_stay_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It withholds all commits, and drops its frames to one follower until that one campaigns: the
    follower goes on with the count that it had."""
    pool = formed(3)
    first, deaf, world = pool.leader(), pool.voter(), pool.world
    withholds(monkeypatch, first)
    link = {(first.number, deaf.number)}
    campaigns: list[int] = []

    def falls_silent() -> None:
        world.one_way |= link
        world.later(2_900, lambda: campaigns.append(raft_of(pool, deaf.number).leader is None))
        world.later(3_000, lambda: world.one_way.difference_update(link))
        world.later(120_000, falls_silent)

    falls_silent()
    most_ms = limits.CERTIFY_INTERVAL_MS + limits.LEADER_UNPROVEN_MS + 30_000
    pool.until(lambda: leading(pool) not in (None, first.number), most_ms)
    assert all(campaigns)
    assert campaigns


def test_what_proves_a_snapshot_outlives_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three voters one is dead, one needs a snapshot, and the third has just started anew: there
    is nobody left to certify its snapshot again, and two of three are enough all the same."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 10)
    monkeypatch.setattr(limits, "SNAPSHOT_KEEP_ENTRIES", 2)
    monkeypatch.setattr(limits, "SNAPSHOT_HOLD_ENTRIES_MAX", 5)
    pool = formed(3)
    leader, behind = pool.leader(), pool.voter()
    third = next(m for m in pool.world.machines if m not in (leader, behind))
    end = raft_of(pool, behind.number).log.last_index
    pool.world.crash(behind.number)
    for _ in range(12):
        pool.reply(pool.run_request(leader.number))
    pool.until(lambda: proven_beyond(pool, leader.number, end), 150_000)
    pool.world.crash(third.number)
    pool.world.crash(leader.number)
    pool.world.start(leader.number)
    pool.world.start(behind.number)
    pool.until(lambda: leading(pool) is not None, 120_000)
    works(pool, behind.number)


def proven_beyond(pool: Pool, number: int, index: int) -> bool:
    s = raft_of(pool, number)
    return bool(s.snapshot_certificate) and s.log.base_index > index


def test_a_store_is_not_given_up_for_an_older_leaders_certificate() -> None:
    """A node in the term of a new leader hears of a certificate of the last one, which it had
    missed: the new leader's comes, and the node stays who it is."""
    pool = formed(4)
    spare = next(m for m in pool.world.machines if m.number not in voters(pool))
    first, store_id = pool.leader(), spare.store_id
    pool.world.crash(first.number)
    pool.until(lambda: leading(pool) not in (None, first.number))
    identity = pool.node(spare.number).parts.identity
    known = pool.node(spare.number).context.leader_certificates
    assert known.known is not None
    older = attrs.evolve(known.known, term=known.known.term - 1)
    term = raft_of(pool, spare.number).hard.term
    known.known = attrs.evolve(older, term=term - 1, time_ms=older.time_ms - 1_000)
    now = pool.world.now(spare)
    assert identity._out_of_reach(now) is None
    known.known = attrs.evolve(older, term=term - 1)
    assert identity._out_of_reach(now) is None
    pool.world.run(2 * limits.CERTIFY_INTERVAL_MS)
    assert spare.store_id == store_id
