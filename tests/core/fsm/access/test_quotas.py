"""No delegate gets a place beyond its quota, whatever a leader writes; what never fits is refused,
and what runs is left alone."""

from typing import Any

import attrs
import pytest

from p2pool.codec.digests import task_id
from p2pool.codec.entries import encode_body
from p2pool.core.fsm.access.quotas import QuotaRoom, quota_flaws
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.permissions import may, may_start, never, refused_by_state
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.model.access.delegations import Quota
from p2pool.model.access.quotas import NO_USAGE, OVER, Usage, never_fits, over_quota
from p2pool.model.access.requests import Action, Signers
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.errors import Malformed, NotAllowed
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, Digest
from p2pool.model.log.entries import Adopted, RequestApplied
from p2pool.model.log.raft import Entry
from p2pool.model.messages.work import Desired
from p2pool.model.states import AllocationState, PoolStatus
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from tests.core.fsm.access.delegated import (
    CREATOR,
    FRIEND,
    OTHER_FRIEND,
    Delegated,
    given,
    recounted,
)
from tests.core.fsm.records import MANAGER, NODE, NOW_S, OTHER, POOL, feed

S = AllocationState
SIGNERS = Signers(FRIEND, MANAGER)
ROSTER = ChainRoster(
    block_number=1,
    block_hash=Digest(bytes(32)),
    block_time_ms=1,
    members=(),
    creator=CREATOR,
    manager=MANAGER,
    status=PoolStatus.ACTIVE,
    root=None,
    pool_name="p",
)


# --- what never fits ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "spec", "words"),
    [
        (Quota(name_prefix="a-"), {}, "its name 't' does not begin with 'a-'"),
        (Quota(max_priority=49), {}, "its priority 50 is over 49"),
        (Quota(max_replicas=2), {"replicas": 3}, "it asks for 3 replicas, and 2 is the most"),
        (Quota(max_gpus=5), {"replicas": 3, "gpus": 2}, "it asks for 6 GPUs, and 5 is the most"),
        (Quota(max_cpu_milli=2500), {"replicas": 3}, "it asks for 3 CPUs, and 2.5 is the most"),
        (Quota(max_gpus=1), {"system": True, "gpus": 2}, "it asks for 2 GPUs, and 1 is the most"),
        (Quota(max_gpus=0), {"gpus": 1}, "it asks for 1 GPUs, and 0 is the most"),
        (Quota(max_gpus=6), {"replicas": 3, "gpus": 2}, None),
        (Quota(max_cpu_milli=3000, max_replicas=3), {"replicas": 3}, None),
        (Quota(name_prefix="t", max_priority=50), {}, None),
        (Quota(max_gpus=2), {"system": True, "gpus": 2}, None),
        (Quota(max_replicas=1), {"system": True}, None),
    ],
)
def test_what_never_fits_is_told(quota: Quota, spec: dict[str, Any], words: str | None) -> None:
    """Each limit by itself, to the last unit."""
    gpus = spec.pop("gpus", 0)
    wanted = TaskSpec("t", "i", resources=Resources(gpu=GpuRequest(gpus)))
    assert never_fits(quota, attrs.evolve(wanted, **spec)) == ((words,) if words else ())


def test_all_that_never_fits_is_told_at_once() -> None:
    """Nobody has to ask again to find out the next limit."""
    quota = Quota(max_gpus=1, max_cpu_milli=1, max_replicas=1, max_priority=1, name_prefix="x")
    spec = TaskSpec("t", "i", replicas=2, resources=Resources(gpu=GpuRequest(1)))
    assert len(never_fits(quota, spec)) == 5


def test_everybody_refuses_what_never_fits() -> None:
    """The leader before it proposes, each voter before it appends, each replica when it applies,
    and the node before it starts: all by one rule."""
    pool = Delegated()
    under = given(Quota(max_gpus=1))
    signed = pool.submission(under, resources={"gpu": {"count": 2}})
    denied = may(ROSTER, pool.state, SIGNERS, signed, NOW_S)
    assert denied is not None
    assert "it asks for 2 GPUs, and 1 is the most" in denied.message
    assert may(ROSTER, None, SIGNERS, signed, NOW_S) is not None
    assert "quota" in (never(POOL, signed, SIGNERS) or "")
    assert isinstance(refused_by_state(pool.state, signed, SIGNERS), NotAllowed)
    desired = Desired(AllocationId(pool.submit(under, gpus=2), 0), 1, signed, ())
    again = attrs.evolve(desired, allocation=AllocationId(task_id(POOL, signed.request), 0))
    told = may_start(POOL, ROSTER, pool.state, again, SIGNERS, NOW_S)
    assert "quota of the delegation" in (told or "")
    assert pool.state.tasks == {}
    good = pool.submission(under, resources={"gpu": {"count": 1}})
    assert may(ROSTER, pool.state, SIGNERS, good, NOW_S) is None
    assert never(POOL, good, SIGNERS) is None
    assert refused_by_state(pool.state, good, SIGNERS) is None


def test_what_cannot_be_read_is_for_others_to_refuse() -> None:
    """A quota says nothing of a specification that makes no sense, nor of other requests."""
    pool = Delegated()
    good = pool.submission(given(Quota(max_gpus=0)))
    bad = attrs.evolve(good, request=attrs.evolve(good.request, spec_json="{"))
    assert quota_flaws(bad, DISTRUST_LEVEL) == ()
    assert quota_flaws(pool.submission(None), DISTRUST_LEVEL) == ()


def test_no_copy_is_adopted_that_its_quota_never_let_in() -> None:
    """No honest node started it: what a recovery takes over was within its quota."""
    pool = Delegated()
    for count, taken in ((2, False), (1, True)):
        signed = pool.submission(given(Quota(max_gpus=1)), resources={"gpu": {"count": count}})
        name = task_id(POOL, signed.request)
        gpus = tuple(f"G-{n}" for n in range(count))
        feed(pool.state, Adopted(NODE, AllocationId(name, 0), 1, signed, gpus, FRIEND, MANAGER))
        assert (name in pool.state.tasks) is taken
    assert pool.used() == Usage(1, 1000, 1)


# --- what finds no room now ---------------------------------------------------------------------


def test_the_reason_says_what_is_in_use() -> None:
    """In words that fit one line; a limit that is free says nothing."""
    quota = Quota(max_gpus=4, max_cpu_milli=8000, max_replicas=3)
    one = Usage(1, 1000, 1)
    full = Usage(4, 1000, 1)
    assert over_quota(quota, full, one) == f"{OVER}4 of 4 GPUs in use"
    assert OVER == "over the quota of the delegation: "
    two = over_quota(quota, Usage(3, 0, 0), Usage(2, 0, 1))
    assert two == f"{OVER}3 of 4 GPUs in use, and it needs 2"
    assert over_quota(quota, Usage(0, 7500, 1), one) == (
        f"{OVER}7.5 of 8 CPUs in use, and it needs 1"
    )
    assert over_quota(quota, Usage(0, 0, 3), one) == f"{OVER}3 of 3 replicas in use"
    assert over_quota(quota, Usage(3, 7000, 2), one) is None
    assert over_quota(quota, full, Usage(0, 1000, 1)) is None, "it asks for no GPU"
    assert over_quota(Quota(), Usage(10**9, 10**9, 10**9), one) is None


def test_a_leader_that_places_over_the_quota_does_nothing() -> None:
    """Entry by entry, and in one entry; a whole entry falls with the copy that is too much."""
    pool = Delegated()
    under = given(Quota(max_gpus=2))
    first, second = pool.submit(under, gpus=1, replicas=2), pool.submit(under, gpus=1)
    own = pool.submit(None, gpus=1)
    pool.place((first, 0), (first, 1), (second, 0))
    assert pool.used() == NO_USAGE
    pool.place((first, 0), (first, 1))
    assert pool.used() == Usage(2, 2000, 2)
    pool.place((second, 0), node=OTHER)
    pool.place((own, 0), (second, 0), node=OTHER)
    assert pool.copy(second).state is S.PENDING
    assert pool.copy(own).state is S.PENDING, "an entry applies whole or not at all"
    pool.place((own, 0), node=OTHER)
    assert pool.copy(own).state is S.ASSIGNED
    pool.report(first, S.SUCCEEDED)
    pool.place((second, 0), node=OTHER)
    assert pool.copy(second).state is S.ASSIGNED
    assert pool.used() == Usage(2, 2000, 2)


def test_a_quota_counts_all_that_its_delegate_uses() -> None:
    """A newer delegation is judged against everything that was placed under older ones of the same
    grantor, and takes nothing from what is there."""
    pool = Delegated()
    old, new = given(Quota(max_replicas=1)), given(Quota(max_replicas=2), not_before_s=NOW_S - 1)
    first, second = pool.submit(old), pool.submit(old)
    third, fourth = pool.submit(new), pool.submit(new)
    pool.place((first, 0))
    pool.place((second, 0))
    assert pool.copy(second).state is S.PENDING
    pool.place((third, 0))
    assert pool.copy(third).state is S.ASSIGNED, "the newer one allows two"
    pool.place((fourth, 0))
    assert pool.copy(fourth).state is S.PENDING
    pool.report(third, S.FAILED)
    pool.place((second, 0))
    assert pool.copy(second).state is S.PENDING, "under the older one, one is all"
    unlimited = given(not_before_s=NOW_S - 2)
    for _ in range(3):
        pool.place((pool.submit(unlimited), 0))
    assert pool.used().replicas == 4


def test_grantors_and_delegates_are_counted_apart() -> None:
    """What one account uses in one name is no matter of another name, or account."""
    pool = Delegated()
    quota = Quota(max_replicas=1)
    for delegate, grantor in ((FRIEND, MANAGER), (FRIEND, CREATOR), (OTHER_FRIEND, MANAGER)):
        name = pool.submit(given(quota, delegate=delegate), grantor)
        pool.place((name, 0))
        assert pool.copy(name).state is S.ASSIGNED
        assert pool.used(delegate, grantor) == Usage(0, 1000, 1)


def test_what_is_lost_finds_its_share_again() -> None:
    """A replacement needs no more room than what it replaces; another task does not get it."""
    pool = Delegated()
    under = given(Quota(max_replicas=1))
    first, second = pool.submit(under), pool.submit(under)
    pool.place((first, 0))
    pool.report(first, S.RUNNING)
    pool.report(first, S.LOST)
    assert pool.used().replicas == 1
    pool.place((second, 0))
    assert pool.copy(second).state is S.PENDING
    pool.place((first, 0), node=OTHER)
    assert (pool.copy(first).state, pool.copy(first).attempt) == (S.ASSIGNED, 2)
    assert len(pool.state.strays) == 1
    assert pool.used().replicas == 1


def test_what_was_lost_uses_nothing_once_its_task_has_ended() -> None:
    """Its GPUs stay held on its node, but the delegate has its share back."""
    pool = Delegated()
    under = given(Quota(max_gpus=1))
    first, second = pool.submit(under, gpus=1), pool.submit(under, gpus=1)
    pool.place((first, 0))
    pool.report(first, S.RUNNING)
    pool.report(first, S.LOST)
    pool.ask(Action.STOP, first.hex())
    assert pool.state.tasks[first].finished
    assert pool.used() == NO_USAGE
    pool.report(first, S.STOPPED)
    assert pool.used() == NO_USAGE
    pool.place((second, 0), node=OTHER)
    assert pool.used().gpus == 1


def test_the_counts_survive_a_snapshot() -> None:
    """A replica that began with a snapshot judges like one that applied the log."""
    pool = Delegated()
    under, other = given(Quota(max_gpus=3)), given(delegate=OTHER_FRIEND)
    names = [pool.submit(under, gpus=1, replicas=2), pool.submit(other), pool.submit(under)]
    pool.place((names[0], 0), (names[0], 1), (names[1], 0), (names[2], 0))
    pool.report(names[0], S.RUNNING)
    pool.report(names[0], S.LOST)
    pool.report(names[2], S.SUCCEEDED)
    pool.revoke(OTHER_FRIEND)
    read = decode_state(encode_state(pool.state))
    assert read == pool.state
    assert list(read.delegates.behind(None)) == list(pool.state.delegates.behind(None))
    for delegate in (FRIEND, OTHER_FRIEND):
        assert read.delegates.used(MANAGER, delegate) == pool.used(delegate)
        assert pool.used(delegate) == recounted(pool.state, delegate, MANAGER)
    room, task = QuotaRoom(read), read.tasks[names[0]]
    assert room.refusal(task, 1) is None
    assert room.refusal(task, 2) == f"{OVER}2 of 3 GPUs in use, and it needs 2"


def test_no_log_of_an_earlier_level_has_a_quota() -> None:
    """There an entry that says more applies as nothing, in old and new programs alike."""
    pool = Delegated(level=BASE_LEVEL)
    signed = pool.submission(given(Quota(max_gpus=1)))
    kind, body = encode_body(RequestApplied(signed, NODE, FRIEND, MANAGER), DISTRUST_LEVEL)
    with pytest.raises(Malformed):
        apply_entry(pool.state, Entry(1, 1, kind, NOW_S * 1000, body))
    assert pool.state.tasks == {}
