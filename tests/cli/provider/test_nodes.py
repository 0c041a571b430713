"""Many nodes at once, into a pool, out of it and to another one, by their provider."""

import pytest

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import NotFound, TransactionFailed
from p2pool.model.ids import NodeId
from tests.cli.provider.desk import Desk

pytestmark = pytest.mark.chain


async def several(desk: Desk, count: int) -> tuple[KeyWriter, list[NodeId]]:
    """A provider with so many validated nodes."""
    provider, first = await desk.world.candidate()
    others = [(await desk.world.candidate(provider))[1] for _ in range(count - 1)]
    return provider, [first, *others]


async def test_a_batch_joins_and_leaves_in_one_transaction(desk: Desk) -> None:
    """Those that are there already are left out, and the rest go."""
    provider, nodes = await several(desk, 3)
    own, chain = desk.key_of(provider, "own.json"), desk.world.chain
    texts = [address_text(one) for one in nodes]
    waits = await desk.again(own, "pool", "join", *texts)
    assert [one["name"] for one in waits["steps"]] == ["invited"] * 3 + ["joined"]
    words: list[str] = []
    for one in nodes:
        words += ["--invite", str(await desk.invite(one))]
    done = await desk.agrees(own, "pool", "join", *texts, *words, sends=1)
    assert "address[]" in done["steps"][0]["function"]
    for one in nodes:
        assert await chain.in_pool(desk.world.pool_id, one)
    await desk.agrees(own, "pool", "leave", texts[0], sends=1)
    done = await desk.agrees(own, "pool", "leave", *texts, sends=1)
    assert any(texts[0] in note for note in done["notes"])
    assert done["node_ids"] == texts
    for one in nodes:
        assert not await chain.in_pool(desk.world.pool_id, one)


async def test_nodes_move_to_another_pool_and_are_never_in_none(desk: Desk) -> None:
    """In one transaction, with invites into the other one; a second time nothing is sent."""
    provider, nodes = await several(desk, 2)
    own, world = desk.key_of(provider, "own.json"), desk.world
    texts = [address_text(one) for one in nodes]
    other = await world.chain.create_pool(world.creator, 0, world.manager.address, "other")
    await world.chain.start_pool(world.creator, other)
    words = ["pool", "move", *texts, "--to", str(other)]
    assert isinstance(await desk.refused(own, *words), NotFound)
    joins = ["pool", "join", *texts]
    for one in nodes:
        joins += ["--invite", str(await desk.invite(one))]
    await desk.agrees(own, *joins, sends=1)
    assert (await desk.again(own, *words))["waits_for"]["name"] == "invited"
    for one in nodes:
        words += ["--invite", str(await desk.invite(one, other))]
    done = await desk.agrees(own, *words, sends=1)
    assert "changeComputePool" in done["steps"][0]["function"]
    for one in nodes:
        assert await world.chain.in_pool(other, one)
        assert not await world.chain.in_pool(world.pool_id, one)
    await desk.again(own, *words)


async def test_bad_invites_are_worth_no_transaction(desk: Desk) -> None:
    """Used, of another manager, for another pool, no file: each in words."""
    provider, nodes = await several(desk, 1)
    own, node = desk.key_of(provider, "own.json"), address_text(nodes[0])
    elsewhere = ("--invite", str(await desk.invite(nodes[0], 4711)))
    waits = await desk.again(own, "pool", "join", node, *elsewhere)
    assert "another node or pool" in waits["waits_for"]["finding"]
    good = ("--invite", str(await desk.invite(nodes[0])))
    await desk.agrees(own, "pool", "join", node, *good, sends=1)
    await desk.agrees(own, "pool", "leave", node, sends=1)
    dry = await desk.told(own, "pool", "rejoin", node, *good, "--dry-run")
    assert "has been used before" in dry["refusal"]
    sent = await desk.nonce(provider)
    refused = await desk.refused(own, "pool", "rejoin", node, *good)
    assert isinstance(refused, TransactionFailed)
    assert "has been used before" in refused.message
    assert await desk.nonce(provider) == sent
    strange = await desk.refused(own, "pool", "join", "0x" + "12" * 20, *good)
    assert "did not name" in strange.message
    (desk.directory / "none.json").write_text("{")
    broken = await desk.refused(
        own, "pool", "join", node, "--invite", str(desk.directory / "none.json")
    )
    assert "holds no invite" in broken.message


async def test_only_known_nodes_rejoin_and_mistyped_ones_are_found(desk: Desk) -> None:
    """A node that was never registered was in no pool."""
    provider, _ = await several(desk, 1)
    own, stranger = desk.key_of(provider, "own.json"), "0x" + "12" * 20
    for verb in ("rejoin", "leave"):
        assert isinstance(await desk.refused(own, "pool", verb, stranger), NotFound)
    other = await desk.world.account()
    _, theirs = await desk.world.candidate()
    words = ("pool", "rejoin", address_text(theirs))
    error = await desk.refused(desk.key_of(other, "other.json"), *words)
    assert "registered by the provider" in str(error)
