"""The whole life of a pool, a node and a provider on contracts that others deployed."""

from pathlib import Path

import pytest
import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import requirements
from p2pool.dev.chain.contracts import UNBONDING_S, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.join_steps import Joining, Progress
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import NotAllowed
from p2pool.model.ids import NodeId
from p2pool.model.states import PoolStatus
from tests.chain.accounts.owned import Owned
from tests.chain.harness import acts
from tests.chain.rosters import ids, settle
from tests.cli.shell import FOUNDER, NEEDS
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import KeyWriter, foreign
from tests.contracts.foreign.harness.desk import Desk

pytestmark = pytest.mark.chain

WALK_S = 300


@pytest.fixture
def desk(world: ForeignWorld, tmp_path: Path) -> Desk:
    """Commands on the world's pool."""
    return Desk.at(world, tmp_path)


async def walk(world: ForeignWorld, joining: Joining, invites: list[Invite]) -> list[str]:
    """Take a node's way; play validator and manager whenever it waits for one of them."""
    assert joining.writer is not None
    walked: list[str] = []
    async for step in joining.steps():
        walked.append(f"{step.name} {step.progress}")
        if step.progress is not Progress.WAITING:
            continue
        judge, provider = world.network.validator, joining.writer.address
        if step.name == "whitelisted":
            await world.chain.whitelist(judge, provider)
        elif step.name == "validated":
            await world.chain.validate_node(judge, provider, joining.node_id)
        elif step.name == "invited":
            domain = world.network.domain_id
            soon = await world.soon()
            made = world.manager.sign_invite(domain, world.pool_id, joining.node_id, soon)
            invites.append(made)
    return walked


def newcomer(
    world: ForeignWorld, provider: KeyWriter, invites: list[Invite], units: int = 3
) -> Joining:
    """A node on its way, whose invite is the newest of a list."""

    async def find(*_: object) -> Invite | None:
        return invites[-1] if invites else None

    return Joining(world.chain, world.pool_id, new_account(), units, find, provider, poll_s=0.02)


async def test_a_pool_lives_by_our_commands(
    world: ForeignWorld, desk: Desk, tmp_path: Path
) -> None:
    """Created by the federator, started and ended by its manager; the chain has each of it."""
    boss, manager = world.network.federator, world.manager
    await world.chain.rpc.request("anvil_setBalance", address_text(manager.address), hex(10**20))
    words = ("--name", "ours", "--domain", "1", "--manager", address_text(manager.address))
    made = await desk.done(boss, "pool", "create", *words, "--data-uri", NEEDS)
    pool = made["pool_id"]
    assert pool == world.pool_id + 1
    info = await world.chain.pool(pool)
    assert (info.status, info.domain_id, info.manager) == (PoolStatus.PENDING, 1, manager.address)
    started = await desk.done(manager, "pool", "start", str(pool), "--founder", FOUNDER)
    assert (started["started"], started["root_written"]) == (True, True)
    info = await world.chain.pool(pool)
    assert (info.status, requirements(info.data_uri)) == (PoolStatus.ACTIVE, NEEDS)
    again = await desk.done(manager, "pool", "start", str(pool), "--founder", FOUNDER)
    assert (again["started"], again["root_written"]) == (False, False)
    await desk.done(manager, "pool", "set-limit", "64000", "--pool", str(pool))
    assert (await world.chain.pool(pool)).compute_limit == 64_000
    await desk.done(manager, "pool", "end", str(pool), "--yes")
    assert (await world.chain.pool(pool)).status is PoolStatus.COMPLETED


async def test_a_node_comes_in_step_by_step_and_is_followed(world: ForeignWorld) -> None:
    """From nothing: each step once, the stake that its units need, and a member that may work."""
    provider, invites = await world.account(), list[Invite]()
    joining = newcomer(world, provider, invites)
    with trio.fail_after(WALK_S):
        walked = await walk(world, joining, invites)
    assert walked == [
        "approved doing",
        "registered doing",
        "whitelisted waiting",
        "node registered doing",
        "validated waiting",
        "invited waiting",
        "joined doing",
        "joined done",
    ]
    assert await world.chain.stake(provider.address) == await world.chain.stake_needed(
        provider.address, 0
    )
    await settle(world)
    seen = await RosterFollower(RosterReader(world.chain, world.pool_id)).observe()
    member = seen.final.member(joining.node_id)
    assert member is not None
    assert (member.provider, member.eligible) == (provider.address, True)


async def test_a_node_leaves_is_invited_again_and_is_ejected(
    world: ForeignWorld, desk: Desk
) -> None:
    """By its provider's command and the manager's; each says no to the other's key."""
    provider, node_id = await world.member()
    text = address_text(node_id)
    stranger = await world.account()
    assert isinstance(await desk.refused(stranger, "pool", "leave", text), NotAllowed)
    await desk.done(provider, "pool", "leave", text)
    assert not await world.chain.in_pool(world.pool_id, node_id)
    nonce = ("eth_getTransactionCount", address_text(provider.address), "latest")
    sent = await world.chain.rpc.quantity(*nonce)
    await desk.run(provider, "pool", "leave", text)
    assert await world.chain.rpc.quantity(*nonce) == sent
    await world.join(provider, node_id)
    assert isinstance(await desk.refused(provider, "pool", "eject", text), NotAllowed)
    await desk.done(world.manager_writer, "pool", "eject", text)
    assert not await world.chain.in_pool(world.pool_id, node_id)
    await world.join(provider, node_id)
    assert await world.chain.in_pool(world.pool_id, node_id)


async def test_a_silent_move_is_seen(world: ForeignWorld) -> None:
    """changeComputePool tells only the pool that is left; with all its nodes a provider goes."""
    chain = world.chain
    provider, moved = await world.member()
    other = await chain.create_pool(world.creator, 1, world.manager.address, "other")
    await chain.start_pool(world.creator, other)
    following = RosterFollower(RosterReader(chain, other), confirmations=0)
    await settle(world)
    assert ids((await following.observe()).latest) == set()
    invite = world.manager.sign_invite(1, other, moved, await world.soon())
    move = function("ComputePool", "changeComputePool")
    lists = ([moved], [invite.nonce], [invite.expiration_s], [invite.signature])
    await provider.send(chain.at.pool, move, world.pool_id, other, *lists)
    assert ids((await following.observe()).latest) == {moved}


async def test_a_blacklisted_provider_may_not_work_and_stays_listed(world: ForeignWorld) -> None:
    """By the network's validator, and by the pool's manager: each with its reason."""
    provider, node_id = await world.member()
    following = RosterFollower(RosterReader(world.chain, world.pool_id), confirmations=0)

    async def standing() -> tuple[bool, str]:
        member = (await following.observe()).latest.member(node_id)
        assert member is not None
        return member.eligible, member.reason

    assert await standing() == (True, "")
    black = foreign("", "blacklistProvider(address)")
    await world.network.validator.send(world.chain.at.network, black, provider.address)
    assert await standing() == (False, "provider not whitelisted")
    await world.chain.whitelist(world.network.validator, provider.address)
    assert await standing() == (True, "")
    ban = foreign("", "blacklistProvider(uint256,address)")
    await world.manager_writer.send(world.chain.at.pool, ban, world.pool_id, provider.address)
    assert await standing() == (False, "provider blacklisted in this pool")


async def test_the_stake_comes_back(world: ForeignWorld) -> None:
    """Out of the pool, off the registry, deregistered, and paid out after the unbonding."""
    provider, node_id = await world.member()
    network, me = world.chain.at.network, provider.address
    had = await world.chain.tokens(me) + await world.chain.stake(me)
    await acts.leave_pool(world.chain, provider, world.pool_id, node_id)
    await provider.send(network, function("PrimeNetwork", "removeComputeNode"), me, node_id)
    assert await world.chain.node(node_id) is None
    await provider.send(network, function("PrimeNetwork", "deregisterProvider"), me)
    assert not await world.chain.provider_exists(me)
    await world.chain.rpc.request("evm_increaseTime", hex(UNBONDING_S + 1))
    await provider.send(world.chain.at.stakes, function("StakeManager", "withdraw"))
    assert await world.chain.tokens(me) == had


async def test_a_contract_manages_a_pool(world: ForeignWorld) -> None:
    """An ERC-1271 account invites by its owner's signature, as on our contracts."""
    owned = await Owned.deployed(world.chain.rpc)
    pool = await world.chain.create_pool(world.creator, 1, owned.address, "managed")
    await world.chain.start_pool(world.creator, pool)
    provider, node_id = await world.candidate()
    invite = KeyManager(owned.owner).sign_invite(1, pool, node_id, await world.soon())
    assert await world.chain.invited_by(owned.address, invite)
    await acts.join_pool(world.chain, provider, pool, invite)
    assert await world.chain.in_pool(pool, node_id)


async def test_a_key_nobody_added_is_no_node(world: ForeignWorld) -> None:
    """The look-up reverts, and that is an answer."""
    assert await world.chain.node(NodeId(b"x" * 20)) is None
