"""What real endpoints do to a follower: caps, machines at several heights, pruned state."""

import pytest
import trio

from p2pool.core.inputs import ChainObserved
from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable
from tests.chain.conftest import World
from tests.chain.endpoints import proxy
from tests.chain.harness import acts
from tests.chain.reads.modes import (
    balanced,
    capped,
    follower,
    mine,
    pruned,
    refusing,
    without_finality,
)
from tests.chain.rosters import ids

pytestmark = pytest.mark.chain
CAPS = {
    -32602: "range 40 exceeds limit of 3",
    -32005: "query returned more than 10000 results",
    -32000: "Log response size exceeded",
}


@pytest.mark.parametrize("code", CAPS)
async def test_a_cap_on_the_blocks_of_a_question_is_found_out(
    world: World, anvil: Anvil, code: int
) -> None:
    """Whatever its words are: the span is halved until it passes, and kept. No full read."""
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await following.observe()
        reads = following.full_reads
        made.refuse = capped(3, CAPS[code], code)
        _, node_id = await world.member()
        await mine(anvil, 20)
        assert ids((await following.observe()).latest) == {node_id}
        assert following.full_reads == reads
        assert following.reader.span.most <= 3
        made.asked.clear()
        await mine(anvil, 3)
        await following.observe()
        assert made.asked.count("eth_getLogs") <= 7


async def test_machines_at_several_heights_behind_one_address_lose_nothing(
    world: World, anvil: Anvil
) -> None:
    """Heads go back and forth, blocks are unknown for a moment, events are left out: nothing is
    taken back, nobody is told of an outage, and what happened is seen."""
    async with proxy(anvil) as made:
        await mine(anvil, 10)
        following = follower(world, made.url, confirmations=2)
        await following.observe()
        balanced(made, 0, 3, 1)
        seen: list[object] = []
        _, node_id = await world.member()

        async def consume() -> None:
            async for told in following.observations():
                seen.append(told)

        with trio.fail_after(500):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consume)
                while not (
                    seen
                    and isinstance(seen[-1], ChainObserved)
                    and ids(seen[-1].final) == {node_id}
                ):
                    await mine(anvil, 1)
                    await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
        numbers = [one.latest.block_number for one in seen if isinstance(one, ChainObserved)]
        assert len(numbers) == len(seen)
        assert numbers == sorted(numbers)


async def test_events_that_a_machine_left_out_are_found_when_they_are_asked_for_again(
    world: World, anvil: Anvil
) -> None:
    """In a span of blocks an endpoint that is behind leaves out events without a word."""
    async with proxy(anvil) as made:
        await mine(anvil, 3)
        following = follower(world, made.url)
        await following.observe()
        reads = following.full_reads
        _, node_id = await world.member()
        made.twist = lambda method, params, result: [] if method == "eth_getLogs" else result
        assert ids((await following.observe()).latest) == set()
        made.twist = lambda method, params, result: result
        await mine(anvil, 2)
        assert ids((await following.observe()).latest) == {node_id}
        assert following.full_reads == reads


async def test_a_receipt_that_is_null_for_a_moment_is_asked_for_again(
    world: World, anvil: Anvil
) -> None:
    """Of a transaction that is in a block: the machine that was asked does not have that yet."""
    nulls = 2

    def twist(method: str, params: list[object], result: object) -> object:
        nonlocal nulls
        if method != "eth_getTransactionReceipt" or not nulls:
            return result
        nulls -= 1
        return None

    async with proxy(anvil) as made:
        made.twist = twist
        chain = PoolContracts(Rpc.to(31337, [made.url]), world.chain.at)
        with trio.fail_after(120):
            pool_id = await chain.create_pool(world.creator, 0, world.manager.address, "seen late")
        assert nulls == 0
        assert (await world.chain.pool(pool_id)).name == "seen late"


async def test_state_that_is_pruned_is_not_needed_once_it_was_read(
    world: World, anvil: Anvil
) -> None:
    """The final block goes by what was read when it was the newest."""
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await following.observe()
        heads = await world.chain.rpc.quantity("eth_blockNumber")
        _, node_id = await world.member()
        head = await world.chain.rpc.quantity("eth_blockNumber")
        made.refuse = pruned(lambda: head)
        assert ids((await following.observe()).latest) == {node_id}
        await mine(anvil, 5)
        seen = await following.observe()
        assert ids(seen.final) == {node_id}
        assert seen.final.block_number > heads


async def test_a_start_on_pruned_state_waits_only_where_something_happened(
    world: World, anvil: Anvil
) -> None:
    """With no event since the final block, it is like the newest; else that has to get final."""
    async with proxy(anvil) as made:
        _, node_id = await world.member()
        await mine(anvil, 6)
        head = await world.chain.rpc.quantity("eth_blockNumber")
        made.refuse = pruned(lambda: head)
        assert ids((await follower(world, made.url).observe()).final) == {node_id}
        _, joiner = await world.member()
        newest = await world.chain.rpc.quantity("eth_blockNumber")
        made.refuse = pruned(lambda: newest)
        following = follower(world, made.url)
        with pytest.raises(ChainUnavailable, match="archive endpoint"):
            await following.observe()
        await mine(anvil, 6)
        assert ids((await following.observe()).final) == {node_id, joiner}


async def test_without_finality_a_block_is_final_at_the_depth_that_is_configured(
    world: World, anvil: Anvil
) -> None:
    """By an error or by null; without a depth the message names the setting, and nothing is made
    up."""
    async with proxy(anvil) as made:
        provider, node_id = await world.member()
        await mine(anvil, 10)
        for by in ("error", "null"):
            made.refuse = lambda ask, method, params: None
            made.twist = lambda method, params, result: result
            if by == "error":
                made.refuse = refusing(without_finality, -32602, "invalid block tag")
            else:
                made.twist = lambda method, params, result: (
                    None if without_finality(method, params) else result
                )
            with pytest.raises(ChainUnavailable, match="final_depth"):
                await follower(world, made.url).observe()
            seen = await follower(world, made.url, final_depth=4).observe()
            assert seen.latest.block_number - seen.final.block_number == 4
        following = follower(world, made.url, final_depth=4)
        await following.observe()
        await acts.leave_pool(world.chain, provider, world.pool_id, node_id)
        seen = await following.observe()
        assert (ids(seen.latest), ids(seen.final)) == (set(), {node_id})
        await mine(anvil, 4)
        assert ids((await following.observe()).final) == set()


async def test_an_endpoint_that_stands_still_is_left_for_one_that_goes_on(
    world: World, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, and its newest block is an old one: it is named, and another is asked first."""
    monkeypatch.setattr(limits, "CHAIN_STILL_LOOK_MS", 0)
    async with proxy(anvil) as made:
        await mine(anvil, 3)
        head = await world.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        made.twist = lambda method, params, result: (
            head if method == "eth_getBlockByNumber" and params[0] == "latest" else result
        )
        following = follower(world, made.url, anvil.url)
        await following.observe()
        await mine(anvil, 2)
        assert "stands still" in ((await following.observe()).warning or "")
        seen = await following.observe()
        assert (seen.latest.block_number, seen.warning) == (int(head["number"], 16) + 2, None)


async def test_a_head_that_nobody_has_is_not_waited_for(world: World, anvil: Anvil) -> None:
    """One of three lies of a block far ahead: the others are asked, and no roster is made up."""
    _, node_id = await world.member()
    await mine(anvil, 1)
    async with proxy(anvil) as made, proxy(anvil) as third:
        made.twist = lambda method, params, result: (
            {**result, "number": hex(10**9), "hash": "0x" + "ab" * 32}
            if method == "eth_getBlockByNumber" and params[0] == "latest"
            else result
        )
        following = follower(world, made.url, anvil.url, third.url, confirmations=1)
        with pytest.raises(ChainUnavailable):
            await following.observe()
        seen = await following.observe()
        assert (ids(seen.latest), seen.warning) == ({node_id}, None)
