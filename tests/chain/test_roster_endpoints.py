"""Several endpoints: one that fails is passed over, and while they disagree nobody is put out."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio

from p2pool.core.inputs import ChainObserved, ChainUnreachable
from p2pool.core.knowledge.roster import Roster
from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.roster import follower as follower_module
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable
from p2pool.model.timing import Now
from tests.chain.conftest import World
from tests.chain.endpoints import Proxy, endpoint, proxy
from tests.chain.harness import acts
from tests.chain.rosters import ids, settle

pytestmark = pytest.mark.chain

LIE = "0x" + "ab" * 32


@pytest.fixture
async def second(anvil: Anvil) -> AsyncIterator[Proxy]:
    """Another endpoint of the test's chain."""
    async with proxy(anvil) as made:
        yield made


def follower(world: World, *urls: str) -> RosterFollower:
    """One who follows by these endpoints, in this order."""
    chain = PoolContracts(Rpc.to(31337, urls, timeout_ms=1500), world.chain.at)
    return RosterFollower(RosterReader(chain, world.pool_id), confirmations=0, poll_ms=20)


def lying(method: str, params: list[Any], result: Any) -> Any:
    """Another hash for every block that is asked for by its number."""
    numbered = method == "eth_getBlockByNumber" and params[0].startswith("0x")
    return {**result, "hash": LIE} if numbered and result else result


def stuck_at(number: int) -> Callable[[str, list[Any], Any], Any]:
    """An endpoint whose newest block is that one; what it says of the contracts does not matter."""

    def twist(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result and int(result["number"], 16) > number:
            return None if params[0].startswith("0x") else {**result, "number": hex(number)}
        return result

    return twist


async def test_endpoints_that_agree_say_nothing(world: World, anvil: Anvil, second: Proxy) -> None:
    """The finalized block is asked of both, and what the contracts say there."""
    _, node_id = await world.member()
    await settle(world)
    following = follower(world, anvil.url, second.url)
    seen = await following.observe()
    assert (ids(seen.final), seen.warning) == ({node_id}, None)
    assert second.asked[0] == "eth_chainId"
    assert set(second.asked[1:]) == {"eth_getBlockByHash", "eth_getBlockByNumber", "eth_call"}


async def test_while_they_disagree_nobody_is_out_but_joiners_are_in(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """The warning names both; once they agree, who left is out."""
    provider, leaver = await world.member()
    await settle(world)
    following, book = follower(world, anvil.url, second.url), Roster()
    seen = await following.observe()
    book.observe(seen.latest, seen.final, Now(0, 0))
    second.twist = lying
    await acts.leave_pool(world.chain, provider, world.pool_id, leaver)
    _, joiner = await world.member(provider)
    await settle(world)
    doubted = await following.observe()
    assert (ids(doubted.latest), ids(doubted.final)) == ({joiner}, {leaver})
    assert "disagree on the finalized block" in (doubted.warning or "")
    assert anvil.url in (doubted.warning or "")
    assert second.url in (doubted.warning or "")
    book.observe(doubted.latest, doubted.final, Now(1, 1), doubted.warning)
    assert book.belongs(leaver)
    assert book.belongs(joiner)
    assert book.problem == doubted.warning
    second.twist = lambda method, params, result: result
    agreed = await following.observe()
    assert (ids(agreed.final), agreed.warning) == ({joiner}, None)
    book.observe(agreed.latest, agreed.final, Now(2, 2), agreed.warning)
    assert book.out_finally(leaver)
    assert not book.problem


async def test_with_nothing_read_before_a_disagreement_is_no_roster(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """Unknown, and said: the follower sends no observation that it would have to take back."""
    second.twist = lying
    following = follower(world, anvil.url, second.url)
    with pytest.raises(ChainUnavailable, match="disagree"):
        await following.observe()
    with trio.fail_after(20):
        said = await anext(following.observations())
    assert isinstance(said, ChainUnreachable)


@pytest.mark.parametrize("kind", ["silent", "nonsense", "another chain", "dead"])
async def test_a_bad_endpoint_is_passed_over(
    world: World, anvil: Anvil, second: Proxy, kind: str
) -> None:
    """Whether it is asked first or second: the other one's roster is told, without a warning."""
    _, node_id = await world.member()
    await settle(world)
    async with endpoint(b"<html>") as nonsense:
        urls = {"nonsense": nonsense, "dead": "http://127.0.0.1:9"}
        url = urls.get(kind, second.url)
        second.silent = kind == "silent"
        second.twist = lambda method, params, result: "0x5" if kind == "another chain" else result
        for order in ((url, anvil.url), (anvil.url, url)):
            with trio.fail_after(20):
                seen = await follower(world, *order).observe()
            assert (ids(seen.final), seen.warning) == ({node_id}, None)


async def test_an_endpoint_that_falls_silent_is_followed_by_the_other(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """No gap in what is told: observations go on, with what happens meanwhile."""
    seen = (following := follower(world, second.url, anvil.url)).observations()
    with trio.fail_after(30):
        assert isinstance(await anext(seen), ChainObserved)
        second.silent = True
        _, node_id = await world.member()
        told = await anext(seen)
        while not (isinstance(told, ChainObserved) and node_id in ids(told.latest)):
            assert isinstance(told, ChainObserved), told
            told = await anext(seen)
    assert following.reader.chain.rpc.first == 1


async def test_an_endpoint_that_is_behind_puts_nobody_out(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """What was seen stands, the lagging one is named, and the other is asked from then on."""
    _, node_id = await world.member()
    await settle(world)
    following = follower(world, second.url, anvil.url)
    first = await following.observe()
    assert ids(first.latest) == {node_id}
    second.twist = stuck_at(0)
    held = await following.observe()
    assert (held.latest, held.final) == (first.latest, first.final)
    assert f"{second.url} is behind" in (held.warning or "")
    await settle(world)
    after = await following.observe()
    assert after.warning is None
    assert after.final.block_number > first.final.block_number


async def test_a_finalized_block_that_changes_is_not_believed(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """A single endpoint that tells another history than before: what was final, stands."""
    _, node_id = await world.member()
    await settle(world)
    following = follower(world, second.url)
    first = await following.observe()
    was = first.final.block_number
    second.twist = lambda method, params, result: (
        lying(method, params, result) if params and params[0] == hex(was) else result
    )
    await settle(world)
    held = await following.observe()
    assert (held.final, ids(held.latest)) == (first.final, {node_id})
    assert "than the one that was final" in (held.warning or "")


def false_members(method: str, params: list[Any], result: Any) -> Any:
    """A list of members that is empty, at every block."""
    listing = "0x" + function("ComputePool", "getComputePoolNodes").call(0).hex()[:8]
    if method == "eth_call" and params[0]["data"].startswith(listing):
        return "0x" + (32).to_bytes(32, "big").hex() + bytes(32).hex()
    return result


async def test_two_that_give_the_same_contents_agree(
    world: World, anvil: Anvil, second: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one alone does not, unless the chain is a development chain."""
    monkeypatch.setattr(follower_module, "DEVELOPMENT_CHAIN_ID", 1)
    await world.member()
    await settle(world)
    assert (await follower(world, anvil.url, second.url).observe()).agreed
    assert not (await follower(world, anvil.url).observe()).agreed
    second.silent = True
    assert not (await follower(world, anvil.url, second.url).observe()).agreed
    monkeypatch.undo()
    assert (await follower(world, anvil.url).observe()).agreed


async def test_false_contents_at_a_true_hash_are_not_taken(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """Whichever of the two is asked first: the last roster stands, and the warning names both."""
    _, node_id = await world.member()
    await settle(world)
    following = follower(world, second.url, anvil.url)
    assert ids((await following.observe()).final) == {node_id}
    second.twist = false_members
    _, joiner = await world.member()
    await settle(world)
    for _ in range(2):
        seen = await following.observe()
        assert (ids(seen.latest), ids(seen.final)) == ({node_id}, {node_id})
        assert "disagree on the contracts" in (seen.warning or "")
        assert anvil.url in (seen.warning or "")
        assert second.url in (seen.warning or "")
    second.twist = lambda method, params, result: result
    mended = await following.observe()
    assert (ids(mended.final), mended.warning) == ({node_id, joiner}, None)


async def test_of_three_the_two_that_agree_are_taken(
    world: World, anvil: Anvil, second: Proxy
) -> None:
    """The one that lies is asked first, contradicted, and passed over."""
    _, node_id = await world.member()
    await settle(world)
    second.twist = false_members
    async with proxy(anvil) as third:
        following = follower(world, second.url, anvil.url, third.url)
        with pytest.raises(ChainUnavailable, match="disagree on the contracts"):
            await following.observe()
        seen = await following.observe()
        assert (ids(seen.final), seen.warning) == ({node_id}, None)


async def test_one_that_fails_in_the_middle_does_not_agree_with_itself(
    world: World, anvil: Anvil, second: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies, and fails one call, so that the honest one is asked first for the rest."""
    monkeypatch.setattr(follower_module, "DEVELOPMENT_CHAIN_ID", 1)
    _, node_id = await world.member()
    await settle(world)
    failed = False

    def failing(method: str, params: list[Any], result: Any) -> Any:
        nonlocal failed
        listing = function("ComputePool", "getComputePool").call(0).hex()[:8]
        asked = method == "eth_call" and params[0]["data"].startswith("0x" + listing)
        if asked and not failed:
            failed = True
            return "0x"
        return false_members(method, params, result)

    second.twist = failing
    try:
        seen = await follower(world, second.url, anvil.url).observe()
    except ChainUnavailable:
        return
    assert not seen.agreed or ids(seen.final) == {node_id}
