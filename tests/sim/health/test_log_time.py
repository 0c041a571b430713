"""Log time: no clock that is wrong moves it, and it goes on when clocks are right again."""

import pytest

from p2pool.core.context import Context
from p2pool.model.ports.agent import Accepted
from tests.sim.faults.faults import blank
from tests.sim.harness.committee import formed, leading, problems, voters, works
from tests.sim.harness.pool import Pool, brief

DAY_MS = 24 * 3_600_000
MARGIN_MS = 60_000


def log_time_ahead_ms(pool: Pool) -> int:
    """How far log time is ahead of a good clock."""
    states = [m.node.context.pool_log.state for m in pool.world.machines if m.node is not None]
    newest = max(state.log_time_ms for state in states if state is not None)
    return newest - pool.world.true_wall_ms(pool.world.now_ms)


def test_a_leader_a_day_ahead_for_five_seconds_moves_no_log_time() -> None:
    """Nothing that it writes meanwhile is dated by that clock, and submissions go on after it."""
    pool = formed(3)
    first = pool.leader().number
    pool.world.machines[first].wall_offset_ms = DAY_MS
    asked = pool.submit(first, brief())
    pool.world.run(5_000)
    pool.world.machines[first].wall_offset_ms = 0
    assert isinstance(pool.reply(asked), Accepted)
    assert log_time_ahead_ms(pool) < MARGIN_MS
    works(pool, (first + 1) % 3)


def test_a_leader_whose_clock_jumps_hands_on_at_once() -> None:
    """And nothing that runs is ended for a deadline of a day."""
    pool = formed(3)
    first = pool.leader().number
    name = pool.run_task(first, deadline_s=3_600)
    pool.world.machines[first].wall_offset_ms = DAY_MS
    pool.until(lambda: leading(pool) not in (None, first), 3_000)
    pool.world.machines[first].wall_offset_ms = -DAY_MS
    pool.world.run(5_000)
    assert pool.states(name) == ["RUNNING"]
    assert log_time_ahead_ms(pool) < MARGIN_MS


def test_the_only_voter_goes_on_and_ends_nothing() -> None:
    """It has nobody to ask or to hand on to, and its time goes on as its boot clock does."""
    pool = formed(1)
    name = pool.run_task(0, deadline_s=3_600)
    pool.world.machines[0].wall_offset_ms = DAY_MS
    pool.world.run(20_000)
    assert pool.states(name) == ["RUNNING"]
    assert log_time_ahead_ms(pool) < MARGIN_MS


def test_who_was_down_does_not_doubt_the_leaders_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions that it catches up with are old, and so are their times."""
    said: list[str] = []
    monkeypatch.setattr(Context, "log", lambda self, level, event, **fields: said.append(event))
    pool = formed(3)
    down = pool.other().number
    pool.world.crash(down)
    pool.world.run(150_000)
    said.clear()
    pool.world.start(down)
    pool.world.run(20_000)
    assert [event for event in said if "clock" in event] == []


def test_a_run_with_a_clock_ahead_is_over_once_its_disk_is_wiped() -> None:
    """The next run has a smaller incarnation, and is heard all the same."""
    pool = formed(3)
    node = pool.other().number
    machine = pool.world.machines[node]
    machine.wall_offset_ms = DAY_MS
    pool.world.crash(node)
    pool.world.start(node)
    pool.world.run(5_000)
    machine.wall_offset_ms = 0
    pool.world.run(15_000)
    pool.world.crash(node)
    pool.world.run(5_000)
    blank(machine, 1)
    pool.world.start(node)
    pool.until(lambda: node in voters(pool) and heard_anew(pool, node), 240_000)


def test_a_run_with_a_clock_behind_on_a_wiped_disk_says_so_and_comes_back() -> None:
    """Peers heed its last run, which began later by the clocks. It tells from the chain that its
    clock is wrong, and once that is mended it hears why nobody heeds it, and begins anew."""
    pool = formed(3)
    node = pool.other().number
    machine = pool.world.machines[node]
    pool.world.crash(node)
    pool.world.run(5_000)
    blank(machine, 1)
    machine.wall_offset_ms = -DAY_MS
    pool.world.start(node)
    pool.until(lambda: "s behind the chain's newest block" in problems(pool, node), 10_000)
    pool.world.run(60_000)
    life = machine.life
    machine.wall_offset_ms = 0
    pool.until(lambda: machine.life > life, 60_000)
    pool.until(lambda: node in voters(pool) and heard_anew(pool, node), 240_000)
    assert "heed this one" not in problems(pool, node)
    assert machine.life == life + 2, "it ended once, and began once"


def heard_anew(pool: Pool, node: int) -> bool:
    """Whether the leader has a heartbeat of the node's new disk."""
    leader, machine = pool.leader(), pool.world.machines[node]
    assert leader.node is not None
    beat = leader.node.context.heartbeats.newest.get(machine.node_id)
    return beat is not None and beat.heartbeat.store_id == machine.store_id
