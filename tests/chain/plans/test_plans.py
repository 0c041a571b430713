"""A plan is what is missing, in order, and nothing else."""

import pytest

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.provider.entry_plans import Newcomer, join_plan
from p2pool.drivers.chain.provider.exit_plans import (
    blacklist_provider_plan,
    purge_plan,
    remove_plan,
)
from p2pool.drivers.chain.provider.facts import OwnNode, Reading
from p2pool.drivers.chain.provider.plan import Call, Plan, Wait
from p2pool.drivers.chain.provider.provider_plans import (
    deregister_plan,
    reclaim_plan,
    register_plan,
    withdraw_plan,
)
from p2pool.drivers.dates import utc
from p2pool.model import limits
from p2pool.model.errors import Conflict, NotAllowed, TransactionFailed
from p2pool.model.ids import NodeId
from p2pool.model.states import PoolStatus
from tests.chain.plans.facts import (
    AT,
    MANAGER,
    ME,
    NO,
    NODE,
    OTHER,
    YES,
    info,
    node,
    pool,
    provider,
    stake,
    stranger,
)


def names(plan: Plan) -> list[str]:
    """The steps by name; a wait in brackets."""
    return [f"({one.name})" if isinstance(one, Wait) else one.name for one in plan.steps]


def test_a_registration_sends_what_is_missing() -> None:
    """An allowance that is there is used, a stake that is enough is left, and the whitelist is
    waited for."""
    plan = register_plan(AT, stranger(needed_wei=Reading.of(6)), 8)
    assert names(plan) == ["approved", "registered", "(whitelisted)"]
    assert [one.arguments for one in plan.ready] == [(AT.network, 8), (8,)]
    assert plan.tokens_wei == 8
    plan = register_plan(AT, stranger(allowance_wei=Reading.of(8)), 8)
    assert names(plan) == ["registered", "(whitelisted)"]
    assert names(register_plan(AT, provider())) == []
    assert names(register_plan(AT, provider(), 12)) == ["approved", "staked"]
    with pytest.raises(NotAllowed, match="and you allow"):
        register_plan(AT, stranger(), 8, 7)


def test_a_minimum_that_a_deployment_does_not_know_is_computed() -> None:
    """Of a provider that it does not know, some panic: a unit's stake for each, and one more."""
    plan = register_plan(AT, stranger(units=3, needed_wei=NO, minimum_wei=NO))
    assert plan.ready[-1].arguments == (8,)


def test_a_reclaim_goes_on_over_the_unbonding_to_the_withdrawal() -> None:
    """What is on its way already keeps its own date, and what is due comes with the first."""
    plan = reclaim_plan(AT, provider(), stake((5, 900), (3, 1030)))
    assert names(plan) == ["unstaked", "(unbonded)", "withdrawn", "(unbonded)", "withdrawn"]
    assert plan.ready[0].arguments == (6,)
    waits = [one for one in plan.steps if isinstance(one, Wait)]
    assert [one.until_s for one in waits] == [1030, 1060]
    assert "1970-01-01 00:17:40 UTC" in waits[1].finding
    assert names(reclaim_plan(AT, provider(), stake(), 10)) == []
    with pytest.raises(Conflict, match="too little"):
        reclaim_plan(AT, provider(), stake(), 3)
    assert reclaim_plan(AT, provider(registered=NO), stake()).ready[0].arguments == (10,)


def test_a_withdrawal_takes_what_is_due_and_names_the_next_date() -> None:
    """Nothing due is nothing sent."""
    assert names(withdraw_plan(AT, provider(), stake((5, 1000), (3, 1030)))) == [
        "withdrawn",
        "(unbonded)",
        "withdrawn",
    ]
    assert withdraw_plan(AT, provider(), stake((3, 1030))).ready == ()
    assert withdraw_plan(AT, provider(), stake()).steps == ()


def test_a_provider_leaves_in_order() -> None:
    """Pools, registry, registration, unbonding; a node in a pool that was not named stops it."""
    own = OwnNode(NODE, 1, True, True)
    plan = deregister_plan(AT, provider(), stake(), [own], {7: [NODE]})
    assert names(plan) == ["left", "node removed", "deregistered", "(unbonded)", "withdrawn"]
    assert [one.name for one in plan.ready if one.asks] == ["deregistered"]
    with pytest.raises(Conflict, match="did not name"):
        deregister_plan(AT, provider(), stake(), [own], {7: []})


def test_many_nodes_leave_in_batches() -> None:
    """A block has room for so many."""
    nodes = [NodeId(number.to_bytes(20, "big")) for number in range(limits.BATCH_NODES_MAX + 1)]
    plan = deregister_plan(AT, provider(), stake(), [], {7: nodes})
    sizes = [one.arguments[2] for one in plan.ready if one.name == "left"]
    assert isinstance(sizes[0], list)
    assert (len(sizes[0]), sizes[1]) == (limits.BATCH_NODES_MAX, nodes[-1])


def test_the_pool_is_judged_before_anything_is_paid() -> None:
    """Whatever keeps a node out stands first, or is refused."""
    one = [Newcomer(node(), 1, b"consent")]
    facts = stranger(units=1)
    assert names(join_plan(AT, pool(PoolStatus.PENDING), facts, one))[0] == "(pool started)"
    full = pool(limit=3, used_units=Reading.of(3))
    assert names(join_plan(AT, full, facts, one))[0] == "(room made)"
    with pytest.raises(Conflict, match="has ended"):
        join_plan(AT, pool(PoolStatus.COMPLETED), facts, one)
    with pytest.raises(TransactionFailed, match="provider is blacklisted"):
        join_plan(AT, pool(barred=YES), facts, one)
    with pytest.raises(TransactionFailed, match="is blacklisted"):
        join_plan(AT, pool(), facts, [Newcomer(node(barred=YES), 1)])
    with pytest.raises(TransactionFailed, match="registered by the provider"):
        join_plan(AT, pool(), provider(), [Newcomer(node(info(OTHER)), 1)])


def test_a_slash_is_made_good_before_a_validation() -> None:
    """A validator refuses a provider whose stake is too small, so its turn comes later."""
    waiting = [Newcomer(node(info(validated=False)), 1)]
    plan = join_plan(AT, pool(), provider(stake_wei=Reading.of(3)), waiting)
    assert names(plan)[:2] == ["(stake)", "(validated)"]
    assert plan.waits is not None
    assert plan.waits.command == "p2pool provider stake add"


def test_nothing_behind_a_wait_is_ready() -> None:
    """And what lacks a signature has no bytes."""
    plan = join_plan(AT, pool(), stranger(units=1), [Newcomer(node(), 1, b"c" * 65)])
    assert [one.name for one in plan.ready] == ["approved", "registered"]
    assert [one.name for one in plan.calls] == ["approved", "registered", "node registered"]
    key = KeyManager(new_account())
    invite = key.sign_invite(0, 7, NODE, 2000)
    plan = join_plan(AT, pool(), provider(), [Newcomer(node(info()), 1, invite=invite)])
    assert [one.name for one in plan.ready] == ["joined"]
    call = plan.ready[0]
    assert call.data[:4] == call.function.call(*call.arguments)[:4]


def test_a_removal_takes_a_node_out_of_its_pool_first() -> None:
    """One in another pool has to be named with it; one that is gone costs nothing."""
    inside = node(info(active=True), in_pool=YES)
    assert names(remove_plan(AT, ME, [inside], 7)) == ["left", "node removed"]
    assert names(remove_plan(AT, ME, [node()], 7)) == []
    with pytest.raises(Conflict, match="another pool"):
        remove_plan(AT, ME, [node(info(active=True))], 7)
    with pytest.raises(NotAllowed):
        remove_plan(AT, ME, [node(info(OTHER))], 7)


def test_a_barred_provider_is_purged_all_the_same() -> None:
    """The contract leaves its nodes in the pool."""
    member = node(info(), in_pool=YES)
    plan = blacklist_provider_plan(AT, pool(), MANAGER, ME, [member])
    assert names(plan) == ["blacklisted", "purged"]
    plan = blacklist_provider_plan(AT, pool(barred=YES), MANAGER, ME, [member])
    assert names(plan) == ["purged"]
    assert names(blacklist_provider_plan(AT, pool(barred=YES), MANAGER, ME, [])) == []
    assert all(isinstance(one, Call) and one.asks for one in plan.steps)


def test_a_member_that_nobody_validates_is_ejected() -> None:
    """A contract's purge may leave it in; without another member nothing is left to purge."""
    stray = node(info(validated=False), in_pool=YES)
    plan = purge_plan(AT, pool(holds=YES), MANAGER, ME, [node(info(), in_pool=YES), stray])
    assert names(plan) == ["ejected", "purged"]
    assert all(isinstance(one, Call) and one.asks for one in plan.steps)
    assert names(purge_plan(AT, pool(holds=YES), MANAGER, ME, [stray])) == ["ejected"]


def test_a_date_that_no_calendar_has_is_written_all_the_same() -> None:
    """Contracts hold what they were told: a time need not be one."""
    assert utc(0) == "1970-01-01 00:00:00 UTC"
    assert utc(2**70) == f"{2**70} s after 1970"
