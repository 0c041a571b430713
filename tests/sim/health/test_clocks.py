"""Clocks that are wrong: whose it is, what it may not do any more, and what goes on anyhow."""

from p2pool.model import limits
from tests.sim.harness.committee import formed, leading, problems, voters, works

JUMP_MS = 120_000
DAY_MS = 86_400_000


def test_a_leader_whose_clock_jumps_hands_leadership_on_and_says_so() -> None:
    """Within seconds: what it would write down has a time that nobody else's clock shows."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].wall_offset_ms = JUMP_MS
    pool.until(lambda: leading(pool) not in (None, first), 20_000)
    assert "ahead of most voters' clocks" in problems(pool, first)
    works(pool, leading(pool))  # type: ignore[arg-type]
    term = pool.node(leading(pool)).context.pool_log.term  # type: ignore[arg-type]
    pool.world.run(60_000)
    assert leading(pool) != first
    assert pool.node(leading(pool)).context.pool_log.term == term  # type: ignore[arg-type]
    assert first in voters(pool), "Raft works with any clock: it still acknowledges"


def test_it_is_well_again_when_its_clock_is() -> None:
    """And nothing has to be restarted."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].wall_offset_ms = -JUMP_MS
    pool.until(lambda: bool(pool.node(first).context.clocks.wrong), 20_000)
    pool.world.machines[first].wall_offset_ms = 0
    pool.until(lambda: not pool.node(first).context.clocks.wrong, 20_000)
    pool.until(lambda: problems(pool, first) == "", 20_000)


def test_a_follower_with_a_wrong_clock_is_not_elected() -> None:
    """The leader dies: the other one leads, though both can be reached."""
    pool = formed(3)
    first = pool.leader().number
    wrong, good = (n for n in range(3) if n != first)
    pool.world.machines[wrong].wall_offset_ms = JUMP_MS
    pool.until(lambda: bool(pool.node(wrong).context.clocks.wrong), 30_000)
    pool.world.crash(first)
    pool.until(lambda: leading(pool) == good, 20_000)


def test_clocks_that_differ_by_less_than_messages_may_are_no_matter() -> None:
    """Twenty seconds apart: nobody steps down, nobody is judged."""
    pool = formed(5, committee=5)
    for number in range(5):
        pool.world.machines[number].wall_offset_ms = 5_000 * number - 10_000
    term, first = pool.node(0).context.pool_log.term, leading(pool)
    pool.world.run(4 * limits.JUDGEMENT_GRACE_MS)
    assert (pool.node(0).context.pool_log.term, leading(pool)) == (term, first)
    assert not any(problems(pool, n) for n in range(5))


# --- alone ----------------------------------------------------------------------------------------


def test_an_only_voter_that_starts_with_a_clock_far_behind_says_so() -> None:
    """Nobody else's clock is there, and its own never jumped since: the chain tells. It leads on,
    and is well again when its clock is."""
    pool = formed(1)
    machine = pool.world.machines[0]
    pool.world.crash(0)
    machine.wall_offset_ms = -DAY_MS
    pool.world.start(0)
    pool.until(lambda: "s behind the chain's newest block" in problems(pool, 0), 10_000)
    pool.world.run(20_000)
    assert leading(pool) == 0
    machine.wall_offset_ms = 0
    pool.until(lambda: "clock" not in problems(pool, 0), 10_000)
    works(pool, 0)
