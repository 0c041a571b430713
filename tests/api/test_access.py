"""Who may act for the pool's keepers is read in pages, and what a quota never lets in is refused
here already."""

import time
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from p2pool.model import features
from p2pool.model.access.delegates import Grant, GrantPlace
from p2pool.model.access.delegations import Delegation, Quota, Scope
from p2pool.model.access.quotas import Usage
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Conflict, Malformed, NotAllowed
from p2pool.model.features import BASE_LEVEL
from p2pool.model.ids import Address
from p2pool.model.ports.access import AccessTable, GrantView
from p2pool.model.ports.agent import SubmitCommand
from p2pool.model.ports.view import LaggingView
from p2pool.wire import typed_data
from tests.api.conftest import Served
from tests.api.fakes import OTHER_NODE, sample_view
from tests.wire.samples import ACCOUNT, OTHER_ACCOUNT, POOL

thread = trio.to_thread.run_sync
NOW_S = sample_view().as_of_ms // 1000
MANAGER, CREATOR = Address(b"m" * 20), Address(b"p" * 20)
FRIEND = Address(b"f" * 20)
QUOTA = Quota(max_gpus=4, max_cpu_milli=2500, name_prefix="team-")


def _grant(number: int = 0, **change: Any) -> GrantView:
    """A delegation in force, of an account of that number."""
    delegate = Address(FRIEND[:-1] + bytes([number]))
    plain = Delegation(
        pool_id=POOL.pool_id,
        delegate=delegate,
        scope=Scope.SUBMIT,
        not_before_s=NOW_S - 100,
        not_after_s=NOW_S + 100,
        quota=QUOTA,
    )
    given = attrs.evolve(plain, **change)
    place = GrantPlace(delegate, MANAGER, bytes([number]) * 8)
    return GrantView(Grant(place, given, tasks=2, tasks_ended=1), Usage(3, 1500, 2))


def _show(served: Served, *grants: GrantView, **change: Any) -> None:
    served.port.seen = attrs.evolve(served.port.seen, access=AccessTable(grants), **change)


async def test_a_delegation_is_shown_whole(served: Served) -> None:
    """Who gave what to whom, until when, within which limits, and what of them is in use."""
    _show(served, _grant())
    (shown,) = await thread(served.client.access)
    assert shown == {
        "id": f"{FRIEND[:-1].hex()}00-{MANAGER.hex()}-{'00' * 8}",
        "delegate": f"0x{FRIEND[:-1].hex()}00",
        "grantor": f"0x{MANAGER.hex()}",
        "scope": "submit",
        "state": "in-force",
        "not_before_s": NOW_S - 100,
        "not_after_s": NOW_S + 100,
        "revoked_before_s": None,
        "quota": {
            "max_gpus": 4,
            "max_cpu_milli": 2500,
            "max_replicas": None,
            "max_priority": None,
            "name_prefix": "team-",
        },
        "used": {"gpus": 3, "cpu_milli": 1500, "replicas": 2},
        "tasks": 2,
        "tasks_ended": 1,
    }
    _show(served, _grant(quota=None))
    (shown,) = await thread(served.client.access)
    assert shown["quota"] is None
    answer = await thread(served.client.get, "/v1/access")
    assert answer["meta"]["applied_index"] == 12


@pytest.mark.parametrize(
    ("change", "before_s", "state"),
    [
        ({}, NOW_S, "revoked"),
        ({}, NOW_S - 100, "in-force"),
        ({"not_before_s": NOW_S + 60, "not_after_s": NOW_S + 90}, None, "not-yet"),
        ({"not_after_s": NOW_S}, None, "in-force"),
        ({"not_after_s": NOW_S - 1}, None, "expired"),
        ({"not_after_s": NOW_S - 1}, NOW_S, "revoked"),
    ],
)
async def test_what_a_delegation_is_worth(
    served: Served, change: dict[str, Any], before_s: int | None, state: str
) -> None:
    """By its times, and by what was revoked."""
    _show(served, attrs.evolve(_grant(**change), revoked_before_s=before_s))
    (shown,) = await thread(served.client.access)
    assert (shown["state"], shown["revoked_before_s"]) == (state, before_s)


async def test_a_grantor_without_a_right_gives_none(served: Served) -> None:
    """By the roster that the agent has; without one nobody can tell."""
    roster = served.port.seen.roster
    assert roster is not None
    other = attrs.evolve(roster, manager=Address(b"x" * 20))
    for known, state in ((roster, "in-force"), (other, "void"), (None, "unknown")):
        _show(served, _grant(), roster=known)
        (shown,) = await thread(served.client.access)
        assert shown["state"] == state


async def test_an_account_that_was_revoked_is_shown_without_tasks(served: Served) -> None:
    """What it held nobody knows; that it is void is in the log."""
    place = GrantPlace(FRIEND, Address(bytes(20)), bytes(8))
    _show(served, GrantView(Grant(place, None), revoked_before_s=NOW_S))
    (shown,) = await thread(served.client.access)
    assert (shown["state"], shown["grantor"], shown["scope"]) == ("revoked", None, None)
    assert (shown["tasks"], shown["revoked_before_s"]) == (0, NOW_S)


async def test_access_comes_in_pages_and_by_account(served: Served) -> None:
    """Each row once and in order; of one account only its own."""
    _show(served, *(_grant(number) for number in reversed(range(7))))
    whole = await thread(served.client.access)
    assert [row["delegate"][-2:] for row in whole] == [f"{n:02}" for n in range(7)]
    found, after, pages = [], "", 0
    while True:
        read = partial(served.client.get, "/v1/access", limit="3", after=after)
        answer = await thread(read)
        found += answer["access"]
        pages += 1
        if (after := answer["next"]) is None:
            break
    assert (found, pages) == (whole, 3)
    mine = await thread(served.client.access, whole[4]["delegate"])
    assert mine == [whole[4]]
    assert await thread(served.client.access, "0x" + "00" * 20) == []
    for query in ("delegate=0x12", "after=nonsense"):
        with pytest.raises(Malformed):
            await thread(served.client.get, f"/v1/access?{query}")


# --- what is refused ----------------------------------------------------------------------------


def _signed(quota: Quota | None, spec: str, action: Action = Action.SUBMIT) -> SignedRequest:
    now_s = int(time.time())
    delegate = Address(bytes.fromhex(OTHER_ACCOUNT.address[2:]))
    given = Delegation(
        pool_id=POOL.pool_id,
        delegate=delegate,
        scope=Scope.SUBMIT,
        not_before_s=now_s - 5,
        not_after_s=now_s + 600,
        quota=quota,
    )
    target = "" if action is Action.SUBMIT else "00" * 16
    request = TaskRequest(
        action=action,
        pool_id=POOL.pool_id,
        target=target,
        spec_json=spec,
        request_id=b"r" * 32,
        not_before_s=now_s - 5,
        not_after_s=now_s + 600,
    )
    under = typed_data.sign_delegation(POOL, ACCOUNT, given)
    return typed_data.sign_request(POOL, OTHER_ACCOUNT, request, under)


LARGE = '{"image":"busybox","name":"team-a","resources":{"gpu":{"count":5}}}'
SMALL = '{"image":"busybox","name":"team-a"}'


async def test_what_a_quota_never_lets_in_is_refused_at_once(served: Served) -> None:
    """With each limit that it breaks, and before the leader hears of it."""
    served.port.seen = attrs.evolve(served.port.seen, feature_level=features.newest())
    for spec, words in (
        (LARGE, "it asks for 5 GPUs, and 4 is the most"),
        (SMALL.replace("team-a", "mine"), "its name 'mine' does not begin with 'team-'"),
    ):
        with pytest.raises(NotAllowed) as caught:
            await thread(partial(served.client.send, _signed(QUOTA, spec), patience_ms=0))
        assert words in caught.value.message
        assert "manager" in caught.value.hint
    assert served.port.asked == []
    await thread(served.client.send, _signed(QUOTA, SMALL))
    await thread(served.client.send, _signed(None, LARGE))
    assert [type(one) for one in served.port.asked] == [SubmitCommand, SubmitCommand]


@pytest.mark.parametrize("action", [Action.SUBMIT, Action.STOP])
async def test_a_pool_of_an_earlier_level_takes_no_quota(served: Served, action: Action) -> None:
    """Its log has no words for it: the refusal names who has to be upgraded."""
    behind = LaggingView(OTHER_NODE, "0.2.0", BASE_LEVEL)
    served.port.seen = attrs.evolve(served.port.seen, feature_level=BASE_LEVEL, lagging=(behind,))
    spec = SMALL if action is Action.SUBMIT else ""
    with pytest.raises(Conflict) as caught:
        await thread(partial(served.client.send, _signed(QUOTA, spec, action), patience_ms=0))
    assert OTHER_NODE.hex() in caught.value.hint
    await thread(served.client.send, _signed(None, spec, action))
