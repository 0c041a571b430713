"""A transaction that no block takes is replaced, and nothing queues behind it."""

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from eth_account.signers.local import LocalAccount

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.record import Delay
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    FeesTooHigh,
    TransactionFailed,
    TransactionStuck,
)
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.chain.harness import acts
from tests.chain.transactions.geth_pool import GWEI, GethPool, Pooled, geth_pool

pytestmark = pytest.mark.chain

CAP_WEI = 200 * GWEI


@attrs.define
class Scene:
    """A provider whose transactions go through a pool like geth's."""

    world: World
    pool: GethPool
    account: LocalAccount
    directory: Path
    told: list[Delay | None] = attrs.field(factory=list)

    @property
    def chain(self) -> PoolContracts:
        """The contracts, through that pool."""
        return PoolContracts(self.pool.rpc(), self.world.chain.at)

    @property
    def address(self) -> Address:
        """The provider."""
        return Address(bytes.fromhex(self.account.address[2:]))

    def writer(self, cap_wei: int = CAP_WEI) -> KeyWriter:
        """A writer as a process has it: another one knows of its work by the disk alone."""
        rpc = self.pool.rpc()
        journal = FileJournal.of(self.directory, rpc.chain_id, self.address)
        return KeyWriter(
            rpc, self.account, journal=journal, fee_max_wei=cap_wei, tell=self.told.append
        )

    async def delay(self) -> Delay:
        """What the writer tells of a delay, once it does."""
        await until(lambda: self.told and self.told[-1] is not None)
        delay = self.told[-1]
        assert delay is not None
        return delay

    async def sent_nonces(self) -> int:
        """How many transactions of the account are in blocks."""
        rpc = self.world.chain.rpc
        return await rpc.quantity("eth_getTransactionCount", address_text(self.address), "latest")

    async def allowance(self) -> int:
        """What its approvals came to."""
        return await acts.allowance(self.world.chain, self.address)


@pytest.fixture
async def scene(
    world: World, anvil: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """Looks that come at once, so that nothing here waits for time."""
    monkeypatch.setattr(limits, "RECEIPT_POLL_MS", 5)
    monkeypatch.setattr(limits, "RECEIPT_POLL_MAX_MS", 10)
    monkeypatch.setattr(limits, "TRANSACTION_LOOK_MS", 20)
    # Only the base fee outbids, unless a test is about blocks: no slow machine raises anything.
    monkeypatch.setattr(limits, "TRANSACTION_RAISE_BLOCKS", 10**9)
    account = new_account()
    address = Address(bytes.fromhex(account.address[2:]))
    await fund(world.chain.rpc, address)
    await fund_tokens(world.deployment, address)
    async with geth_pool(anvil) as pool:
        with trio.fail_after(180):
            yield Scene(world, pool, account, tmp_path)


async def until(done: Callable[[], Any]) -> None:
    """Wait for something that the writer does in its own time."""
    while not done():
        await trio.testing.wait_all_tasks_blocked(0.005)


def raises_both(offers: list[Pooled]) -> bool:
    """Whether each offer is over the one before by what geth asks for."""
    return all(
        b.most_wei * 100 >= a.most_wei * 110 and b.tip_wei * 100 >= a.tip_wei * 110
        for a, b in itertools.pairwise(offers)
    )


async def test_one_that_became_too_cheap_is_offered_again_under_its_number(scene: Scene) -> None:
    """The base fee rises twelvefold after it was sent: one approval, one number, a higher price."""
    pool = scene.pool
    pool.mines = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        await until(lambda: pool.taken)
        pool.base_fee_wei, pool.mines = 60 * GWEI, True
    assert (await scene.sent_nonces(), await scene.allowance()) == (1, 7)
    assert {one.nonce for one in pool.taken} == {0}
    assert len(pool.taken) == 2
    assert raises_both(pool.taken)
    assert pool.taken[0].most_wei < 60 * GWEI < pool.taken[1].most_wei <= CAP_WEI
    assert pool.refused == []
    assert scene.told[-1] is None


async def test_what_time_ran_out_for_goes_on_in_another_process(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told with number and hash; the same command, anew, sends nothing beside it."""
    pool = scene.pool
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 150)
    pool.mines = False
    with pytest.raises(TransactionStuck, match=r"approve of 0x.* with the nonce 0, 0x") as stuck:
        await acts.approve(scene.chain, scene.writer(), 7)
    assert pool.taken[-1].hash in stuck.value.message
    assert isinstance(scene.told[-1], Delay)
    pool.base_fee_wei, pool.mines = 60 * GWEI, True
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 60_000)
    sent = await acts.approve(scene.chain, scene.writer(), 7)
    assert (await scene.sent_nonces(), await scene.allowance()) == (1, 7)
    assert sent.transaction_hash == pool.taken[-1].hash
    assert list(scene.directory.rglob("*.json")) == []


async def test_nothing_queues_behind_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes next waits until it is home, and is not sent as long as it is not."""
    pool = scene.pool
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 150)
    pool.base_fee_wei, pool.mines = 90 * GWEI, False
    for amount, words in ((7, "The transaction approve"), (8, "approve was not sent: an earlier")):
        with pytest.raises(TransactionStuck, match=f"^{words} .*nonce 0"):
            await acts.approve(scene.chain, scene.writer(), amount)
    assert {one.nonce for one in pool.taken} == {0}
    pool.mines = True
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 60_000)
    pool.mine()
    await acts.approve(scene.chain, scene.writer(), 8)
    assert (await scene.sent_nonces(), await scene.allowance()) == (2, 8)


async def test_the_cap_holds_and_is_told(scene: Scene) -> None:
    """Neither a first offer nor a later one is over it; a raised cap ends the wait."""
    pool = scene.pool
    pool.base_fee_wei = 250 * GWEI
    with pytest.raises(FeesTooHigh, match=r"250 gwei now, .* allows 200 gwei: nothing was"):
        await acts.approve(scene.chain, scene.writer(), 7)
    assert pool.taken == []
    assert list(scene.directory.rglob("*.json")) == []
    pool.base_fee_wei, pool.mines = 5 * GWEI, False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        await until(lambda: pool.taken)
        pool.base_fee_wei, pool.mines = 250 * GWEI, True
        delay = await scene.delay()
        assert "allows 200 gwei: it waits until gas costs less" in delay.text()
        nursery.cancel_scope.cancel()
    assert len(pool.taken) == 1
    await acts.approve(scene.chain, scene.writer(cap_wei=400 * GWEI), 7)
    assert [one.nonce for one in pool.taken] == [0, 0]
    assert (await scene.sent_nonces(), await scene.allowance()) == (1, 7)


async def test_one_that_blocks_pass_by_is_offered_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its price would do and blocks go on without it; where there are none, nothing is raised."""
    pool = scene.pool
    monkeypatch.setattr(limits, "TRANSACTION_RAISE_MS", 0)
    pool.mines = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        await until(lambda: pool.taken)
        await until(lambda: pool.asked.count("eth_maxPriorityFeePerGas") > 3)
        assert len(pool.taken) == 1
        pool.blocks_ahead = limits.TRANSACTION_RAISE_BLOCKS
        await until(lambda: len(pool.taken) == 2)
        pool.mines = True
        pool.mine()
    assert raises_both(pool.taken)
    assert await scene.sent_nonces() == 1


async def test_two_processes_share_no_number(scene: Scene) -> None:
    """An agent and a command with the same key on one machine."""
    async with trio.open_nursery() as nursery:
        for amount in (7, 8, 9):
            nursery.start_soon(acts.approve, scene.chain, scene.writer(), amount)
    assert sorted(one.nonce for one in scene.pool.taken) == [0, 1, 2]
    assert scene.pool.refused == []
    assert await scene.sent_nonces() == 3


async def test_a_number_that_another_wallet_used_is_told_as_that(scene: Scene) -> None:
    """Never as done; and the next try takes the next number."""
    scene.pool.mines = False
    async with trio.open_nursery() as nursery:

        async def approve() -> None:
            with pytest.raises(TransactionFailed, match="was not done: another wallet used"):
                await acts.approve(scene.chain, scene.writer(), 7)

        nursery.start_soon(approve)
        await until(lambda: scene.pool.taken)
        other = KeyWriter(scene.world.chain.rpc, scene.account)
        await acts.approve(scene.world.chain, other, 1)
    assert await scene.allowance() == 1
    scene.pool.forget()
    scene.pool.mines = True
    await acts.approve(scene.chain, scene.writer(), 7)
    assert (await scene.sent_nonces(), await scene.allowance()) == (2, 7)


async def test_behind_another_wallets_it_says_so_and_pays_no_more(scene: Scene) -> None:
    """What lies before it decides; its own price would change nothing."""
    pool = scene.pool
    cheap = KeyWriter(pool.rpc(), scene.account, fee_max_wei=6 * GWEI)
    pool.mines = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, cheap, 1)
        await until(lambda: pool.taken)
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        delay = await scene.delay()
        assert delay.behind == 0
        assert "Another wallet sent the one before it, with the nonce 0" in delay.text()
        pool.mines = True
        pool.mine()
    assert [one.nonce for one in pool.taken] == [0, 1]
    assert (await scene.sent_nonces(), await scene.allowance()) == (2, 7)


@pytest.mark.parametrize("how", ["lost", "deaf"])
async def test_an_answer_that_does_not_come_costs_no_second_one(scene: Scene, how: str) -> None:
    """The pool has it, or has not: either way it is sent once under one number."""
    pool = scene.pool
    setattr(pool, how, True)
    if how == "deaf":
        with pytest.raises(ChainUnavailable, match="may have been sent as 0x"):
            await acts.approve(scene.chain, scene.writer(), 7)
        assert pool.taken == []
        pool.deaf = False
    await acts.approve(scene.chain, scene.writer(), 7)
    assert [one.nonce for one in pool.taken] == [0]
    assert (await scene.sent_nonces(), await scene.allowance()) == (1, 7)


async def test_what_a_pool_forgot_is_handed_over_again(scene: Scene) -> None:
    """An endpoint that began anew has an empty pool."""
    pool = scene.pool
    pool.mines = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        await until(lambda: pool.taken)
        pool.forget()
        await until(lambda: pool.pending)
        pool.mines = True
        pool.mine()
    assert await scene.sent_nonces() == 1
    assert len({one.hash for one in pool.taken}) == 1


async def test_what_failed_in_its_block_is_told_with_the_reason(scene: Scene) -> None:
    """It was possible when it was sent, and no longer when its turn came."""
    pool, world = scene.pool, scene.world
    _, node_id = await world.member()
    creator = KeyWriter(pool.rpc(), world.creator._account)
    pool.mines = False
    async with trio.open_nursery() as nursery:

        async def eject() -> None:
            with pytest.raises(TransactionFailed, match=r"is not in the pool\. That was in block"):
                await acts.eject(scene.chain, creator, world.pool_id, node_id)

        nursery.start_soon(eject)
        await until(lambda: pool.taken)
        await acts.eject(world.chain, world.manager_writer, world.pool_id, node_id)
        pool.mines = True
        pool.mine()


async def test_a_quiet_chain_stays_cheap(scene: Scene) -> None:
    """Forty transactions, on the chain itself: the price follows the base fee, which falls."""
    writer = KeyWriter(scene.world.chain.rpc, scene.account)
    prices = [
        (await acts.approve(scene.world.chain, writer, amount)).price_wei for amount in range(40)
    ]
    assert 0 < prices[-1] <= prices[0] <= 3 * GWEI


async def test_an_account_that_cannot_pay_more_keeps_its_offer(scene: Scene) -> None:
    """It says so, and coin that comes later ends it."""
    pool = scene.pool
    await fund(scene.world.chain.rpc, scene.address, 2 * 10**15)
    pool.mines = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acts.approve, scene.chain, scene.writer(), 7)
        await until(lambda: pool.taken)
        pool.base_fee_wei, pool.mines = 60 * GWEI, True
        assert "the account cannot pay more: send it coin" in (await scene.delay()).text()
        await fund(scene.world.chain.rpc, scene.address)
    assert [one.nonce for one in pool.taken] == [0, 0]
    assert await scene.sent_nonces() == 1
