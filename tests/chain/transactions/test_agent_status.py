"""A real agent whose transaction is stuck says so, and one that starts later goes on with it."""

import sys
from pathlib import Path

import pytest
import trio

from p2pool.agent.agent import run_agent
from p2pool.agent.options import AgentOptions
from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.model import limits
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.chain.transactions.configuration import config_of
from tests.chain.transactions.geth_pool import GWEI, GethPool, geth_pool

pytestmark = pytest.mark.chain


async def problems(directory: Path) -> str:
    """What `p2pool agent status` says that people have to see to."""
    command = [sys.executable, "-m", "p2pool", "agent", "status", "--json"]
    told = await trio.run_process(
        [*command, "--agent", str(directory)], capture_stdout=True, capture_stderr=True, check=False
    )
    return told.stdout.decode()


async def until_said(directory: Path, words: str) -> str:
    """What the agent says, once these words are in it."""
    while True:
        said = await problems(directory)
        if words in said:
            return said
        await trio.sleep(0.2)  # The agent ticks all the time: its tasks are never all blocked.


async def wait_sent(pool: GethPool) -> None:
    """Until the pool has had a transaction."""
    while True:
        if pool.taken:
            return
        await trio.sleep(0.1)


async def test_agent_status_names_a_stuck_transaction(
    world: World, anvil: Anvil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With number, hash and price, in this agent and in the next; then the node goes its way."""
    monkeypatch.setattr(limits, "TRANSACTION_LOOK_MS", 50)
    node, provider = new_account(), new_account()
    address = Address(bytes.fromhex(provider.address[2:]))
    await fund(world.chain.rpc, address)
    await fund_tokens(world.deployment, address)
    data = tmp_path / "data"
    with trio.fail_after(240):
        async with geth_pool(anvil) as pool:
            options = AgentOptions(
                data, config_of(world, pool.url), node, provider, skip_checks=True
            )
            pool.mines = False
            for _ in range(2):
                async with trio.open_nursery() as nursery:
                    stop, up = trio.Event(), trio.Event()
                    nursery.start_soon(run_agent, options, stop, lambda url, up=up: up.set())
                    await up.wait()
                    await wait_sent(pool)
                    pool.base_fee_wei = 250 * GWEI
                    said = await until_said(data, "with the nonce 0, 0x")
                    assert pool.taken[0].hash in said
                    assert "allows 200 gwei: it waits until gas costs less" in said
                    stop.set()
            async with trio.open_nursery() as nursery:
                stop, up = trio.Event(), trio.Event()
                nursery.start_soon(run_agent, options, stop, lambda url: up.set())
                await up.wait()
                pool.base_fee_wei, pool.mines = 60 * GWEI, True
                said = await until_said(data, "is not whitelisted")
                assert "with the nonce" not in said
                stop.set()
    assert [one.nonce for one in pool.taken] == [0, 0, 1]
    assert await world.chain.stake(address) == 2 * 10**15
