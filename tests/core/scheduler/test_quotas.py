"""Plans keep quotas: nobody gets more, what waits says why, and is placed once there is room."""

import random

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.access.revocations import WITHDRAWN
from p2pool.core.fsm.tasks import wants_copy
from p2pool.core.scheduler.capacity import NodeOffer
from p2pool.core.scheduler.plan import JUST_BACK, plan, why_waiting
from p2pool.model.access.delegations import Delegation, Quota, Scope, SignedDelegation
from p2pool.model.access.quotas import NO_USAGE, OVER, Usage, over_quota, usage_of
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, TaskId
from p2pool.model.log.entries import RequestApplied
from p2pool.model.states import AllocationState, Reachability
from tests.core.scheduler.planning import MANAGER, NOW_S, Pool, card, node_id, offer, reason

S = AllocationState
FRIENDS = (Address(b"f" * 20), Address(b"g" * 20))
NEWS = (S.RUNNING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.STOPPED, S.LOST)
ROOMY = tuple(
    offer(
        number,
        *(card(f"g{number}-{n}") for n in range(16)),
        cpu_milli=200_000,
        memory_mib=1 << 20,
    )
    for number in range(1, 5)
)
"""Machines on which everything finds a place, so that only quotas make copies wait."""


@attrs.define
class Delegated(Pool):
    """A pool whose manager lets others in."""

    def __attrs_post_init__(self) -> None:
        self.state.level = DISTRUST_LEVEL

    def submit_for(
        self,
        friend: Address,
        quota: Quota | None,
        *,
        cpu_milli: int = 1000,
        gpus: int = 0,
        **keys: object,
    ) -> TaskId:
        """A task of a delegate."""
        number = self.state.applied_index
        resources = {"cpu_milli": cpu_milli, "gpu": {"count": gpus}}
        named = {"name": f"t-{number}", "image": "busybox:1", "resources": resources}
        given = Delegation(
            pool_id=0,
            delegate=friend,
            scope=Scope.SUBMIT,
            not_before_s=NOW_S - 60,
            not_after_s=NOW_S + 3600,
            quota=quota,
        )
        request = TaskRequest(
            action=Action.SUBMIT,
            pool_id=0,
            target="",
            spec_json=spec_json({**named, **keys}),
            request_id=number.to_bytes(32, "big"),
            not_before_s=NOW_S,
            not_after_s=NOW_S + 3600,
        )
        signed = SignedRequest(request, b"s" * 65, SignedDelegation(given, b"d" * 65))
        self.feed(RequestApplied(signed, node_id(1), friend, MANAGER))
        return task_id(self.state.pool, request)

    def revoke(self, friend: Address) -> None:
        """The manager voids what a delegate holds."""
        self._ask(Action.REVOKE, friend.hex(), "")

    def used(self, friend: Address) -> Usage:
        """What a delegate uses, by a walk over all copies."""
        found = NO_USAGE
        for copy in self.state.all_allocations():
            task = self.state.tasks[copy.allocation.task_id]
            if task.record.signer == friend and copy.holds and not task.finished:
                found = found.plus(usage_of(task.spec.resources))
        return found


# --- one by one ---------------------------------------------------------------------------------


def test_what_is_over_its_quota_waits_and_is_placed_when_there_is_room() -> None:
    """Two of three copies find room; the third waits with the reason until one ends."""
    pool, quota = Delegated(), Quota(max_gpus=4)
    first = pool.submit_for(FRIENDS[0], quota, gpus=2, replicas=2)
    second = pool.submit_for(FRIENDS[0], quota, gpus=1)
    made = pool.run(*ROOMY)
    assert 0 not in pool.where(first)
    assert pool.where(second) == [0]
    assert reason(made, second) == "over the quota of the delegation: 4 of 4 GPUs in use"
    pool.report(pool.copy(first), S.RUNNING)
    pool.report(pool.copy(first), S.SUCCEEDED)
    assert reason(pool.run(*ROOMY), second) == ""
    assert pool.where(second) != [0]


def test_others_do_not_wait_for_who_is_over_its_quota() -> None:
    """Neither another delegate nor the manager, nor what is small enough of the same one."""
    pool, quota = Delegated(), Quota(max_gpus=2)
    pool.submit_for(FRIENDS[0], quota, gpus=2)
    large = pool.submit_for(FRIENDS[0], quota, gpus=1)
    small = pool.submit_for(FRIENDS[0], quota)
    others = pool.submit_for(FRIENDS[1], quota, gpus=2)
    own = pool.submit(resources={"gpu": {"count": 2}})
    pool.run(*ROOMY)
    assert [pool.where(name) == [0] for name in (large, small, others, own)] == [
        True,
        False,
        False,
        False,
    ]


def test_a_task_gets_as_many_copies_as_its_quota_has_room_for() -> None:
    """The rest waits; of a gang all or none."""
    pool, quota = Delegated(), Quota(max_replicas=3)
    pool.submit_for(FRIENDS[0], quota)
    each = pool.submit_for(FRIENDS[0], quota, replicas=3)
    gang = pool.submit_for(FRIENDS[1], quota, replicas=2)
    whole = pool.submit_for(FRIENDS[1], quota, replicas=2, gang=True)
    made = pool.run(*ROOMY)
    assert [where == 0 for where in pool.where(each)] == [False, False, True]
    assert pool.where(whole) == [0, 0]
    assert reason(made, whole) == f"{OVER}2 of 3 replicas in use, and it needs 2"
    for replica in range(2):
        pool.report(pool.copy(gang, replica), S.SUCCEEDED)
    pool.run(*ROOMY)
    assert 0 not in pool.where(whole)


def test_a_system_task_goes_as_far_as_its_quota() -> None:
    """A copy on each node, until the delegate has all that it may."""
    pool = Delegated()
    name = pool.submit_for(FRIENDS[0], Quota(max_replicas=3), system=True)
    pool.run(*ROOMY)
    assert len(pool.where(name)) == 3
    pool.report(pool.copy(name, 0), S.STOPPED)
    other = pool.submit_for(FRIENDS[0], None)
    assert reason(pool.run(*ROOMY), name, 0) == "", "it goes back to its own share first"
    assert pool.where(other) != [0]


def test_a_lost_copy_finds_its_share_again() -> None:
    """A full quota does not keep it from being replaced."""
    pool, quota = Delegated(), Quota(max_replicas=1)
    name = pool.submit_for(FRIENDS[0], quota)
    waits = pool.submit_for(FRIENDS[0], quota, priority=90)
    pool.run(*ROOMY)
    copy = pool.copy(waits)
    assert copy.node_id is not None, "the higher priority came first"
    pool.report(copy, S.RUNNING)
    pool.judge(int.from_bytes(copy.node_id, "big"), Reachability.UNREACHABLE)
    pool.report(copy, S.LOST)
    pool.run(*ROOMY)
    assert pool.copy(waits).attempt == 2
    assert pool.where(name) == [0]


def test_what_was_revoked_is_not_placed() -> None:
    """A lost copy of it says so, beside why it left its place."""
    pool = Delegated()
    name = pool.submit_for(FRIENDS[0], None)
    pool.run(*ROOMY)
    pool.report(pool.copy(name), S.RUNNING)
    pool.revoke(FRIENDS[0])
    pool.report(pool.copy(name), S.LOST)
    made = plan(pool.state, ROOMY)
    assert made.placements == ()
    assert reason(made, name) == WITHDRAWN
    copy = attrs.evolve(pool.copy(name), reason="its node is unreachable: x")
    told = why_waiting(pool.state, copy, WITHDRAWN)
    assert told == f"its node is unreachable: x; waits: {WITHDRAWN}"


# --- always -------------------------------------------------------------------------------------


def _disturb(pool: Delegated, rng: random.Random) -> None:
    copies = [c for c in pool.state.all_allocations() if c.node_id is not None]
    what = rng.randrange(10)
    if what < 6 and copies:
        for copy in rng.sample(copies, min(3, len(copies))):
            pool.report(copy, rng.choice(NEWS))
    elif what < 8 and pool.state.tasks:
        pool.stop(rng.choice(list(pool.state.tasks)))
    else:
        pool.judge(rng.randint(1, 4), rng.choice((Reachability.UNREACHABLE, Reachability.HEALTHY)))


def _check(pool: Delegated, quotas: dict[Address, Quota], offers: tuple[NodeOffer, ...]) -> None:
    """What is counted is what is there; nobody has more than it may; and what waits for its quota
    alone would be over it."""
    state = pool.state
    for friend, quota in quotas.items():
        used = pool.used(friend)
        assert state.delegates.used(MANAGER, friend) == used
        assert quota.max_gpus is None or used.gpus <= quota.max_gpus
        assert quota.max_cpu_milli is None or used.cpu_milli <= quota.max_cpu_milli
        assert quota.max_replicas is None or used.replicas <= quota.max_replicas
    made = plan(state, offers)
    assert made.placements == ()
    for name, told in made.reasons:
        task = state.tasks[name.task_id]
        if not told.startswith(OVER):
            continue
        quota = quotas[task.record.signer]
        copies = [
            c
            for c in state.of_task(name.task_id)
            if wants_copy(state, task, c.allocation.replica) and not c.holds
        ]
        more = usage_of(task.spec.resources, len(copies) if task.spec.gang else 1)
        assert over_quota(quota, pool.used(task.record.signer), more) == told


def _quota(rng: random.Random) -> Quota:
    def most(least: int, limit: int) -> int | None:
        return rng.randint(least, limit) if rng.random() < 0.6 else None

    return Quota(max_gpus=most(0, 6), max_cpu_milli=most(1000, 9000), max_replicas=most(1, 6))


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_quotas_hold_whatever_happens(seed: int) -> None:
    """Submissions, ends, losses and stops in any order, with a plan after each: no delegate has
    more than its quota, and what waits is placed as soon as there is room."""
    rng = random.Random(seed)
    pool = Delegated()
    quotas = {friend: _quota(rng) for friend in FRIENDS}
    for _ in range(16):
        if rng.random() < 0.5:
            friend = rng.choice(FRIENDS)
            pool.submit_for(
                friend,
                quotas[friend],
                cpu_milli=rng.randint(1, 3) * 500,
                gpus=rng.randint(0, 2),
                priority=rng.randint(0, 3),
                replicas=rng.randint(1, 4),
                gang=rng.random() < 0.3,
            )
        else:
            _disturb(pool, rng)
        healthy = tuple(
            one
            for one in ROOMY
            if pool.state.node(one.node_id).reachability is Reachability.HEALTHY
        )
        made = plan(pool.state, healthy)
        for placement in made.placements:
            pool.feed(placement)
            for placed in placement.placed:
                copy = pool.copy(placed.allocation.task_id, placed.allocation.replica)
                assert copy.state is S.ASSIGNED, "the plan keeps what applying demands"
        _check(pool, quotas, healthy)
        if len(healthy) == len(ROOMY):
            for _, told in made.reasons:
                assert told.startswith(OVER) or "older copy" in told or told == JUST_BACK
