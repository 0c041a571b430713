"""How much is asked of endpoints: two calls for a block, and of an event only what it is about."""

from collections import Counter

import pytest

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.abi import function
from p2pool.model import limits
from tests.chain.conftest import World
from tests.chain.endpoints import Proxy, proxy
from tests.chain.reads.modes import follower, members, mine, rich
from tests.chain.rosters import ids

pytestmark = pytest.mark.chain
POLLS = 10


@pytest.fixture
def at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long after the last change, and between the looks at what no event tells of."""
    monkeypatch.setattr(limits, "CHAIN_CHANGE_WATCH_MS", 0)
    monkeypatch.setattr(limits, "CHAIN_FINAL_LOOK_MS", 10**9)
    monkeypatch.setattr(limits, "CHAIN_MEMBER_READ_MS", 10**9)


def told(made: Proxy) -> Counter[str]:
    """What was asked since the last look."""
    found = Counter(made.asked)
    made.asked.clear()
    return found


@pytest.mark.parametrize("count", [1, 5])
async def test_a_block_in_rest_costs_two_calls_whatever_the_pools_size(
    world: World, anvil: Anvil, at_rest: None, count: int
) -> None:
    """The newest block and the events of one; where there is no new block, the question alone."""
    await members(world, count)
    async with proxy(anvil) as made:
        await mine(anvil, 5)
        following = follower(world, made.url, confirmations=2)
        for _ in range(6):
            await mine(anvil, 1)
            await following.observe()
        told(made)
        for _ in range(POLLS):
            await mine(anvil, 1)
            seen = await following.observe()
        assert told(made) == {"eth_getBlockByNumber": POLLS, "eth_getLogs": POLLS}
        assert len(ids(seen.latest)) == count
        for _ in range(POLLS):
            await following.observe()
        assert told(made) == {"eth_getBlockByNumber": POLLS}
    assert following.reader.chain.rpc.calls()["eth_getLogs"] >= POLLS
    assert following.full_reads <= 2


async def test_blocks_faster_than_the_polls_cost_two_calls_for_all_of_them(
    world: World, anvil: Anvil, at_rest: None
) -> None:
    """Blocks of 250 ms: four for each look. What they bring is seen, and none is left out."""
    await members(world, 1)
    async with proxy(anvil) as made:
        await mine(anvil, 5)
        following = follower(world, made.url, confirmations=2)
        for _ in range(4):
            await following.observe()
            await mine(anvil, 4)
        told(made)
        for _ in range(POLLS):
            await mine(anvil, 4)
            await following.observe()
        assert told(made) == {"eth_getBlockByNumber": POLLS, "eth_getLogs": POLLS}
        ((_, joiner),) = await members(world, 1)
        for _ in range(3):
            await mine(anvil, 4)
            seen = await following.observe()
        assert joiner in ids(seen.latest)


async def test_anothers_event_costs_no_reading(world: World, anvil: Anvil, at_rest: None) -> None:
    """A provider registers, is whitelisted, adds a node: none of ours."""
    await members(world, 4)
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await mine(anvil, 5)
        await following.observe()
        await following.observe()
        told(made)
        await rich(world)
        await world.candidate()
        await following.observe()
        assert told(made)["eth_call"] == 0
        assert following.counters["partial_reads"] == 0


async def test_an_event_about_one_member_reads_that_one_alone(
    world: World, anvil: Anvil, at_rest: None
) -> None:
    """Its row: four calls, in a pool of any size; and it is no longer eligible."""
    ((provider, node_id), *_) = await members(world, 5)
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await mine(anvil, 5)
        await following.observe()
        await following.observe()
        told(made)
        ban = function("PrimeNetwork", "blacklistProvider")
        await world.deployment.federator.send(world.chain.at.network, ban, provider.address)
        seen = await following.observe()
        assert told(made)["eth_call"] == 4
        member = seen.latest.member(node_id)
        assert member is not None
        assert not member.eligible
        assert sum(m.eligible for m in seen.latest.members) == 4


async def test_what_no_event_told_is_found_in_time(
    world: World, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint leaves out every event: the list and the members are read again, bit by bit."""
    monkeypatch.setattr(limits, "CHAIN_FULL_READ_INTERVAL_MS", 0)
    monkeypatch.setattr(limits, "CHAIN_MEMBER_READ_MS", 0)
    ((provider, node_id),) = await members(world, 1)
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await following.observe()
        made.twist = lambda method, params, result: [] if method == "eth_getLogs" else result
        ban = function("PrimeNetwork", "blacklistProvider")
        await world.deployment.federator.send(world.chain.at.network, ban, provider.address)
        ((_, joiner),) = await members(world, 1)
        await mine(anvil, 1)
        seen = await following.observe()
        assert ids(seen.latest) == {node_id, joiner}
        member = seen.latest.member(node_id)
        assert member is not None
        assert not member.eligible
        assert following.full_reads <= 2
