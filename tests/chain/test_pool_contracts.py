"""A node's way into a pool on a real chain, and each trap that was found on the way."""

import attrs
import pytest
import trio

from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import KeyManager, invite_signer
from p2pool.drivers.chain.transactions.writer import DryWriter
from p2pool.model.errors import BadSignature, NotFound, TransactionFailed
from p2pool.model.ids import NodeId
from p2pool.model.states import PoolStatus
from tests.chain.conftest import World
from tests.chain.harness import acts

pytestmark = pytest.mark.chain


async def test_the_whole_flow_makes_a_member(world: World) -> None:
    """Stake, whitelist, registration, validation, invite, join: real transactions, then in."""
    provider, node_id = await world.member()
    assert await world.chain.in_pool(world.pool_id, node_id)
    node = await world.chain.node(node_id)
    assert node is not None
    assert (node.provider, node.validated, node.active) == (provider.address, True, True)
    info = await world.chain.pool(world.pool_id)
    assert info.status is PoolStatus.ACTIVE


async def test_an_invite_is_single_use_and_readmits_nobody(world: World) -> None:
    """An ejected node does not come back by the invite that it used."""
    provider, node_id = await world.candidate()
    invite = world.manager.sign_invite(0, world.pool_id, node_id, await world.soon())
    await acts.join_pool(world.chain, provider, world.pool_id, invite)
    await acts.eject(world.chain, world.manager_writer, world.pool_id, node_id)
    assert not await world.chain.in_pool(world.pool_id, node_id)
    with pytest.raises(TransactionFailed, match="used before"):
        await acts.join_pool(world.chain, provider, world.pool_id, invite)


async def test_an_expired_or_foreign_invite_is_refused_with_a_sentence(world: World) -> None:
    """The message says what is wrong and whom to ask."""
    provider, node_id = await world.candidate()
    late = world.manager.sign_invite(0, world.pool_id, node_id, 1)
    with pytest.raises(TransactionFailed, match=r"expired.*new one"):
        await acts.join_pool(world.chain, provider, world.pool_id, late)
    stranger = KeyManager(new_account())
    foreign = stranger.sign_invite(0, world.pool_id, node_id, await world.soon())
    with pytest.raises(TransactionFailed, match="not signed by the pool's manager"):
        await acts.join_pool(world.chain, provider, world.pool_id, foreign)


async def test_an_invite_tells_its_signer_and_garbage_is_refused(world: World) -> None:
    """Any peer can check an invite before it is kept."""
    invite = world.manager.sign_invite(0, world.pool_id, NodeId(b"n" * 20), 2**31)
    assert invite_signer(invite) == world.manager.address
    with pytest.raises(BadSignature):
        invite_signer(attrs.evolve(invite, signature=b"\xff" * 65))


async def test_an_empty_batch_makes_a_provider_but_no_member(world: World) -> None:
    """Trap 2: admission is isNodeInPool alone."""
    provider, node_id = await world.candidate()
    batch = "joinComputePool(uint256,address,address[],uint256[],uint256[],bytes[])"
    at = world.chain.at.pool
    join = function("ComputePool", batch)
    await provider.send(at, join, world.pool_id, provider.address, [], [], [], [])
    check = function("ComputePool", "isProviderInPool")
    assert await world.chain.rpc.call(at, check, world.pool_id, provider.address)
    assert not await world.chain.in_pool(world.pool_id, node_id)


async def test_a_removed_node_makes_purge_revert_but_not_eject(world: World) -> None:
    """Trap 3: such a node stays listed until it is ejected."""
    provider, node_id = await world.member()
    remove = function("PrimeNetwork", "removeComputeNode")
    await provider.send(world.chain.at.network, remove, provider.address, node_id)
    purge = function("ComputePool", "purgeProvider")
    with pytest.raises(TransactionFailed, match="not registered"):
        await world.manager_writer.send(world.chain.at.pool, purge, world.pool_id, provider.address)
    await acts.eject(world.chain, world.manager_writer, world.pool_id, node_id)
    assert not await world.chain.in_pool(world.pool_id, node_id)


async def test_an_unknown_node_is_an_answer_not_an_outage(world: World) -> None:
    """Trap 4: the registry reverts for a key it does not know."""
    assert await world.chain.node(NodeId(b"x" * 20)) is None


async def test_an_ended_pool_lists_its_members_and_lets_them_leave(world: World) -> None:
    """Trap 3, second half: the end of a pool empties nothing."""
    provider, node_id = await world.member()
    await acts.end_pool(world.chain, world.creator, world.pool_id)
    assert await world.chain.in_pool(world.pool_id, node_id)
    await acts.leave_pool(world.chain, provider, world.pool_id, node_id)
    assert not await world.chain.in_pool(world.pool_id, node_id)


async def test_only_creator_and_manager_have_the_managers_powers(world: World) -> None:
    """A provider cannot eject another, nor rewrite the pool's data URI."""
    _, node_id = await world.member()
    stranger = await world.account()
    with pytest.raises(TransactionFailed, match="creator or manager"):
        await acts.eject(world.chain, stranger, world.pool_id, node_id)
    with pytest.raises(TransactionFailed, match="creator or manager"):
        await world.chain.update_uri(stranger, world.pool_id, "p2pool:root=x")


async def test_a_stake_too_small_says_how_much_is_needed(world: World) -> None:
    """The sentence carries both numbers."""
    poor = await world.account()
    await acts.approve(world.chain, poor, 1)
    with pytest.raises(TransactionFailed, match=r"1 of \d+ wei"):
        await acts.register_provider(world.chain, poor, 1)


async def test_a_pool_that_does_not_exist_is_not_found(world: World) -> None:
    """The message points at the setting."""
    with pytest.raises(NotFound, match=r"\[pool\] id"):
        await world.chain.pool(999)


async def test_a_dry_run_sends_nothing_and_says_what_it_would(world: World) -> None:
    """The recording writer has the same interface as the real one."""
    writer = DryWriter(world.manager.address)
    block = await world.chain.rpc.quantity("eth_getTransactionCount", "0x" + "00" * 20, "latest")
    await acts.eject(world.chain, writer, world.pool_id, NodeId(b"n" * 20))
    assert "would call ComputePool.ejectNode" in writer.said[0]
    after = await world.chain.rpc.quantity("eth_getTransactionCount", "0x" + "00" * 20, "latest")
    assert block == after


async def test_transactions_of_one_account_never_collide(world: World) -> None:
    """Twenty at once from one account all get into a block, each under its own nonce."""
    account = await world.account()
    hashes: list[str] = []

    async def one(amount_wei: int) -> None:
        sent = await acts.approve(world.chain, account, amount_wei)
        hashes.append(sent.transaction_hash)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for amount_wei in range(1, 21):
                nursery.start_soon(one, amount_wei)
    assert len(set(hashes)) == 20
