"""Each row of the three tables of a node's state, driven by whole nodes, named after the row."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import pytest

from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.chain import Invite
from p2pool.model.errors import Conflict
from p2pool.model.ports import Accepted, InviteOffered
from p2pool.model.states import (
    INTENT,
    MEMBERSHIP,
    REACHABILITY,
    Intent,
    Membership,
    Reachability,
)
from p2pool.model.tasks import Action
from p2pool.model.view import NodeView
from tests.sim.checks import Checks
from tests.sim.machine import Machine
from tests.sim.pool import FORMED_MS, Pool
from tests.sim.world import WALL_MS, World

NEW = 3
"""The machine that comes and goes; the others are the committee."""


def formed(seed: int = 11, *, outside: bool = True, started: bool = True) -> Pool:
    """A pool of three, and a fourth machine that is in the pool or not, and runs or not."""
    world = World(seed, 4)
    if outside:
        world.members.remove(NEW)
    pool = Pool(seed, world, Checks(world), world.rng)
    for number in range(4 if started else 3):
        world.start(number)
    world.run(FORMED_MS)
    return pool


def view(pool: Pool, at: int, of: int) -> NodeView | None:
    """What a node knows of another one."""
    machine = pool.world.machines[at]
    return pool.node(at).view(pool.world.now(machine)).node(pool.world.machines[of].node_id)


def field(pool: Pool, name: str, of: int = NEW, at: int | None = None) -> Any:
    """One of the three fields of a node, as the leader has it."""
    seen = view(pool, pool.leader().number if at is None else at, of)
    return getattr(seen, name) if seen is not None else None


def becomes(pool: Pool, wanted: IntEnum, of: int = NEW, most_ms: int = 60_000) -> None:
    """Wait until the field that a state is of is in it, at all committee members."""
    name = type(wanted).__name__.lower()
    for at in range(3):
        if pool.world.machines[at].node is not None and at != of:
            pool.until(lambda at=at: field(pool, name, of, at) is wanted, most_ms)


def invite(pool: Pool, lasts_s: int = 600) -> None:
    """The manager's invite for the new machine is handed to every agent of the committee."""
    now_s = (WALL_MS + pool.world.now_ms) // 1000
    made = Invite(0, 1, pool.world.machines[NEW].node_id, 7, now_s + lasts_s, b"s" * 65)
    for number in range(3):
        pool.world.give(
            pool.world.machines[number], inputs.Asked(800 + number, InviteOffered(made))
        )


def apart(pool: Pool, number: int) -> None:
    """Nothing gets to a machine, or from it."""
    pool.world.cut = {(number, n) for n in range(4) if n != number}


def jump(pool: Pool, ms: int) -> None:
    """All clocks go on by so much: what lasts a day need not be waited for."""
    for machine in pool.world.machines:
        machine.wall_offset_ms += ms


def ask(pool: Pool, action: Action, of: int) -> object:
    """The manager's request, answered."""
    request = pool.sign(action, pool.world.machines[of].node_id.hex(), "")
    pool.send(pool.leader().number, request)
    return pool.reply(request)


# --- membership -----------------------------------------------------------------------------------


def test_applicant_invite_seen_invited() -> None:
    """Whoever keeps the invite shows it."""
    pool = formed()
    assert field(pool, "membership") is None
    invite(pool)
    becomes(pool, Membership.INVITED)
    assert field(pool, "eligible") is False


def test_invited_invite_expired_applicant() -> None:
    """Then it is as before, and of no interest."""
    pool = formed()
    invite(pool, lasts_s=10)
    becomes(pool, Membership.INVITED)
    pool.until(lambda: field(pool, "membership") is None, 20_000)


def test_applicant_joined_onboarding() -> None:
    """In the pool and not heard: its agent does not run."""
    pool = formed(started=False)
    pool.world.members.append(NEW)
    becomes(pool, Membership.ONBOARDING)


def test_invited_joined_onboarding() -> None:
    """The invite was used."""
    pool = formed(started=False)
    invite(pool)
    becomes(pool, Membership.INVITED)
    pool.world.members.append(NEW)
    becomes(pool, Membership.ONBOARDING)


def test_onboarding_heartbeat_seen_member() -> None:
    """It runs already when it joins: within seconds."""
    pool = formed()
    pool.world.members.append(NEW)
    becomes(pool, Membership.MEMBER, most_ms=15_000)


def test_onboarding_onboarding_expired_stalled() -> None:
    """After three minutes, with the reason; no new leader begins to count anew."""
    pool = formed(started=False)
    pool.world.members.append(NEW)
    becomes(pool, Membership.ONBOARDING)
    began_ms = pool.world.now_ms
    pool.world.run(limits.ONBOARDING_STALL_MS // 2)
    old = pool.leader().number
    pool.world.crash(old)
    pool.until(lambda: any(m.node and m.node.context.ledger.leads for m in pool.world.machines))
    pool.world.start(old)
    pool.world.run(began_ms + limits.ONBOARDING_STALL_MS - 5_000 - pool.world.now_ms)
    assert field(pool, "membership") is Membership.ONBOARDING
    becomes(pool, Membership.STALLED, most_ms=10_000)
    assert "no heartbeat came in 3 min" in field(pool, "reason")


def stalled() -> Pool:
    """One that never was heard."""
    pool = formed(started=False)
    pool.world.members.append(NEW)
    becomes(pool, Membership.STALLED, most_ms=240_000)
    return pool


def test_stalled_heartbeat_seen_member() -> None:
    """As soon as its agent runs; nobody else has to do anything."""
    pool = stalled()
    pool.world.start(NEW)
    becomes(pool, Membership.MEMBER, most_ms=20_000)
    assert field(pool, "reason") == ""


def test_stalled_left_pool_left() -> None:
    """Ejected, say."""
    pool = stalled()
    pool.world.members.remove(NEW)
    becomes(pool, Membership.LEFT)


def test_onboarding_left_pool_left() -> None:
    """It changed its mind."""
    pool = formed(started=False)
    pool.world.members.append(NEW)
    becomes(pool, Membership.ONBOARDING)
    pool.world.members.remove(NEW)
    becomes(pool, Membership.LEFT)


def test_member_left_pool_left() -> None:
    """And it is still told of, with where it went."""
    pool = formed(outside=False)
    becomes(pool, Membership.MEMBER)
    pool.world.members.remove(NEW)
    becomes(pool, Membership.LEFT)
    pool.until(lambda: "out of the pool at block" in field(pool, "reason"))


def test_left_joined_onboarding() -> None:
    """Anew: what was wanted of it is forgotten, unless it is banned."""
    for action, intent in ((Action.DRAIN, Intent.ELIGIBLE), (Action.BAN, Intent.BANNED)):
        pool = formed(outside=False)
        becomes(pool, Membership.MEMBER)
        assert isinstance(ask(pool, action, NEW), Accepted)
        pool.world.members.remove(NEW)
        becomes(pool, Membership.LEFT)
        pool.world.crash(NEW)
        pool.world.run(3_000)
        pool.world.members.append(NEW)
        becomes(pool, Membership.ONBOARDING)
        becomes(pool, intent)
        pool.world.start(NEW)
        becomes(pool, Membership.MEMBER)
        pool.world.run(5_000)
        assert field(pool, "intent") is intent


@pytest.mark.parametrize("after", ["never", "1h"])
@pytest.mark.parametrize("setting", ["eject-stalled", "eject-dead"])
def test_ejection_is_due_after_a_set_time_and_by_default_never(setting: str, after: str) -> None:
    """It is told once, and shown with the command that the manager runs."""
    pool = stalled()
    of, since = NEW, "stalled"
    if after != "never":
        request = pool.sign(Action.SET, setting, f'{{"value":"{after}"}}')
        pool.send(pool.leader().number, request)
        assert isinstance(pool.reply(request), Accepted)
    if setting == "eject-dead":
        of, since = pool.other().number, "dead"
        pool.world.crash(of)
        becomes(pool, Reachability.UNREACHABLE, of)
        jump(pool, limits.DEAD_AFTER_MS)
        becomes(pool, Reachability.DEAD, of)
    pool.world.run(5_000)
    assert "eject" not in field(pool, "reason", of)
    jump(pool, 3_700_000)
    if after == "never":
        pool.world.run(5_000)
        assert "eject" not in field(pool, "reason", of)
    else:
        pool.until(lambda: f"{since} for 1h: to be ejected" in field(pool, "reason", of))
        assert "p2pool pool eject 0x" in field(pool, "reason", of)


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


def test_healthy_probe_missed_suspect() -> None:
    """Its own suspicion: nobody else has it for long, and the log not at all."""
    pool = formed()
    watcher, watched = missed(pool)
    assert "miss" in field(pool, "reason", watched, watcher)
    pool.world.run(30_000)
    assert field(pool, "reachability", watched) is Reachability.HEALTHY


def test_suspect_heard_healthy() -> None:
    """At once, when it is heard."""
    pool = formed()
    watcher, watched = missed(pool)
    pool.world.cut = set()
    pool.until(lambda: field(pool, "reachability", watched, watcher) is Reachability.HEALTHY, 5_000)


def test_suspect_suspicion_expired_healthy() -> None:
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


def test_suspect_confirmed_unreachable_unreachable() -> None:
    """The leader's probe and those of its witnesses failed."""
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
    pool.world.crash(pool.leader().number)
    pool.until(lambda: any(m.node and m.node.context.ledger.leads for m in pool.world.machines))
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
    pool.world.crash(pool.leader().number)
    pool.until(lambda: any(m.node and m.node.context.ledger.leads for m in pool.world.machines))
    assert field(pool, "intent") is Intent.BANNED


def test_banned_ban_lifted_eligible() -> None:
    """By the manager; then it is used again."""
    pool = formed(outside=False)
    wanted(pool, NEW, Action.BAN, Intent.BANNED)
    wanted(pool, NEW, Action.UNBAN, Intent.ELIGIBLE)
    pool.run_task(0, replicas=8)
    assert pool.running(NEW)


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [MEMBERSHIP, REACHABILITY, INTENT])
def test_each_row_has_its_test(table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]]) -> None:
    """Named after the state, the event and the state that follows."""
    for state, row in table.items():
        for event, after in row.items():
            assert f"test_{state.name}_{event.name}_{after.name}".lower() in globals()
