"""Batches, moves, bars, purges and rewards by our commands on contracts that others deployed."""

from pathlib import Path

import pytest

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_text
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import NotAllowed, TransactionFailed
from p2pool.model.ids import Address, NodeId
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import foreign
from tests.contracts.foreign.harness.provider_desk import ForeignDesk

pytestmark = pytest.mark.chain

DAY_S = 24 * 3600
RATE = 3
PIECE = b"k" * 32 + (7).to_bytes(32, "big")
"""A piece of work, and its seven units."""


@pytest.fixture
def desk(world: ForeignWorld, tmp_path: Path) -> ForeignDesk:
    """With the test's pool."""
    return ForeignDesk.of(world, tmp_path)


async def several(desk: ForeignDesk, count: int) -> tuple[KeyWriter, list[NodeId]]:
    """A provider with so many validated nodes."""
    provider, first = await desk.world.candidate()
    others = [(await desk.world.candidate(provider))[1] for _ in range(count - 1)]
    return provider, [first, *others]


async def invites(desk: ForeignDesk, nodes: list[NodeId], pool_id: int | None = None) -> list[str]:
    """`--invite FILE` for each node."""
    words: list[str] = []
    for one in nodes:
        words += ["--invite", str(await desk.invite(one, pool_id))]
    return words


async def members(desk: ForeignDesk, nodes: list[NodeId]) -> list[bool]:
    """Which of the nodes are in the pool."""
    return [await desk.world.chain.in_pool(desk.world.pool_id, one) for one in nodes]


async def test_a_batch_joins_and_leaves_in_one_transaction(desk: ForeignDesk) -> None:
    """Whoever is in or out already is left out of it, and nothing is sent twice."""
    provider, nodes = await several(desk, 3)
    own, texts = desk.key_of(provider, "own.json"), [address_text(one) for one in nodes]
    first = await invites(desk, nodes[:1])
    await desk.agrees(own, "pool", "join", texts[0], *first, sends=1)
    words = ["pool", "join", *texts, *await invites(desk, nodes)]
    done = await desk.agrees(own, *words, sends=1)
    assert "address[]" in done["steps"][-1]["function"]
    assert await members(desk, nodes) == [True, True, True]
    await desk.again(own, *words)
    await desk.agrees(own, "pool", "leave", texts[1], sends=1)
    done = await desk.agrees(own, "pool", "leave", *texts, sends=1)
    assert "address[]" in done["steps"][-1]["function"]
    assert await members(desk, nodes) == [False, False, False]
    await desk.again(own, "pool", "leave", *texts)


async def test_nodes_move_to_another_pool(desk: ForeignDesk) -> None:
    """In one transaction; a second time nothing is sent."""
    provider, nodes = await several(desk, 2)
    own, world = desk.key_of(provider, "own.json"), desk.there
    texts = [address_text(one) for one in nodes]
    domain, boss = world.network.domain_id, world.manager.address
    other = await world.chain.create_pool(world.creator, domain, boss, "other")
    await world.chain.start_pool(world.creator, other)
    await desk.agrees(own, "pool", "join", *texts, *await invites(desk, nodes), sends=1)
    words = ["pool", "move", *texts, "--to", str(other)]
    assert (await desk.again(own, *words))["waits_for"]["name"] == "invited"
    words += await invites(desk, nodes, other)
    done = await desk.agrees(own, *words, sends=1)
    assert "changeComputePool" in done["steps"][0]["function"]
    assert await members(desk, nodes) == [False, False]
    assert [await world.chain.in_pool(other, one) for one in nodes] == [True, True]
    await desk.again(own, *words)


async def test_a_barred_node_does_not_come_back(desk: ForeignDesk) -> None:
    """It is put out, and its provider is told before it pays for a try; strangers bar nobody."""
    provider, node_id = await desk.world.member()
    manager, own = desk.key_of(desk.world.manager, "m.json"), desk.key_of(provider, "own.json")
    node = address_text(node_id)
    words = ("pool", "blacklist", "node", node, "--yes")
    assert isinstance(await desk.refused(own, *words), NotAllowed)
    await desk.agrees(manager, *words, sends=1)
    await desk.again(manager, *words)
    assert await members(desk, [node_id]) == [False]
    sent = await desk.nonce(provider)
    error = await desk.refused(own, "pool", "rejoin", node, *await invites(desk, [node_id]))
    assert "blacklisted" in str(error)
    assert await desk.nonce(provider) == sent


async def test_a_purged_provider_comes_back_and_a_barred_one_does_not(desk: ForeignDesk) -> None:
    """All its nodes go at once, by either command."""
    provider, nodes = await several(desk, 2)
    own, manager = desk.key_of(provider, "own.json"), desk.key_of(desk.world.manager, "m.json")
    who, texts = address_text(provider.address), [address_text(one) for one in nodes]
    await desk.agrees(own, "pool", "join", *texts, *await invites(desk, nodes), sends=1)
    await desk.agrees(manager, "pool", "purge", who, "--yes", sends=1)
    await desk.again(manager, "pool", "purge", who, "--yes")
    assert await members(desk, nodes) == [False, False]
    await desk.agrees(own, "pool", "rejoin", *texts, *await invites(desk, nodes), sends=1)
    bar = ("pool", "blacklist", "provider", who, "--yes")
    await desk.agrees(manager, *bar)
    await desk.again(manager, *bar)
    assert await members(desk, nodes) == [False, False]
    error = await desk.refused(own, "pool", "rejoin", *texts, *await invites(desk, nodes))
    assert "blacklisted" in str(error)


async def test_a_purge_puts_out_who_is_no_longer_validated_too(desk: ForeignDesk) -> None:
    """The contract's purge leaves that one in, so the command ejects it before."""
    provider, nodes = await several(desk, 2)
    own, manager = desk.key_of(provider, "own.json"), desk.key_of(desk.world.manager, "m.json")
    world, texts = desk.there, [address_text(one) for one in nodes]
    await desk.agrees(own, "pool", "join", *texts, *await invites(desk, nodes), sends=1)
    invalidate = foreign("", "invalidateNode(address,address)")
    at, judge = world.chain.at.network, world.network.validator
    await judge.send(at, invalidate, provider.address, nodes[0])
    purge = ("pool", "purge", address_text(provider.address), "--yes")
    done = await desk.agrees(manager, *purge, sends=2)
    assert [one["name"] for one in done["steps"]] == ["ejected", "purged"]
    assert await members(desk, nodes) == [False, False]
    await desk.again(manager, *purge)


async def test_a_purge_that_a_forgotten_node_prevents_says_what_helps(desk: ForeignDesk) -> None:
    """The contract stops at a validated node that was removed; ejecting the others does it."""
    provider, nodes = await several(desk, 2)
    own, manager = desk.key_of(provider, "own.json"), desk.key_of(desk.world.manager, "m.json")
    world, member = desk.there, address_text(nodes[0])
    await desk.agrees(own, "pool", "join", member, *await invites(desk, nodes[:1]), sends=1)
    remove = foreign("", "removeComputeNode(address,address)")
    await provider.send(world.chain.at.network, remove, provider.address, nodes[1])
    purge = ("pool", "purge", address_text(provider.address), "--yes")
    error = await desk.refused(manager, *purge)
    assert isinstance(error, TransactionFailed)
    assert "p2pool pool eject" in error.hint
    await desk.agrees(manager, "pool", "eject", member, sends=1)
    assert await members(desk, nodes) == [False, False]


async def test_a_provider_claims_what_its_nodes_have_earned(desk: ForeignDesk) -> None:
    """Nothing while no rate is set or all is locked; a day later all of it, and once."""
    world, chain = desk.there, desk.there.chain
    provider, node_id = await world.member()
    own, claim = desk.key_of(provider, "own.json"), ("provider", "claim")

    async def shown() -> tuple[str | None, ...]:
        (one,) = (await desk.told(own, "provider", "status"))["rewards"]["nodes"]
        return one["due_wei"], one["locked_wei"], one["claimed_wei"]

    assert "Rate not set" in str(await desk.refused(own, *claim))
    assert await shown() == (None, None, "0")
    where = Function("", "getRewardDistributorForPool(uint256)", ("uint256",), ("address",))
    rewards = Address(
        bytes.fromhex((await chain.rpc.call(chain.at.pool, where, world.pool_id))[2:])
    )
    boss, at = world.network.federator, chain.at
    await boss.send(rewards, foreign("", "setRewardRate(uint256)"), RATE)
    submit = foreign("", "submitWork(uint256,address,bytes)")
    await provider.send(at.pool, submit, world.pool_id, node_id, PIECE)
    assert await shown() == ("0", "21", "0")
    locked = await desk.again(own, *claim)
    assert "21" in str(locked["notes"])
    await desk.pass_time(DAY_S + 3600)
    await world.network.validator.send(at.token, foreign("", "mint(address,uint256)"), rewards, 21)
    await boss.send(at.token, foreign("", "approveTransferAddress(address)"), rewards)
    tokens = await chain.tokens(provider.address)
    assert await shown() == ("21", "0", "0")
    await desk.agrees(own, *claim, sends=1)
    assert await chain.tokens(provider.address) == tokens + 21
    await desk.again(own, *claim)
    assert await shown() == ("0", "0", "21")
    assert tokens_text(21) in (await desk(own, "provider", "status")).output
