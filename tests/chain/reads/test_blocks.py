"""Chains of several paces, one that stands still, one that goes back, and code that changes."""

import pytest
from eth_utils.crypto import keccak

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.answers import Block
from p2pool.drivers.chain.roster.head import HeadWatch, Pace
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from tests.chain.conftest import World
from tests.chain.endpoints import proxy
from tests.chain.reads.modes import false_events, follower, mine
from tests.chain.rosters import ids

pytestmark = pytest.mark.chain


def block(number: int, time_ms: int) -> Block:
    return Block(number, f"0x{number:064x}", f"0x{number - 1:064x}", time_ms)


@pytest.mark.parametrize(
    ("between_ms", "poll_ms"), [(250, 1_000), (2_000, 1_000), (12_000, 3_000), (600_000, 3_000)]
)
def test_a_chain_is_looked_at_as_often_as_its_blocks_come(between_ms: int, poll_ms: int) -> None:
    """Not more often than once a second, and with slow blocks three times less."""
    pace = Pace()
    for number in range(1, 5):
        pace.hear(block(number, number * between_ms))
    assert pace.poll_ms(1_000) == poll_ms


async def test_blocks_of_twelve_seconds_are_followed(world: World, anvil: Anvil) -> None:
    """As those of one: a join is seen k blocks later, and final with its block."""
    following = follower(world, anvil.url, confirmations=2)
    for _ in range(4):
        await mine(anvil, 1, 12)
        await following.observe()
    _, node_id = await world.member()
    assert node_id not in ids((await following.observe()).latest)
    await mine(anvil, 1, 12)
    await mine(anvil, 1, 12)
    assert ids((await following.observe()).latest) == {node_id}
    await mine(anvil, 3, 12)
    assert ids((await following.observe()).final) == {node_id}


async def test_a_chain_that_stands_still_is_told_and_takes_nothing_back(
    world: World, anvil: Anvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No block for an hour: since when is said, and what was read stands; then it goes on."""
    await world.member()
    await mine(anvil, 3)
    following = follower(world, anvil.url)
    first = await following.observe()
    assert first.warning is None
    monkeypatch.setattr(limits, "CHAIN_HALTED_MS", 0)
    for _ in range(2):
        seen = await following.observe()
        assert (seen.latest, seen.final) == (first.latest, first.final)
        assert "no block since 20" in (seen.warning or "")
    monkeypatch.undo()
    await mine(anvil, 1)
    assert (await following.observe()).warning is None


async def test_a_reorganisation_below_the_final_block_is_not_believed(
    world: World, anvil: Anvil
) -> None:
    """The chain itself takes back what was final: nobody is removed, and it is told; an agent that
    starts anew takes the chain as it is."""
    await mine(anvil, 3)
    before = await world.chain.rpc.quantity("eth_blockNumber")
    _, node_id = await world.member()
    await mine(anvil, 4)
    following = follower(world, anvil.url)
    assert ids((await following.observe()).final) == {node_id}
    deep = await world.chain.rpc.quantity("eth_blockNumber") - before
    await world.chain.rpc.request("anvil_reorg", deep, [])
    await mine(anvil, 1)
    for _ in range(2):
        held = await following.observe()
        assert ids(held.final) == {node_id}
        assert "than the one that was final" in (held.warning or "")
    assert ids((await follower(world, anvil.url).observe()).final) == set()


async def test_a_contract_that_is_upgraded_underneath_is_read_anew(
    world: World, anvil: Anvil
) -> None:
    """A proxy contract tells of its new code by an event that we do not know: everything is read.
    Code that is no such contract is an outage that names the address, and no roster."""
    _, node_id = await world.member()
    pools = "0x" + world.chain.at.pool.hex()
    code = await world.chain.rpc.request("eth_getCode", pools, "latest")
    async with proxy(anvil) as made:
        following = follower(world, made.url)
        await following.observe()
        reads = following.full_reads
        await mine(anvil, 1)
        head = await world.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        upgraded = {
            "address": pools,
            "topics": ["0x" + keccak(text="Upgraded(address)").hex()],
            "data": "0x",
            "blockHash": head["hash"],
            "blockNumber": head["number"],
        }
        made.twist = false_events([upgraded])
        assert ids((await following.observe()).latest) == {node_id}
        assert following.full_reads == reads + 1
        await world.chain.rpc.request("anvil_setCode", pools, "0x60006000f3")
        await mine(anvil, 1)
        head = await world.chain.rpc.request("eth_getBlockByNumber", "latest", False)
        upgraded.update({"blockHash": head["hash"], "blockNumber": head["number"]})
        with pytest.raises(P2poolError, match="ComputePool"):
            await following.observe()
        await world.chain.rpc.request("anvil_setCode", pools, code)
        await mine(anvil, 1)
        made.twist = lambda method, params, result: result
        assert ids((await following.observe()).latest) == {node_id}


async def test_a_head_that_is_a_little_lower_for_a_moment_is_nothing() -> None:
    """One that is far lower, or stays so, is an endpoint that is behind; for good, the chain."""
    rpc = Rpc.to(1, ["http://a.example", "http://b.example"])
    watch = HeadWatch()
    assert watch.lag(block(100, 0), rpc) is None
    watch.see(block(100, 0))
    assert (watch.lag(block(98, 0), rpc), watch.lags) == (None, True)
    assert "a.example is behind: it says 10, and block 100 was seen" in (
        watch.lag(block(10, 0), rpc) or ""
    )
    assert rpc.first == 1
    assert (watch.lag(block(100, 0), rpc), watch.lags) == (None, False)
