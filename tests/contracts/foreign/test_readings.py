"""Zeros, panics and texts of contracts that others deployed, read as what they mean."""

import pytest
import trio

from p2pool.dev.chain.contracts import STAKE_MINIMUM_WEI, new_account
from p2pool.drivers.chain.join_steps import Joining, JoinStep, Progress
from p2pool.drivers.checks.deployment import find_contracts
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import NotFound, P2poolError, TransactionFailed
from p2pool.model.ids import Address, NodeId
from tests.chain.harness import acts
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import KeyWriter, foreign
from tests.contracts.foreign.harness.joins import JOIN, invited

pytestmark = pytest.mark.chain

NOWHERE = 999


async def test_a_pool_of_zeros_is_no_pool_and_costs_nobody_anything(world: ForeignWorld) -> None:
    """Its creator is nobody: that is no pool, neither for a reader nor for a newcomer."""
    with pytest.raises(NotFound, match=str(NOWHERE)):
        await world.chain.pool(NOWHERE)
    provider = await world.account()

    async def nobody(*_: object) -> Invite | None:
        return None

    joining = Joining(world.chain, NOWHERE, new_account(), 1, nobody, provider)
    with trio.fail_after(120):
        try:
            step = await joining.next_step()
        except P2poolError:
            pass
        else:
            assert step.progress is Progress.WAITING
    assert await acts.allowance(world.chain, provider.address) == 0
    assert await world.chain.stake(provider.address) == 0


async def test_a_node_that_is_absent_in_any_way_is_none(world: ForeignWorld) -> None:
    """Removed; gone with its provider (a panic); in another node's place (zeros)."""
    me, node_id = await world.candidate()
    network = world.chain.at.network
    needed = await world.chain.stake_needed(me.address, 2)
    await me.send(network, foreign("", "deregisterProvider(address)"), me.address)
    assert await world.chain.node(node_id) is None
    await acts.approve(world.chain, me, needed)
    await acts.register_provider(world.chain, me, needed)
    await world.chain.whitelist(world.network.validator, me.address)
    await acts.add_compute_node(world.chain, me, new_account(), 1)
    assert await world.chain.node(node_id) is None
    remove = foreign("", "removeComputeNode(address,address)")
    _, other = await world.candidate(me)
    await me.send(network, remove, me.address, other)
    assert await world.chain.node(other) is None


async def told(world: ForeignWorld, provider: KeyWriter, node_id: NodeId, invite: Invite) -> str:
    """What a refused join says."""
    with pytest.raises(TransactionFailed) as refused:
        await acts.join_pool(world.chain, provider, world.pool_id, invite)
    return str(refused.value)


async def test_invites_are_refused_in_our_words(world: ForeignWorld) -> None:
    """Expired, another's, used: each with a hint at a new one."""
    provider, node_id = await world.candidate()
    domain, soon = world.network.domain_id, await world.soon()
    sign = world.manager.sign_invite
    late = sign(domain, world.pool_id, node_id, 1)
    assert "has expired" in await told(world, provider, node_id, late)
    wrong = sign(domain + 1, world.pool_id, node_id, soon)
    assert "not signed by the pool's manager" in await told(world, provider, node_id, wrong)
    good = sign(domain, world.pool_id, node_id, soon)
    await acts.join_pool(world.chain, provider, world.pool_id, good)
    await acts.eject(world.chain, world.manager_writer, world.pool_id, node_id)
    said = await told(world, provider, node_id, good)
    assert "used before" in said
    assert "new one" in said


async def test_a_used_invite_is_waited_for_and_not_tried_again(world: ForeignWorld) -> None:
    """It is the manager's turn, not "refused"."""
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    step: JoinStep = await joining.next_step()
    assert await world.chain.in_pool(world.pool_id, node_id)
    await acts.eject(world.chain, world.manager_writer, world.pool_id, node_id)
    fresh = Joining(
        world.chain, world.pool_id, joining.node, 1, joining.find_invite, joining.writer
    )
    step = await fresh.next_step()
    assert (step.name, step.progress) == ("invited", Progress.WAITING)


async def test_a_pause_and_a_stake_too_small_are_said(world: ForeignWorld) -> None:
    """In words, and not as four bytes."""
    provider = await world.account()
    joining, node_id = await invited(world, provider)
    await world.network.pause(world.chain.at.pool, JOIN)
    invite = await joining.find_invite(node_id)  # type: ignore[call-arg]
    assert invite is not None
    assert "paused" in await told(world, provider, node_id, invite)
    poor = await world.account()
    await acts.approve(world.chain, poor, 1)
    with pytest.raises(TransactionFailed, match="stake is too small"):
        await acts.register_provider(world.chain, poor, STAKE_MINIMUM_WEI - 1)


async def test_a_slash_is_told_to_whoever_waits_for_the_validation(world: ForeignWorld) -> None:
    """Nobody validates a node of a provider below the minimum: the validator is told why."""
    provider = await world.account()
    stake_wei = await world.chain.stake_needed(provider.address, 1)
    await acts.approve(world.chain, provider, stake_wei)
    await acts.register_provider(world.chain, provider, stake_wei)
    await world.chain.whitelist(world.network.validator, provider.address)
    node = new_account()
    await acts.add_compute_node(world.chain, provider, node, 1)
    slash = foreign("", "slash(address,uint256,bytes)")
    judge, at = world.network.validator, world.chain.at.network
    await judge.send(at, slash, provider.address, 1, b"")
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    with pytest.raises(TransactionFailed, match="stake is too small"):
        await world.chain.validate_node(judge, Address(provider.address), node_id)


async def test_a_configuration_finds_all_contracts_by_the_networks(world: ForeignWorld) -> None:
    """Its own contract calls the token by another name than ours."""
    at = world.chain.at
    found = await find_contracts(world.chain.rpc, at.network)
    assert found.unknown == ()
    assert found.addresses == {
        "pool": at.pool,
        "registry": at.registry,
        "stake": at.stakes,
        "domains": at.domains,
        "token": at.token,
    }
