"""`p2pool access ls` shows who holds what; `revoke` takes it, of the account that is meant."""

import json
import time
from typing import Any

import attrs
import pytest

from p2pool.cli.access import group
from p2pool.cli.access.group import access
from p2pool.cli.shared import tables
from p2pool.cli.shared.delegations.words import quota_text
from p2pool.cli.shared.tables import Look
from p2pool.model import limits
from p2pool.model.access.delegates import Grant, GrantPlace
from p2pool.model.access.delegations import Delegation, Quota, Scope
from p2pool.model.access.quotas import NO_USAGE, Usage
from p2pool.model.access.requests import Action
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.ids import Address
from p2pool.model.ports.access import AccessTable, GrantView
from p2pool.model.ports.agent import SubmitCommand
from tests.api.conftest import Served
from tests.api.fakes import NOT_YOURS
from tests.cli.access.people import DELEGATE, DELEGATE_TEXT, MANAGER
from tests.cli.output.held import held
from tests.client.conftest import Commands
from tests.wire.samples import POOL

NEAR = Address(DELEGATE[:6] + b"\x00" * 14)
"""An account that begins as the delegate does."""
LIMITED = Quota(4, 8000, max_replicas=2, max_priority=60, name_prefix="acme-")


def grant(
    delegate: Address,
    *,
    quota: Quota | None = None,
    used: Usage = NO_USAGE,
    begin_s: int = -60,
    end_s: int = 90_000,
    revoked: bool = False,
    scope: Scope = Scope.SUBMIT,
    tasks: int = 1,
) -> GrantView:
    """A delegation that the pool has seen; its times count from now."""
    now_s = int(time.time())
    given = Delegation(
        pool_id=POOL.pool_id,
        delegate=delegate,
        scope=scope,
        not_before_s=now_s + begin_s,
        not_after_s=now_s + end_s,
        quota=quota,
    )
    place = GrantPlace(delegate, MANAGER, bytes([tasks]) * 8)
    before_s = now_s if revoked else None
    return GrantView(Grant(place, given, tasks), used, revoked_before_s=before_s)


def bare(delegate: Address) -> GrantView:
    """An account that was revoked, of which the pool has no task."""
    place = GrantPlace(delegate, Address(bytes(20)), bytes(8))
    return GrantView(Grant(place, None), revoked_before_s=int(time.time()))


def seen(served: Served, *grants: GrantView) -> None:
    """Let the agent have seen these."""
    now_ms = time.time_ns() // 1_000_000
    view = served.port.seen
    served.port.seen = attrs.evolve(view, access=AccessTable(grants), as_of_ms=now_ms)


async def test_who_holds_what_is_a_line_each(served: Served, manager: Commands) -> None:
    """What is in use and of how much, until when, and what became of it."""
    other, third = Address(b"\x22" * 20), Address(b"\x33" * 20)
    seen(
        served,
        grant(DELEGATE, quota=LIMITED, used=Usage(1, 1500, 2), tasks=3),
        grant(other, end_s=-3700, scope=Scope.ADMIN),
        grant(third, revoked=True),
        bare(Address(b"\x44" * 20)),
    )
    result = await manager(access, "ls", "--wide")
    assert result.exit_code == 0, result
    head, *rows = result.stdout.splitlines()
    assert head.split()[:4] == ["ACCOUNT", "SCOPE", "STATE", "ENDS"]
    by_account = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert by_account[DELEGATE_TEXT[:12]].startswith(
        "submit in force in 1d 3 1/4 1.5/8 2/2 to 60 acme-... 0x"
    )
    assert by_account["0x2222222222"].startswith("admin expired 1h ago 1 0 0 0 - - 0x")
    assert by_account["0x3333333333"].startswith("submit revoked in 1d")
    assert by_account["0x4444444444"] == "- revoked - - - - - - - -"
    told = held((await manager(access, "ls", "--json")).stdout)
    assert {one["delegate"]: one["state"] for one in told}[DELEGATE_TEXT] == "in-force"


async def test_large_amounts_are_shown_as_they_were_signed(
    served: Served, manager: Commands
) -> None:
    """To the last digit."""
    most = Quota(1_234_567, 1_234_567_891, max_replicas=10_000_000)
    seen(served, grant(DELEGATE, quota=most, used=Usage(7, 1_234_568, 9)))
    result = await manager(access, "ls", "--wide")
    assert "7/1234567 1234.568/1234567.891 9/10000000" in " ".join(result.stdout.split())
    words = quota_text({"max_gpus": 1_234_567, "max_cpu_milli": 1_234_567_891, "max_replicas": 1})
    assert words == "1234567 GPUs, 1234567.891 CPUs and 1 copy at once"


async def test_nobody_holds_anything(served: Served, manager: Commands) -> None:
    """It says so, and JSON is an empty list."""
    result = await manager(access, "ls")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No task was submitted under a delegation" in result.stderr
    assert held((await manager(access, "ls", "--json")).stdout) == []


async def test_the_table_fits_a_terminal(
    served: Served, manager: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 80 columns; what has no room is named."""
    monkeypatch.setattr(tables, "look_of", lambda _: Look(80))
    seen(served, grant(DELEGATE, quota=LIMITED, used=Usage(4, 7999, 2), tasks=9))
    result = await manager(access, "ls")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("ACCOUNT", "SCOPE", "STATE", "ENDS", "TASKS", "GPUS", "CPUS", "COPIES"):
        assert name in lines[0]
    assert "left out for want of room" in result.stderr


def test_every_state_of_the_api_has_a_word() -> None:
    """A new state is shown as the agent says it, until somebody names it."""
    from p2pool.api.resources.parameters import GrantState

    assert set(group.STATES) == {state.value for state in GrantState}


# --- revoking -----------------------------------------------------------------------------------


def asked_of(served: Served) -> tuple[str, dict[str, Any]]:
    """Target and text of the one revocation that was signed."""
    (asked,) = served.port.asked
    assert isinstance(asked, SubmitCommand)
    request = asked.signed.request
    assert request.action is Action.REVOKE
    return request.target, json.loads(request.spec_json)


@pytest.mark.parametrize("stops", [False, True])
async def test_a_revocation_voids_what_was_given_until_now(
    served: Served, manager: Commands, stops: bool
) -> None:
    """Also within this second; whatever runs goes on unless its end is asked for."""
    now_s = int(time.time())
    words = ("--stop-tasks",) if stops else ()
    result = await manager(access, "revoke", DELEGATE_TEXT, "--yes", *words)
    assert result.exit_code == 0, result
    assert ("its tasks stop" in result.stdout) == stops
    target, wanted = asked_of(served)
    assert (target, wanted["stopRunning"]) == (DELEGATE.hex(), stops)
    assert now_s < wanted["beforeS"] <= time.time() + 1


async def test_it_asks_first_and_says_what_runs(served: Served, manager: Commands) -> None:
    """On a terminal; a script says --yes, and with --json it has to."""
    seen(served, grant(DELEGATE, tasks=2))
    for answer, wanted in (("n\n", 1), ("", 1), ("y\n", 0)):
        served.port.asked.clear()
        result = await manager.typing(answer, access, "revoke", DELEGATE_TEXT, "--stop-tasks")
        assert (result.exit_code, len(served.port.asked)) == (wanted, 1 - wanted), result
        assert "and stop its 2 tasks? [y/N]" in result.output
    refused = await manager(access, "revoke", DELEGATE_TEXT, "--json")
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    told = held((await manager(access, "revoke", DELEGATE_TEXT, "--json", "--yes")).stdout)
    assert (told["action"], told["account"]) == ("revoke", DELEGATE_TEXT)
    assert told["before_s"] > time.time() - 60


async def test_a_grantor_whose_clock_is_ahead_is_revoked_too(
    served: Served, manager: Commands
) -> None:
    """As far as the pool takes such a delegation; no agent can have the future voided."""
    for ahead_s, most_s in ((20, 20), (10**6, limits.CLOCK_SKEW_MAX_MS // 1000)):
        served.port.asked.clear()
        seen(served, grant(DELEGATE, begin_s=ahead_s, end_s=10**7))
        now_s = int(time.time())
        assert (await manager(access, "revoke", DELEGATE_TEXT, "--yes")).exit_code == 0
        _, wanted = asked_of(served)
        assert now_s + most_s < wanted["beforeS"] <= time.time() + most_s + 2


async def test_a_grant_behind_the_last_revocation_is_revoked_too(
    served: Served, manager: Commands
) -> None:
    """It begins where that one ends, unseen, by a clock that was a moment ahead."""
    now_s = int(time.time())
    for ahead_s, voided in ((5, True), (86400, False)):
        served.port.asked.clear()
        seen(served, attrs.evolve(bare(DELEGATE), revoked_before_s=now_s + ahead_s))
        assert (await manager(access, "revoke", DELEGATE_TEXT, "--yes")).exit_code == 0
        assert (asked_of(served)[1]["beforeS"] > now_s + ahead_s) is voided


async def test_what_begins_later_is_revoked_where_that_is_asked_for(
    served: Served, manager: Commands
) -> None:
    """By a time ahead; one that is past would leave more than now does."""
    ahead_s = int(time.time()) + 86400
    words = ("revoke", DELEGATE_TEXT, "--yes", "--before")
    assert (await manager(access, *words, str(ahead_s))).exit_code == 0
    assert asked_of(served)[1]["beforeS"] == ahead_s
    for text, said in (("2020-01-01", "is past"), ("2900-01-01", "366d ahead")):
        result = await manager(access, *words, text)
        assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True)


async def test_the_beginning_of_an_address_is_enough_where_one_fits(
    served: Served, manager: Commands
) -> None:
    """Of those that the pool has seen; of two, or of none, it says so and signs nothing."""
    seen(served, grant(DELEGATE))
    assert (await manager(access, "revoke", DELEGATE_TEXT[:12], "--yes")).exit_code == 0
    assert asked_of(served)[0] == DELEGATE.hex()
    served.port.asked.clear()
    error = (await manager(access, "revoke", "0x99999999", "--yes")).exception
    assert isinstance(error, NotFound)
    seen(served, grant(DELEGATE), grant(NEAR))
    error = (await manager(access, "revoke", DELEGATE_TEXT[:12], "--yes")).exception
    assert isinstance(error, Conflict)
    assert DELEGATE_TEXT in error.message
    for text in ("0x12", "alice", "0x" + "00" * 20, "0x" + "0g" * 10):
        assert (await manager(access, "revoke", text, "--yes")).exit_code == 2, text
    assert served.port.asked == []


async def test_who_rules_the_pool_keeps_that(served: Served, manager: Commands) -> None:
    """A revocation takes delegations, not what the chain says."""
    result = await manager(access, "revoke", "0x" + MANAGER.hex(), "--yes")
    assert (result.exit_code, "no revocation takes that" in result.stderr) == (0, True)


async def test_a_dry_run_asks_and_signs_nothing(served: Served, manager: Commands) -> None:
    """It shows the request."""
    result = await manager(access, "revoke", DELEGATE_TEXT, "--dry-run", signs=False)
    message = json.loads(result.stdout)["message"]
    assert (message["action"], message["target"]) == ("revoke", DELEGATE.hex())
    assert served.port.asked == []


async def test_who_may_not_revoke_is_told_by_the_pool(served: Served, manager: Commands) -> None:
    """As for every request."""
    served.port.failures.append(NOT_YOURS)
    error = (await manager(access, "revoke", DELEGATE_TEXT, "--yes")).exception
    assert isinstance(error, NotAllowed)


# --- granting again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_s", "words", "code"),
    [(5, (), 0), (5, ("--from", "now"), 3), (86400, (), 3), (86400, ("--from", "then"), 0)],
)
async def test_a_grant_begins_behind_a_revocation(
    served: Served, manager: Commands, *, ahead_s: int, words: tuple[str, ...], code: int
) -> None:
    """Else it would be void when it is made: by a moment it is moved, by more it is refused."""
    now_s = int(time.time())
    one = attrs.evolve(bare(DELEGATE), revoked_before_s=now_s + ahead_s)
    seen(served, one)
    times = {"now": str(now_s), "then": str(now_s + ahead_s)}
    given = [times.get(word, word) for word in words]
    least = ("--scope", "submit", "--for", "30d", "--dry-run")
    result = await manager(access, "grant", DELEGATE_TEXT, *least, *given)
    if code:
        assert isinstance(result.exception, Conflict)
        assert f"--from {now_s + ahead_s}" in result.exception.hint
    else:
        message = json.loads(result.stdout)["message"]
        assert message["notBefore"] == now_s + ahead_s
