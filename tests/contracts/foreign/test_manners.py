"""The foreign contracts behave as the network's own: their texts, their zeros, and their traps."""

from collections.abc import Sequence

import attrs
import pytest

from p2pool.dev.chain.contracts import STAKE_MINIMUM_WEI, UNBONDING_S, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.consent import sign_consent
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model.ids import Address, NodeId
from tests.chain.harness import acts
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.asking import answer, reason
from tests.contracts.foreign.harness.deployment import KeyWriter, foreign

pytestmark = pytest.mark.chain

NOBODY = Address(bytes(20))
NOWHERE = 999
NODE = "(address,address,string,uint32,uint32,bool,bool)"
JOIN = "joinComputePool(uint256,address,address,uint256,uint256,bytes)"
JOIN_ALL = "joinComputePool(uint256,address,address[],uint256[],uint256[],bytes[])"
LEAVE_ALL = "leaveComputePool(uint256,address,address[])"
CHANGE = "changeComputePool(uint256,uint256,address[],uint256[],uint256[],bytes[])"
NOT_ALLOWED = "ComputePool: provider has not been allowed to join pools by federator"
NO_POOL = "ComputePool: pool does not exist"
NO_KEEPER = "ComputePool: only creator or manager can perform this action"
NO_ROLE = "AccessControlUnauthorizedAccount"


@attrs.frozen
class Scene:
    """A pool with a member, and people in every other standing."""

    provider: KeyWriter
    member: NodeId
    candidate: NodeId
    raw: NodeId
    unlisted: Address
    stranger: Address


@pytest.fixture
async def scene(world: ForeignWorld) -> Scene:
    """One provider with a node in the pool, one that could join, and one that nobody validated."""
    provider, member = await world.member()
    _, candidate = await world.candidate(provider)
    raw = new_account()
    await acts.add_compute_node(world.chain, provider, raw, 1)
    unlisted = await world.account()
    await acts.approve(world.chain, unlisted, STAKE_MINIMUM_WEI)
    await acts.register_provider(world.chain, unlisted, STAKE_MINIMUM_WEI)
    raw_id = NodeId(bytes.fromhex(raw.address[2:]))
    stranger = await world.account()
    return Scene(provider, member, candidate, raw_id, unlisted.address, stranger.address)


async def invite(world: ForeignWorld, node: NodeId, until_s: int = 0) -> tuple[object, ...]:
    """Nonce, expiration and signature of an invite by the manager."""
    until_s = until_s or await world.soon()
    made = world.manager.sign_invite(world.network.domain_id, world.pool_id, node, until_s)
    return made.nonce, made.expiration_s, made.signature


Asked = Sequence[tuple[Address, str, tuple[object, ...], str]]


async def compare(world: ForeignWorld, at: Address, asked: Asked) -> None:
    """Each call as this account reverts with that text; all are told that do not."""
    wrong = []
    for by, signature, values, text in asked:
        said = await reason(world, by, at, signature, *values)
        if said != text:
            wrong.append((signature, values, said, text))
    assert wrong == []


async def test_who_joins_and_leaves_is_refused_with_a_text(
    world: ForeignWorld, scene: Scene
) -> None:
    """In the order in which the network's own contract looks."""
    pool, me, at = world.pool_id, scene.provider.address, world.chain.at.pool
    good = await invite(world, scene.candidate)
    late = await invite(world, scene.candidate, 1)
    other = await invite(world, scene.raw)
    fresh = await invite(world, scene.member)
    legacy = 0
    rows: Asked = [
        (me, JOIN, (NOWHERE, me, scene.candidate, *good), NO_POOL),
        (me, JOIN, (legacy, me, scene.candidate, *good), "ComputePool: pool is not active"),
        (scene.unlisted, JOIN, (pool, scene.unlisted, scene.candidate, *good), NOT_ALLOWED),
        (scene.stranger, JOIN, (pool, scene.stranger, scene.candidate, *good), NOT_ALLOWED),
        (
            scene.stranger,
            JOIN,
            (pool, me, scene.candidate, *good),
            "ComputePool: only provider can join pool",
        ),
        (
            me,
            JOIN,
            (pool, me, NOBODY, *good),
            "ComputePool: node does not exist or not owned by provider",
        ),
        (
            me,
            JOIN,
            (pool, me, scene.member, *fresh),
            "ComputePool: node can only be in one pool at a time",
        ),
        (me, JOIN, (pool, me, scene.raw, *other), "ComputePool: node is not validated"),
        (me, JOIN, (pool, me, scene.candidate, *late), "ComputePool: invite expired"),
        (me, JOIN, (pool, me, scene.candidate, *other), "ComputePool: invalid invite"),
        (me, JOIN, (pool, me, scene.candidate, *good), ""),
        (me, JOIN_ALL, (pool, me, [scene.candidate], [], [], []), "panic 0x32"),
        (
            scene.stranger,
            LEAVE_ALL,
            (pool, me, [scene.member]),
            "ComputePool: only provider can leave pool",
        ),
        (me, LEAVE_ALL, (pool, me, [scene.candidate]), "ComputePool: node not in pool"),
        (me, LEAVE_ALL, (NOWHERE, me, []), NO_POOL),
        (scene.stranger, LEAVE_ALL, (pool, scene.stranger, [scene.member]), ""),
        (
            me,
            CHANGE,
            (pool, legacy, [scene.member], [1], [1], [b""]),
            "ComputePool: dest pool is not ready",
        ),
    ]
    await compare(world, at, rows)


async def test_who_keeps_a_pool_is_refused_with_a_text(world: ForeignWorld, scene: Scene) -> None:
    """Creator and manager alone; and only the federator creates."""
    pool, at, stranger = world.pool_id, world.chain.at.pool, scene.stranger
    creator, manager = world.creator.address, world.manager.address
    create = "createComputePool(uint256,address,string,string,uint256)"
    rows: Asked = [
        (manager, create, (1, manager, "x", "", 0), NO_ROLE),
        (creator, create, (77, manager, "x", "", 0), "panic 0x32"),
        (creator, create, (1, manager, "x", "", 0), ""),
        (creator, "startComputePool(uint256)", (pool,), "ComputePool: pool is not pending"),
        (creator, "endComputePool(uint256)", (0,), "ComputePool: pool is not active"),
        (manager, "endComputePool(uint256)", (pool,), ""),
        (creator, "startComputePool(uint256)", (NOWHERE,), NO_POOL),
        (
            manager,
            "ejectNode(uint256,address)",
            (pool, scene.candidate),
            "ComputePool: node not in pool",
        ),
        (
            manager,
            "purgeProvider(uint256,address)",
            (pool, NOBODY),
            "ComputePool: provider cannot be zero address",
        ),
        (manager, "blacklistNode(uint256,address)", (pool, NOBODY), ""),
    ]
    for signature, values in (
        ("startComputePool(uint256)", (pool,)),
        ("endComputePool(uint256)", (pool,)),
        ("updateComputePoolURI(uint256,string)", (pool, "")),
        ("updateComputeLimit(uint256,uint256)", (pool, 1)),
        ("ejectNode(uint256,address)", (pool, scene.member)),
        ("blacklistNode(uint256,address)", (pool, scene.member)),
        ("blacklistProvider(uint256,address)", (pool, scene.provider.address)),
        ("purgeProvider(uint256,address)", (pool, scene.provider.address)),
    ):
        rows = [*rows, (stranger, signature, values, NO_KEEPER)]
    await compare(world, at, rows)


async def test_who_registers_is_refused_with_a_text(world: ForeignWorld, scene: Scene) -> None:
    """Provider, node and validator, at the network's contract."""
    me, at, stranger = scene.provider.address, world.chain.at.network, scene.stranger
    boss, judge = world.network.federator.address, world.network.validator.address
    node = new_account()
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    add = "addComputeNode(address,string,uint256,bytes)"
    remove = "removeComputeNode(address,address)"
    consent = sign_consent(node, me)
    rows: Asked = [
        (stranger, "registerProvider(uint256)", (1,), "Stake amount is below minimum"),
        (me, "registerProvider(uint256)", (10**18,), "Provider registration failed"),
        (stranger, "increaseStake(uint256)", (1,), "Provider not registered"),
        (stranger, add, (node_id, "", 1, consent), "Provider not registered"),
        (scene.unlisted, add, (node_id, "", 1, consent), "Provider not whitelisted"),
        (me, add, (node_id, "", 1, sign_consent(node, stranger)), "Invalid signature"),
        (me, add, (node_id, "", 10**6, consent), "Insufficient stake"),
        (
            me,
            "reclaimStake(uint256)",
            (10 * STAKE_MINIMUM_WEI * 2,),
            "Cannot unstake more than unallocated stake",
        ),
        (me, "reclaimStake(uint256)", (10**24,), "panic 0x11"),
        (me, "reclaimStake(uint256)", (0,), ""),
        (me, "deregisterProvider(address)", (me,), "Provider has active nodes"),
        (stranger, "deregisterProvider(address)", (me,), "Unauthorized"),
        (stranger, "deregisterProvider(address)", (stranger,), ""),
        (stranger, remove, (me, scene.raw), "Unauthorized"),
        (me, remove, (me, scene.member), "ComputeRegistry: node must be inactive to remove"),
        (me, remove, (me, node_id), "EnumerableMapNonexistentKey"),
        (boss, "whitelistProvider(address)", (me,), ""),
        (
            stranger,
            "whitelistProvider(address)",
            (me,),
            "Must have VALIDATOR_ROLE or FEDERATOR_ROLE",
        ),
        (boss, "blacklistProvider(address)", (me,), NO_ROLE),
        (boss, "validateNode(address,address)", (me, scene.raw), NO_ROLE),
        (judge, "validateNode(address,address)", (me, scene.raw), ""),
        (judge, "slash(address,uint256,bytes)", (me, 1, b""), ""),
        (judge, "setStakeMinimum(uint256)", (1,), NO_ROLE),
    ]
    await compare(world, at, rows)
    text = "StakeManager: no funds to withdraw"
    await compare(world, world.chain.at.stakes, [(me, "withdraw()", (), text)])
    pay = "transfer(address,uint256)"
    await compare(world, world.chain.at.token, [(me, pay, (stranger, 1), NO_ROLE)])


async def test_a_used_invite_and_the_blacklists_say_so(world: ForeignWorld, scene: Scene) -> None:
    """An ejected node, its invite, a full pool, and who is out for good."""
    pool, me, at = world.pool_id, scene.provider.address, world.chain.at.pool
    good = await invite(world, scene.candidate)
    join = foreign("ForeignPool", JOIN)
    await scene.provider.send(at, join, pool, me, scene.candidate, *good)
    await acts.eject(world.chain, world.manager_writer, pool, scene.candidate)
    call = (pool, me, scene.candidate)
    again = await invite(world, scene.candidate)
    used = "ComputePool: invite already used"
    await compare(world, at, [(me, JOIN, (*call, *good), used), (me, JOIN, (*call, *again), "")])
    limit = foreign("ForeignPool", "updateComputeLimit(uint256,uint256)")
    await world.manager_writer.send(at, limit, pool, 1)
    full = "ComputePool: pool is at capacity"
    await compare(world, at, [(me, JOIN, (*call, *again), full)])
    for banned, text in (
        ("blacklistNode(uint256,address)", "ComputePool: node is blacklisted"),
        ("blacklistProvider(uint256,address)", "ComputePool: provider is blacklisted"),
    ):
        whom = scene.candidate if "Node" in banned else me
        await world.manager_writer.send(at, foreign("ForeignPool", banned), pool, whom)
        await compare(world, at, [(me, JOIN, (*call, *again), text)])


async def test_a_pool_that_does_not_exist_is_read_as_zeros(world: ForeignWorld) -> None:
    """Its creator is nobody: the one thing that no pool has."""
    at = world.chain.at.pool
    get = function("ComputePool", "getComputePool")
    found = await world.chain.rpc.call(at, get, NOWHERE)
    assert (found[0], found[3], found[4], found[12]) == (0, "0x" + "00" * 20, "0x" + "00" * 20, 0)
    assert await answer(world, at, "getComputePoolNodes(uint256)", ("address[]",), NOWHERE) == ()


async def test_a_node_is_absent_in_four_ways(world: ForeignWorld, scene: Scene) -> None:
    """Never added, removed, gone with its provider, and in another's place."""
    at, network, me = world.chain.at.registry, world.chain.at.network, scene.provider
    data = "getNodeContractData(address)"
    types = ("address", "uint32", "bool", "bool")

    async def ways(node: NodeId) -> tuple[str, str]:
        return (
            await reason(world, NOBODY, at, "getNode(address)", node),
            await reason(world, NOBODY, at, data, node),
        )

    missing = "EnumerableMapNonexistentKey"
    never = NodeId(b"x" * 20)
    assert await ways(never) == (missing, "")
    assert (await answer(world, at, data, types, never))[0] == "0x" + "00" * 20
    remove = foreign("ForeignNetwork", "removeComputeNode(address,address)")
    await me.send(network, remove, me.address, scene.raw)
    assert await ways(scene.raw) == (missing, missing)

    leave = foreign("ForeignPool", LEAVE_ALL)
    await me.send(world.chain.at.pool, leave, world.pool_id, me.address, [])
    await me.send(network, foreign("", "deregisterProvider(address)"), me.address)
    assert await ways(scene.member) == ("panic 0x32", "panic 0x32")

    needed = await world.chain.stake_needed(me.address, 2)
    await acts.approve(world.chain, me, needed)
    await acts.register_provider(world.chain, me, needed)
    await world.chain.whitelist(world.network.validator, me.address)
    await acts.add_compute_node(world.chain, me, new_account(), 1)
    assert await ways(scene.member) == ("", "")
    there = await answer(world, at, "getNode(address)", (NODE,), scene.member)
    assert there == ("0x" + "00" * 20, "0x" + "00" * 20, "", 0, 0, False, False)


async def test_what_a_deregistered_provider_leaves_behind(
    world: ForeignWorld, scene: Scene
) -> None:
    """Its units count on, its whitelisting is gone, and its node keys serve nobody else."""
    me, network = scene.provider, world.chain.at.network
    before = await world.chain.stake_needed(me.address, 0)
    await me.send(
        world.chain.at.pool, foreign("", LEAVE_ALL), world.pool_id, me.address, [scene.member]
    )
    await me.send(network, foreign("", "deregisterProvider(address)"), me.address)
    assert await world.chain.stake_needed(me.address, 0) == before
    assert await world.chain.stake(me.address) == 0
    await world.chain.whitelist(world.network.validator, me.address)
    await acts.approve(world.chain, me, STAKE_MINIMUM_WEI)
    await acts.register_provider(world.chain, me, STAKE_MINIMUM_WEI)
    assert not await world.chain.whitelisted(me.address)


async def test_a_node_key_belongs_to_its_first_provider(world: ForeignWorld) -> None:
    """Also after that one has removed it."""
    mine, node = await world.account(), new_account()
    for provider in (mine, other := await world.account()):
        await acts.approve(world.chain, provider, 10 * STAKE_MINIMUM_WEI)
        await acts.register_provider(world.chain, provider, 10 * STAKE_MINIMUM_WEI)
        await world.chain.whitelist(world.network.validator, provider.address)
    await acts.add_compute_node(world.chain, mine, node, 1)
    at, node_id = world.chain.at.network, NodeId(bytes.fromhex(node.address[2:]))
    add = "addComputeNode(address,string,uint256,bytes)"

    def call(provider: KeyWriter) -> tuple[object, ...]:
        return node_id, "", 1, sign_consent(node, provider.address)

    twice = "ComputeRegistry: node already exists with this provider"
    await compare(world, at, [(mine.address, add, call(mine), twice)])
    await mine.send(at, foreign("", "removeComputeNode(address,address)"), mine.address, node_id)
    taken = "ComputeRegistry: node has already registered with another provider"
    rows: Asked = [(other.address, add, call(other), taken), (mine.address, add, call(mine), "")]
    await compare(world, at, rows)


async def test_stake_comes_back_through_a_queue(world: ForeignWorld, scene: Scene) -> None:
    """Ten unbonds at most; what is paid out stays as zeros; more stake takes from the queue."""
    me, at = scene.provider, world.chain.at
    reclaim, increase = foreign("", "reclaimStake(uint256)"), foreign("", "increaseStake(uint256)")
    pending = ("(uint256,uint256)[]",)

    async def queue() -> list[int]:
        found = await answer(world, at.stakes, "getPendingUnbonds(address)", pending, me.address)
        return [amount for amount, _ in found]

    for amount in range(1, 13):
        await me.send(at.network, reclaim, amount)
    assert await queue() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10 + 11 + 12]
    tokens = await world.chain.tokens(me.address)
    await me.send(at.network, increase, 4)
    assert (await queue(), await world.chain.tokens(me.address)) == (
        [2, 4, 5, 6, 7, 8, 9, 33],
        tokens,
    )
    await world.chain.rpc.request("evm_increaseTime", hex(UNBONDING_S + 1))
    await me.send(at.stakes, foreign("", "withdraw()"))
    assert await world.chain.tokens(me.address) == tokens + 74
    assert await queue() == [0] * 8
    await me.send(at.network, reclaim, 5)
    assert await queue() == [0] * 8 + [5]


async def test_a_slash_keeps_a_node_from_being_validated(world: ForeignWorld, scene: Scene) -> None:
    """And goes to the validator; what is unbonding is taken where the stake cannot pay."""
    me, at, judge = scene.provider, world.chain.at, world.network.validator
    staked = await world.chain.stake(me.address)
    before = await world.chain.tokens(judge.address)
    slash = foreign("", "slash(address,uint256,bytes)")
    await judge.send(at.network, slash, me.address, staked - 1, b"why")
    assert await world.chain.tokens(judge.address) == before + staked - 1
    validate = "validateNode(address,address)"
    rows: Asked = [(judge.address, validate, (me.address, scene.raw), "Insufficient stake")]
    await compare(world, at.network, rows)
    assert await world.chain.whitelisted(me.address)


async def test_invalid_work_costs_the_node_its_place(world: ForeignWorld, scene: Scene) -> None:
    """Ejected, off the registry, and its provider slashed, by one transaction of the validator."""
    me, at, judge = scene.provider, world.chain.at, world.network.validator
    piece = b"k" * 32 + (7).to_bytes(32, "big")
    submit = foreign("", "submitWork(uint256,address,bytes)")
    await me.send(at.pool, submit, world.pool_id, scene.member, piece)
    staked = await world.chain.stake(me.address)
    invalidate = foreign("", "invalidateWork(uint256,uint256,bytes)")
    await judge.send(at.network, invalidate, world.pool_id, 5, piece)
    assert not await world.chain.in_pool(world.pool_id, scene.member)
    assert await world.chain.node(scene.member) is None
    assert await world.chain.stake(me.address) == staked - 5


async def test_rewards_are_asked_only_once_a_rate_is_set(world: ForeignWorld, scene: Scene) -> None:
    """Work is locked for a day; then it is the provider's, if the token lets the rewards pay."""
    me, at = scene.provider, world.chain.at
    where = "getRewardDistributorForPool(uint256)"
    rewards = Address(
        bytes.fromhex((await answer(world, at.pool, where, ("address",), world.pool_id))[2:])
    )
    asked = "calculateRewards(address)"
    rows: Asked = [(me.address, asked, (scene.member,), "Rate not set")]
    await compare(world, rewards, rows)
    rate = foreign("", "setRewardRate(uint256)")
    await world.network.federator.send(rewards, rate, 3)
    piece = b"k" * 32 + (7).to_bytes(32, "big")
    submit = foreign("", "submitWork(uint256,address,bytes)")
    await me.send(at.pool, submit, world.pool_id, scene.member, piece)
    two = ("uint256", "uint256")
    assert await answer(world, rewards, asked, two, scene.member) == (0, 21)
    await world.chain.rpc.request("evm_increaseTime", hex(25 * 3600))
    await world.chain.rpc.request("evm_mine")
    assert await answer(world, rewards, asked, two, scene.member) == (21, 0)
    mint = foreign("", "mint(address,uint256)")
    await world.network.validator.send(at.token, mint, rewards, 21)
    tokens = await world.chain.tokens(me.address)
    claim = foreign("", "claimRewards(address)")
    await compare(world, rewards, [(me.address, claim.signature, (scene.member,), NO_ROLE)])
    allow = foreign("", "approveTransferAddress(address)")
    await world.network.federator.send(at.token, allow, rewards)
    await me.send(rewards, claim, scene.member)
    assert await world.chain.tokens(me.address) == tokens + 21


async def test_a_purge_leaves_who_is_not_validated(world: ForeignWorld, scene: Scene) -> None:
    """And reverts when a node of the provider was removed after it was validated."""
    me, at, judge = scene.provider, world.chain.at, world.network.validator
    await world.join(me, scene.candidate)
    await judge.send(
        at.network, foreign("", "invalidateNode(address,address)"), me.address, scene.member
    )
    purge = foreign("", "purgeProvider(uint256,address)")
    await world.manager_writer.send(at.pool, purge, world.pool_id, me.address)
    assert await world.chain.in_pool(world.pool_id, scene.member)
    assert not await world.chain.in_pool(world.pool_id, scene.candidate)
    remove = foreign("", "removeComputeNode(address,address)")
    await me.send(at.network, remove, me.address, scene.candidate)
    rows: Asked = [
        (
            world.manager.address,
            purge.signature,
            (world.pool_id, me.address),
            "EnumerableMapNonexistentKey",
        )
    ]
    await compare(world, at.pool, rows)


async def test_a_proxy_is_paused_and_upgraded_underneath(world: ForeignWorld) -> None:
    """Its address and what it stores stay; a paused function names the pause."""
    at, boss = world.chain.at.pool, world.creator
    name = "startComputePool(uint256)"
    await world.network.pause(at, foreign("", name))
    assert await reason(world, boss.address, at, name, NOWHERE) == "d93c0665"
    await world.network.pause(at, foreign("", name), paused=False)
    assert await reason(world, boss.address, at, name, NOWHERE) == NO_POOL
    before = await world.chain.pool(world.pool_id)
    await world.network.upgrade(at, "ForeignPool")
    assert await world.chain.pool(world.pool_id) == before
    with pytest.raises(Reverted):
        await answer(world, at, "startComputePool(uint256)", (), world.pool_id)
