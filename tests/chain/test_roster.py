"""The follower says what the chain says, through joins, moves and reorganisations, and no more."""

import pytest
import trio

from p2pool.codec.text.data_uri import with_root
from p2pool.core.inputs import ChainObserved, ChainUnreachable
from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import NodeId, PeerKey, StoreId
from tests.chain.conftest import World
from tests.chain.harness import acts
from tests.chain.rosters import ids, settle

pytestmark = pytest.mark.chain


def follower(world: World) -> RosterFollower:
    return RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0, poll_ms=50)


async def latest(following: RosterFollower) -> ChainRoster:
    return (await following.observe()).latest


async def test_a_join_is_seen_and_finalized(world: World) -> None:
    """First at the latest block, then at the finalized one; eligible with its provider."""
    following = follower(world)
    assert ids(await latest(following)) == set()
    provider, node_id = await world.member()
    seen = (await latest(following)).member(node_id)
    assert seen is not None
    assert (seen.provider, seen.eligible) == (provider.address, True)
    await settle(world)
    assert ids((await following.observe()).final) == {node_id}


async def test_leave_and_eject_are_seen(world: World) -> None:
    """Out is out, whoever did it."""
    following = follower(world)
    provider, first = await world.member()
    _, second = await world.member(provider)
    assert ids(await latest(following)) == {first, second}
    await acts.leave_pool(world.chain, provider, world.pool_id, first)
    assert ids(await latest(following)) == {second}
    await acts.eject(world.chain, world.manager_writer, world.pool_id, second)
    assert ids(await latest(following)) == set()


async def test_a_silent_join_by_a_move_is_seen(world: World) -> None:
    """Trap 1: changeComputePool emits no Joined for the destination."""
    chain = world.chain
    provider, node_id = await world.member()
    other = await chain.create_pool(world.creator, 0, world.manager.address, "other")
    await chain.start_pool(world.creator, other)
    await settle(world)
    following = RosterFollower(RosterReader(chain, other), confirmations=0)
    assert ids(await latest(following)) == set()
    invite = world.manager.sign_invite(0, other, node_id, await world.soon())
    move = function("ComputePool", "changeComputePool")
    await provider.send(
        chain.at.pool,
        move,
        world.pool_id,
        other,
        [node_id],
        [invite.nonce],
        [invite.expiration_s],
        [invite.signature],
    )
    assert ids(await latest(following)) == {node_id}


async def test_blocks_without_news_cost_no_full_read(world: World) -> None:
    """Only the block moves on."""
    await world.member()
    following = follower(world)
    before = await latest(following)
    reads = following.full_reads
    await settle(world, 5)
    after = await latest(following)
    assert after.block_number > before.block_number
    assert after.members == before.members
    # The finalized height catches up with what was read at the latest one.
    assert following.full_reads <= reads + 1


async def test_a_provider_taken_off_the_whitelist_is_no_longer_eligible(world: World) -> None:
    """The node stays in the pool: membership and eligibility are two things."""
    provider, node_id = await world.member()
    following = follower(world)
    await latest(following)
    ban = function("PrimeNetwork", "blacklistProvider")
    await world.deployment.federator.send(world.chain.at.network, ban, provider.address)
    seen = (await latest(following)).member(node_id)
    assert seen is not None
    assert not seen.eligible
    assert "whitelisted" in seen.reason


async def test_the_root_record_is_read_from_the_data_uri(world: World) -> None:
    """Set by the manager, followed by everybody."""
    root = RootRecord(1, NodeId(b"n" * 20), PeerKey(b"p" * 32), StoreId(b"s" * 16))
    await world.chain.update_uri(
        world.manager_writer, world.pool_id, with_root("gpu:count=8", root)
    )
    seen = await latest(follower(world))
    assert seen.root == root
    assert seen.requirements == "gpu:count=8"


async def test_a_reorganisation_takes_a_join_back(world: World) -> None:
    """The parent hash tells; the members are read again."""
    following = follower(world)
    provider, late = await world.candidate()
    invite = world.manager.sign_invite(0, world.pool_id, late, await world.soon())
    await settle(world)
    await latest(following)
    before = await world.chain.rpc.quantity("eth_blockNumber")
    await acts.join_pool(world.chain, provider, world.pool_id, invite)
    assert late in ids(await latest(following))
    # The chain makes a block each second, so the join may lie deeper than one, and deeper again
    # when it is to go; what was there before stays.
    while await world.chain.in_pool(world.pool_id, late):
        deep = await world.chain.rpc.quantity("eth_blockNumber") - before
        await world.chain.rpc.request("anvil_reorg", deep, [])
    assert late not in ids(await latest(following))


async def test_a_silent_chain_is_unknown_and_comes_back(world: World, anvil: Anvil) -> None:
    """Stopped: it is said, and no roster is made up. Back: observations go on."""
    _, node_id = await world.member()
    rpc = Rpc.to(31337, [anvil.url], timeout_ms=300)
    chain = PoolContracts(rpc, world.chain.at)
    following = RosterFollower(RosterReader(chain, world.pool_id), confirmations=0, poll_ms=20)
    seen = following.observations()
    with trio.fail_after(60):
        first = await anext(seen)
        assert isinstance(first, ChainObserved)
        anvil.pause()
        try:
            lost = await anext(seen)
            while isinstance(lost, ChainObserved):
                lost = await anext(seen)
            assert isinstance(lost, ChainUnreachable)
        finally:
            anvil.go_on()
        back = await anext(seen)
        while not isinstance(back, ChainObserved):
            back = await anext(seen)
        assert ids(back.latest) == {node_id}
