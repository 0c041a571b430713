"""Unknown is never yes and never no: no plan is made of what nobody says."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from p2pool.drivers.chain.provider.entry_plans import Newcomer, join_plan
from p2pool.drivers.chain.provider.exit_plans import (
    blacklist_node_plan,
    eject_plan,
    leave_plan,
    purge_plan,
)
from p2pool.drivers.chain.provider.facts import NodeFacts, Presence, Reading, StakeFacts
from p2pool.drivers.chain.provider.plan import Plan
from p2pool.drivers.chain.provider.pool_plans import limit_plan
from p2pool.drivers.chain.provider.provider_plans import (
    deregister_plan,
    reclaim_plan,
    register_plan,
    stake_plan,
    withdraw_plan,
)
from p2pool.drivers.chain.provider.reads import reading
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model.errors import ChainUnavailable, NotFound
from tests.chain.plans.facts import (
    AT,
    MANAGER,
    ME,
    NO,
    UNKNOWN,
    YES,
    info,
    node,
    pool,
    provider,
    stake,
    stranger,
)


def panic(code: int) -> Reverted:
    """A contract's code fails."""
    return Reverted("panic", bytes.fromhex("4e487b71") + code.to_bytes(32, "big"))


PLANS: dict[str, Callable[[], Plan]] = {
    "registered": lambda: register_plan(AT, provider(registered=UNKNOWN)),
    "whitelisted": lambda: register_plan(AT, stranger(whitelisted=UNKNOWN)),
    "stake": lambda: stake_plan(AT, provider(stake_wei=UNKNOWN), 20),
    "needed": lambda: register_plan(AT, provider(needed_wei=UNKNOWN)),
    "allowance": lambda: stake_plan(AT, provider(allowance_wei=UNKNOWN), 20),
    "minimum": lambda: reclaim_plan(AT, provider(minimum_wei=UNKNOWN), stake()),
    "unbonds": lambda: withdraw_plan(AT, provider(), _unbonds_unknown()),
    "leaving": lambda: deregister_plan(AT, provider(registered=UNKNOWN), stake(), (), {}),
    "in the pool": lambda: leave_plan(AT, pool(), ME, [node(info(), in_pool=UNKNOWN)]),
    "owner": lambda: leave_plan(AT, pool(), ME, [node(UNKNOWN, in_pool=YES)]),
    "the pool": lambda: leave_plan(AT, pool(info=UNKNOWN), ME, [node(info())]),
    "a keeper's pool": lambda: eject_plan(AT, pool(info=UNKNOWN), MANAGER, [node(info())]),
    "a limit's pool": lambda: limit_plan(AT, pool(info=UNKNOWN), MANAGER, 5),
    "barred": lambda: blacklist_node_plan(AT, pool(), MANAGER, [node(info(), barred=UNKNOWN)]),
    "held": lambda: purge_plan(AT, pool(holds=UNKNOWN), MANAGER, ME, []),
    "joining, registry": lambda: _join(node(UNKNOWN)),
    "joining, member": lambda: _join(node(info(), in_pool=UNKNOWN)),
    "joining, barred": lambda: _join(node(info(), barred=UNKNOWN)),
    "joining, provider barred": lambda: _join(node(info()), barred=UNKNOWN),
    "joining, pool": lambda: _join(node(info()), info=UNKNOWN),
}


def _unbonds_unknown() -> StakeFacts:
    return StakeFacts(UNKNOWN, Reading.of(60))


def _join(facts: NodeFacts, **changes: Any) -> Plan:
    return join_plan(AT, pool(**changes), provider(), [Newcomer(facts, 1)])


@pytest.mark.parametrize("name", PLANS)
def test_no_plan_is_made_of_what_nobody_says(name: str) -> None:
    """Whichever read fails, nothing is sent, and it is an outage and no refusal."""
    with pytest.raises(ChainUnavailable, match="nobody answers"):
        PLANS[name]()


@pytest.mark.parametrize(
    ("said", "presence"),
    [
        (7, Presence.PRESENT),
        (0, Presence.PRESENT),
        (True, Presence.PRESENT),
        ((), Presence.PRESENT),
        (False, Presence.ABSENT),
        (None, Presence.ABSENT),
        (NotFound("none"), Presence.ABSENT),
        (ChainUnavailable("no answer"), Presence.UNKNOWN),
        (Reverted("reverted", b""), Presence.UNKNOWN),
        (panic(0x32), Presence.UNKNOWN),
        (panic(0x11), Presence.UNKNOWN),
        (Reverted("execution reverted: ComputeRegistry: node not found", b""), Presence.ABSENT),
        (Reverted("execution reverted: Insufficient stake", b""), Presence.UNKNOWN),
        (Reverted("none", bytes.fromhex("02b56686") + bytes(32)), Presence.ABSENT),
    ],
)
def test_a_read_is_absent_present_or_unknown(said: object, presence: Presence) -> None:
    """A zero is a value; a cause that says so means that there is none, in whatever tongue; a
    contract that fails says nothing of whom it was asked about, and neither does an outage."""

    async def ask() -> object:
        if isinstance(said, Exception):
            raise said
        return said

    found = trio.run(lambda: reading(ask))
    assert found.presence is presence
    assert bool(found.why) is (presence is Presence.UNKNOWN)


def test_only_a_look_up_in_a_list_finds_none_past_its_end() -> None:
    """Else a broken `isNodeBlacklistedFromPool` would mean that a node is not barred."""

    async def past_the_end() -> object:
        raise panic(0x32)

    async def overflow() -> object:
        raise panic(0x11)

    assert trio.run(lambda: reading(past_the_end, in_list=True)).is_absent
    assert trio.run(lambda: reading(past_the_end)).presence is Presence.UNKNOWN
    assert trio.run(lambda: reading(overflow, in_list=True)).presence is Presence.UNKNOWN


def test_what_is_absent_is_no_value() -> None:
    """Whoever needs it is told that there is none."""
    with pytest.raises(NotFound, match="no stake"):
        NO.need("stake")
