"""Acts on a real chain: what findings lead to, and a restart at each point of the way."""

from typing import Any

import attrs
import pytest
import trio

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.contracts import NodeInfo
from p2pool.drivers.chain.provider.conduct import send_ready
from p2pool.drivers.chain.provider.facts import NodeFacts, Reading
from p2pool.drivers.chain.transactions.journal import MemoryJournal
from p2pool.drivers.chain.transactions.record import PendingTransaction
from p2pool.model.ids import Address, NodeId
from p2pool.validator.chain_history import chain_node, history_of
from p2pool.validator.execution import Executor, Tried, budget_of, plan_of
from p2pool.validator.policy.acts import Act, ActKind, ActState
from p2pool.validator.policy.decision import decide
from p2pool.validator.policy.findings import Finding, FindingKind
from p2pool.validator.policy.history import Registry
from p2pool.validator.policy.rules import Policy
from tests.chain.harness import acts
from tests.validator.chain.conftest import Validator
from tests.validator.policy.cases import ME, NODE, NOW, policy

pytestmark = pytest.mark.chain

WHOLE_ACTS = [ActKind.SLASH, ActKind.REMOVE]


async def decided(executor: Executor, bound: Policy, findings: list[Finding]) -> list[Tried]:
    """One round of a validator: read, decide, do."""
    taken = executor.journal.taken
    history = await history_of(executor.chain, executor.account, findings, taken)
    budget = await budget_of(bound, executor.chain)
    found_acts = decide(bound, findings, history, budget, NOW).acts
    return await executor.carry_out(found_acts, dry_run=bound.dry_run)


def found(
    validator: Validator, kind: FindingKind, node: NodeId, provider: Address, at_ms: int
) -> Finding:
    """What the validator found of a node."""
    return Finding(
        finding_id=f"{kind} {at_ms}".encode().ljust(32, b"."),
        validator=validator.account,
        provider=provider,
        node_id=node,
        kind=kind,
        at_ms=at_ms,
    )


async def test_from_registered_to_validated_to_slashed_and_removed(validator: Validator) -> None:
    """By findings alone; a round without news does nothing, and each act costs less than its
    reserve."""
    world = validator.world
    provider, _ = await world.candidate()
    account = new_account()
    node = NodeId(bytes.fromhex(account.address[2:]))
    await acts.add_compute_node(world.chain, provider, account, 1)
    with validator.opened() as executor:
        passed = [found(validator, FindingKind.PASSED, node, provider.address, NOW - 9000)]
        done = await decided(executor, policy(), passed)
        assert [(one.taken.act.kind, one.taken.state) for one in done] == [
            (ActKind.VALIDATE, ActState.DONE)
        ]
        assert await decided(executor, policy(), passed) == []
        info = await world.chain.node(node)
        assert info is not None
        assert info.validated
        before_wei = await validator.stake_wei(provider.address)
        wrong = found(validator, FindingKind.WRONG_PRODUCT, node, provider.address, NOW - 10)
        done += await decided(executor, policy(), [*passed, wrong])
        assert [one.taken.act.kind for one in done[1:]] == WHOLE_ACTS
        assert [(one.postponed, one.taken.why) for one in done] == [("", "")] * 3
        assert await decided(executor, policy(), [*passed, wrong]) == []
        assert await validator.stake_wei(provider.address) == before_wei - before_wei * 5 // 100
        assert await world.chain.node(node) is None
    for one in done:
        assert 0 < one.taken.spent_wei <= one.taken.act.reserve_wei, one
        assert one.taken.transaction.startswith("0x")


async def test_a_dry_run_sends_nothing_and_does_not_stand_in_the_way(validator: Validator) -> None:
    """What it showed is done once it is told otherwise."""
    provider, node = await validator.world.candidate()
    wrong = [found(validator, FindingKind.WRONG_PRODUCT, node, provider.address, NOW - 10)]
    dry = attrs.evolve(policy(), policy=Policy().policy)
    before = await validator.sent()
    with validator.opened() as executor:
        shown = await decided(executor, dry, wrong)
        assert [one.taken.state for one in shown] == [ActState.SHOWN] * 2
        assert await decided(executor, dry, wrong) == []
    assert await validator.sent() == before
    with validator.opened() as executor:
        assert await executor.resume() == []
        done = await decided(executor, policy(), wrong)
        assert [one.taken.act.kind for one in done] == WHOLE_ACTS


@pytest.mark.parametrize("died", ["before it was sent", "in the pool", "in a block"])
async def test_a_restart_neither_loses_nor_doubles_a_slash(validator: Validator, died: str) -> None:
    """Wherever the process died, the stake goes once, by one transaction, and the act is done."""
    world = validator.world
    provider, node = await world.candidate()
    act = Act(
        kind=ActKind.SLASH,
        node_id=node,
        provider=provider.address,
        findings=(b"finding" * 4,),
        at_ms=NOW,
        reserve_wei=10**16,
        amount_wei=1234,
    )
    before_wei, before = await validator.stake_wei(provider.address), await validator.sent()
    with validator.opened() as executor:
        await trio.to_thread.run_sync(lambda: executor.journal.plan([act], dry_run=False))
        if died != "before it was sent":
            await _send_and_die(validator, executor, act, mined=died == "in a block")
    with validator.opened() as executor:
        assert executor.journal.open_acts == (act,)
        (tried,) = await executor.resume()
        assert (tried.taken.state, tried.postponed) == (ActState.DONE, "")
        assert await executor.resume() == []
    assert await validator.stake_wei(provider.address) == before_wei - 1234
    assert await validator.sent() == before + 1


class Died(Exception):
    """The process is gone."""


class LastWords(MemoryJournal):
    """An account's journal in which a transaction is kept, and then the process dies."""

    async def save(self, transaction: PendingTransaction) -> None:
        """Keep it, and nothing after."""
        await super().save(transaction)
        raise Died


async def _send_and_die(validator: Validator, executor: Executor, act: Act, *, mined: bool) -> None:
    """Hand the act's transaction over, and hear no more of it."""
    counted = await validator.writer(10**11).count()
    plan = await plan_of(act, executor.chain, executor.account)
    rpc = executor.chain.rpc
    if mined:
        await send_ready(plan, validator.writer(10**11), counted)
        return
    validator.kept = LastWords()
    with pytest.raises(Died):
        await send_ready(plan, validator.writer(10**11), counted)
    left = validator.kept.kept
    assert left is not None
    validator.kept = MemoryJournal(left)
    await rpc.request("evm_setAutomine", False)
    await rpc.request("eth_sendRawTransaction", "0x" + left.raw.hex())
    await rpc.request("evm_setAutomine", True)


async def test_an_act_waits_while_gas_costs_more_than_its_reserve(validator: Validator) -> None:
    """It stays planned, and is sent once the price is back; the account pays nothing meanwhile."""
    provider, node = await validator.world.candidate()
    act = Act(
        kind=ActKind.INVALIDATE,
        node_id=node,
        provider=provider.address,
        findings=(b"finding" * 4,),
        at_ms=NOW,
        reserve_wei=1000,
    )
    before = await validator.sent()
    with validator.opened() as executor:
        (tried,) = await executor.carry_out([act], dry_run=False)
        assert "more than was set aside" in tried.postponed
        assert executor.journal.open_acts == (act,)
        assert await validator.sent() == before
        (tried,) = await executor.resume()
        assert tried.postponed


async def test_what_the_chain_will_not_have_is_over(validator: Validator) -> None:
    """A node that is gone, or another provider's by now, is told and not tried again."""
    provider, node = await validator.world.candidate()
    gone = Act(
        kind=ActKind.VALIDATE,
        node_id=NodeId(b"\x77" * 20),
        provider=provider.address,
        findings=(b"a" * 32,),
        at_ms=NOW,
        reserve_wei=10**16,
    )
    moved = attrs.evolve(gone, node_id=node, provider=Address(b"\x78" * 20))
    with validator.opened() as executor:
        tried = await executor.carry_out([gone, moved], dry_run=False)
        assert [one.taken.state for one in tried] == [ActState.REFUSED] * 2
        assert "does not know" in tried[0].taken.why
        assert "another provider" in tried[1].taken.why
        assert await executor.resume() == []


def test_what_no_endpoint_tells_is_unknown_to_the_policy() -> None:
    """Neither gone nor a stranger: nothing follows for it."""
    unread: Reading[Any] = Reading.unknown("nobody answers")
    for registry, expected in (
        (unread, Registry.UNKNOWN),
        (Reading.absent(), Registry.ABSENT),
        (Reading.of(NodeInfo(ME, 1, False, False)), Registry.REGISTERED),
        (Reading.of(NodeInfo(ME, 1, False, True)), Registry.VALIDATED),
    ):
        assert chain_node(NodeFacts(NODE, registry, unread, unread)).registry is expected
