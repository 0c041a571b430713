"""Each row of the table of membership, driven by whole nodes, named after the row."""

from collections.abc import Mapping
from enum import IntEnum

import pytest

from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import (
    MEMBERSHIP,
    Intent,
    Membership,
    Reachability,
)
from tests.sim.harness.node_states import NEW, ask, becomes, field, formed, invite, jump, rows
from tests.sim.harness.pool import Pool


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
    pool.until(lambda: any(m.node and m.node.context.pool_log.leads for m in pool.world.machines))
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


@pytest.mark.parametrize("table", [MEMBERSHIP])
def test_each_row_has_its_test(table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]]) -> None:
    """Named after the state, the event and the state that follows."""
    assert [name for name in rows(table) if name not in globals()] == []
