"""Each row of the tables of reachability and intent, driven by whole nodes, named after the row."""

from collections.abc import Mapping
from enum import IntEnum

import pytest

from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import Conflict
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import (
    INTENT,
    REACHABILITY,
    Intent,
    Membership,
    Reachability,
)
from tests.sim.harness.node_states import NEW, apart, ask, becomes, field, formed, jump, rows
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import Machine

# --- reachability ---------------------------------------------------------------------------------


def pair(pool: Pool) -> tuple[Machine, Machine]:
    """Two that do not lead: an observer, and whom it watches."""
    found = [m for m in pool.world.machines[:3] if m is not pool.leader()]
    return found[0], found[1]


def missed(pool: Pool) -> tuple[int, int]:
    """One observer alone gets no word of another."""
    watcher, watched = (m.number for m in pair(pool))
    pool.world.relays = False
    pool.world.cut = {(watcher, watched)}
    pool.until(lambda: field(pool, "reachability", watched, watcher) is Reachability.SUSPECT)
    return watcher, watched


def test_a_healthy_node_that_is_missed_is_suspect() -> None:
    """Its own suspicion: nobody else has it for long, and the log not at all."""
    pool = formed()
    watcher, watched = missed(pool)
    assert "miss" in field(pool, "reason", watched, watcher)
    pool.world.run(30_000)
    assert field(pool, "reachability", watched) is Reachability.HEALTHY


def test_a_suspect_that_is_heard_is_healthy() -> None:
    """At once, when it is heard."""
    pool = formed()
    watcher, watched = missed(pool)
    pool.world.cut = set()
    pool.until(lambda: field(pool, "reachability", watched, watcher) is Reachability.HEALTHY, 5_000)


def test_a_suspicion_ends_by_itself() -> None:
    """A suspicion that nothing came of ends by itself; here its own lag made it doubt itself."""
    pool = formed()
    watcher, watched = missed(pool)
    pool.world.run(3_000)
    machine = pool.world.machines[watcher]
    pool.world.give(machine, inputs.LoopLagged(limits.LOOP_LAG_MAX_MS + 1))
    pool.until(
        lambda: field(pool, "reachability", watched, watcher) is Reachability.HEALTHY,
        limits.SUSPICION_MS,
    )


def test_healthy_confirmed_unreachable_unreachable() -> None:
    """The leader's probe and those of its witnesses failed; until then it was suspect."""
    pool = formed(outside=False)
    becomes(pool, Membership.MEMBER)
    apart(pool, NEW)
    seen: set[Reachability] = set()

    def done() -> bool:
        seen.add(field(pool, "reachability"))
        return Reachability.UNREACHABLE in seen

    pool.until(done, 40_000)
    assert Reachability.SUSPECT in seen
    assert "failed" in field(pool, "reason")


def unreachable(pool: Pool) -> None:
    becomes(pool, Membership.MEMBER)
    apart(pool, NEW)
    becomes(pool, Reachability.UNREACHABLE)


def test_unreachable_heard_healthy() -> None:
    """Back without a restart."""
    pool = formed(outside=False)
    unreachable(pool)
    pool.world.run(60_000)
    pool.world.cut = set()
    becomes(pool, Reachability.HEALTHY, most_ms=20_000)
    assert field(pool, "reason") == ""


def test_unreachable_unreachable_expired_dead() -> None:
    """After a day, in log time: a new leader does not begin to count anew."""
    pool = formed(outside=False)
    unreachable(pool)
    jump(pool, limits.DEAD_AFTER_MS // 2)
    # The unreachable one may be a voter: the others need the one that led.
    led = pool.leader().number
    pool.world.crash(led)
    pool.world.run(5_000)
    pool.world.start(led)
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in pool.world.machines))
    pool.world.run(30_000)
    assert field(pool, "reachability") is Reachability.UNREACHABLE
    jump(pool, limits.DEAD_AFTER_MS // 2 - 20_000)
    becomes(pool, Reachability.DEAD)


def test_dead_heard_healthy() -> None:
    """A day later, and without a restart."""
    pool = formed(outside=False)
    unreachable(pool)
    jump(pool, limits.DEAD_AFTER_MS)
    becomes(pool, Reachability.DEAD)
    pool.world.cut = set()
    becomes(pool, Reachability.HEALTHY, most_ms=20_000)


# --- intent ---------------------------------------------------------------------------------------


def busy(pool: Pool) -> int:
    """The number of a node with a copy that nothing stops: its engine is away."""
    pool.run_task(0, replicas=3)
    number = next(n for n in range(4) if pool.running(n) and n != pool.leader().number)
    pool.world.machines[number].engine.away = True
    return number


def wanted(pool: Pool, of: int, action: Action, intent: Intent) -> None:
    assert isinstance(ask(pool, action, of), Accepted)
    becomes(pool, intent, of)
    if intent is not Intent.ELIGIBLE:
        assert field(pool, "reason", of).startswith(f"{action.value} by 0x")


def test_eligible_drain_asked_draining() -> None:
    """As long as there is anything of the pool on it."""
    pool = formed(outside=False)
    of = busy(pool)
    wanted(pool, of, Action.DRAIN, Intent.DRAINING)
    assert isinstance(ask(pool, Action.DRAIN, of), Conflict)


def test_draining_drain_finished_drained() -> None:
    """When nothing is left there, and everything runs elsewhere."""
    pool = formed(outside=False)
    of = busy(pool)
    wanted(pool, of, Action.DRAIN, Intent.DRAINING)
    pool.world.machines[of].engine.away = False
    becomes(pool, Intent.DRAINED, of)
    assert pool.running(of) == 0
    pool.until(lambda: sum(pool.running(n) for n in range(4)) == 3)


def test_draining_resume_asked_eligible() -> None:
    """It need not have finished."""
    pool = formed(outside=False)
    of = busy(pool)
    wanted(pool, of, Action.DRAIN, Intent.DRAINING)
    wanted(pool, of, Action.RESUME, Intent.ELIGIBLE)


def test_draining_ban_ordered_banned() -> None:
    """The manager's word goes before its owner's."""
    pool = formed(outside=False)
    of = busy(pool)
    wanted(pool, of, Action.DRAIN, Intent.DRAINING)
    wanted(pool, of, Action.BAN, Intent.BANNED)
    pool.world.machines[of].engine.away = False
    pool.until(lambda: pool.running(of) == 0)
    pool.world.run(10_000)
    assert field(pool, "intent", of) is Intent.BANNED


def test_drained_resume_asked_eligible() -> None:
    """And it is used again."""
    pool = formed(outside=False)
    wanted(pool, NEW, Action.DRAIN, Intent.DRAINED)
    wanted(pool, NEW, Action.RESUME, Intent.ELIGIBLE)
    pool.run_task(0, replicas=8)
    assert pool.running(NEW)


def test_drained_ban_ordered_banned() -> None:
    """Also what does nothing can be banned."""
    pool = formed(outside=False)
    wanted(pool, NEW, Action.DRAIN, Intent.DRAINED)
    wanted(pool, NEW, Action.BAN, Intent.BANNED)


def test_eligible_ban_ordered_banned() -> None:
    """Nothing is placed there, and nothing but the manager lifts it: no drain, no resume, no
    leader's judgement, no leaving and coming back."""
    pool = formed(outside=False)
    wanted(pool, NEW, Action.BAN, Intent.BANNED)
    pool.run_task(0, replicas=6)
    assert pool.running(NEW) == 0
    for action in (Action.DRAIN, Action.RESUME, Action.BAN):
        assert isinstance(ask(pool, action, NEW), Conflict)
    apart(pool, NEW)
    becomes(pool, Reachability.UNREACHABLE)
    pool.world.cut = set()
    becomes(pool, Reachability.HEALTHY)
    # The unreachable one may be a voter: the others need the one that led.
    led = pool.leader().number
    pool.world.crash(led)
    pool.world.run(5_000)
    pool.world.start(led)
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in pool.world.machines))
    assert field(pool, "intent") is Intent.BANNED


def test_banned_ban_lifted_eligible() -> None:
    """By the manager; then it is used again."""
    pool = formed(outside=False)
    wanted(pool, NEW, Action.BAN, Intent.BANNED)
    wanted(pool, NEW, Action.UNBAN, Intent.ELIGIBLE)
    pool.run_task(0, replicas=8)
    assert pool.running(NEW)


@pytest.mark.parametrize("table", [REACHABILITY, INTENT])
def test_each_row_has_its_test(table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]]) -> None:
    """Named after the state, the event and the state that follows."""
    assert [name for name in rows(table) if name not in globals()] == []
