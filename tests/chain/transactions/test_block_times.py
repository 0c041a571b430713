"""Sending where blocks come every 250 ms and every 12 s: each call once, at its first price.

On a chain of its own: no call gives a chain back the way of mining that this takes from it.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import Anvil, start_anvil
from p2pool.dev.chain.contracts import Deployment, deploy, new_account
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.record import Delay
from p2pool.drivers.chain.transactions.writer import KeyWriter
from tests.chain.conftest import World
from tests.chain.endpoints import Proxy, proxy
from tests.chain.harness import acts

pytestmark = pytest.mark.chain

WITHIN_S = 120
FAST_MS = 250
SLOW_S = 12
SEND = "eth_sendRawTransaction"
RECEIPT = "eth_getTransactionReceipt"


@attrs.define
class Sending:
    """An account that sends by a proxy in front of the chain, and what its writer told."""

    world: World
    proxy: Proxy
    writer: KeyWriter
    told: list[Delay | None]

    async def approve(self, *amounts: int) -> list[int]:
        """Approve these amounts, one after the other; the blocks that took them."""
        chain = PoolContracts(Rpc.to(31337, [self.proxy.url]), self.world.chain.at)
        return [(await acts.approve(chain, self.writer, amount)).block_number for amount in amounts]

    async def sent(self) -> int:
        """How many transactions of the account are in blocks."""
        asked = ("eth_getTransactionCount", address_text(self.writer.address), "latest")
        return await self.world.chain.rpc.quantity(*asked)


@pytest.fixture
def anvil(tmp_path: Path) -> Iterator[Anvil]:
    """For one test alone."""
    running = trio.run(start_anvil, tmp_path / "chain")
    yield running
    trio.run(running.stop)


@pytest.fixture
def deployment(anvil: Anvil) -> Deployment:
    """The contracts on it."""

    async def run() -> Deployment:
        return await deploy(anvil.rpc())

    return trio.run(run)


@pytest.fixture
async def sending(world: World, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Sending]:
    """On a chain that mines nothing by itself from here on."""
    rpc, account = world.chain.rpc, new_account()
    funded = await world.account(account)
    told: list[Delay | None] = []
    async with proxy(anvil) as beside:
        through = Rpc.to(31337, [beside.url])
        journal = FileJournal.of(tmp_path, through.chain_id, funded.address)
        writer = KeyWriter(through, account, journal=journal, tell=told.append)
        await rpc.request("evm_setIntervalMining", 0)
        with trio.fail_after(WITHIN_S):
            yield Sending(world, beside, writer, told)


async def test_blocks_of_250_ms_take_each_call_once(sending: Sending) -> None:
    """Several blocks pass between two looks; nothing is offered again, and nothing told."""
    rpc = sending.world.chain.rpc

    async def mine() -> None:
        while True:
            await rpc.request("anvil_mine", "0x1")
            await trio.sleep(FAST_MS / 1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mine)
        blocks = await sending.approve(1, 2, 3, 4, 5)
        nursery.cancel_scope.cancel()
    assert blocks == sorted(set(blocks))
    assert await acts.allowance(sending.world.chain, sending.writer.address) == 5
    assert await sending.sent() == sending.proxy.asked.count(SEND) == 5
    assert set(sending.told) <= {None}


async def test_blocks_of_12_s_are_waited_for(sending: Sending) -> None:
    """Looked for again and again, and neither offered again nor called late; a second call waits
    for the next block."""
    await sending.world.chain.rpc.request("evm_setIntervalMining", SLOW_S)
    first, second = await sending.approve(1, 2)
    assert second == first + 1
    assert await sending.sent() == sending.proxy.asked.count(SEND) == 2
    assert set(sending.told) <= {None}
    assert 2 < sending.proxy.asked.count(RECEIPT) <= 4 * SLOW_S
