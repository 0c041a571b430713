"""Creator and manager put nodes and providers out and set how many a pool takes."""

import pytest

from p2pool.cli import errors
from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.model.errors import Conflict, NotAllowed, TransactionFailed
from tests.chain.harness import acts
from tests.cli.provider.desk import Desk
from tests.cli.shell import write_key

pytestmark = pytest.mark.chain


async def test_nodes_are_ejected_and_come_back(desk: Desk) -> None:
    """Several by one command; those that are out already cost nothing."""
    world = desk.world
    provider, first = await world.member()
    _, second = await world.member(provider)
    manager, own = desk.key_of(world.manager, "m.json"), desk.key_of(provider, "own.json")
    texts = [address_text(first), address_text(second)]
    await desk.agrees(manager, "pool", "eject", texts[0], sends=1)
    done = await desk.agrees(manager, "pool", "eject", *texts, sends=1)
    assert texts[0] in done["notes"][0]
    await desk.again(manager, "pool", "eject", *texts)
    invite = str(await desk.invite(first))
    await desk.agrees(own, "pool", "rejoin", texts[0], "--invite", invite, sends=1)


async def test_a_bar_is_asked_for_and_is_for_good(desk: Desk) -> None:
    """A node that is barred is told so before its provider pays for the next try."""
    world = desk.world
    provider, node_id = await world.member()
    manager, node = desk.key_of(world.manager, "m.json"), address_text(node_id)
    words = ("pool", "blacklist", "node", node)
    stranger, _ = write_key(desk.directory, "stranger.json")
    assert isinstance(await desk.refused(stranger, *words, "--yes"), NotAllowed)
    assert (await desk(manager, *words, "--json")).exit_code == errors.USAGE
    assert (await desk(manager, *words, answer="n\n")).exit_code != 0
    assert await world.chain.in_pool(world.pool_id, node_id)
    await desk.agrees(manager, *words, "--yes", sends=1)
    await desk.again(manager, *words, "--yes")
    assert not await world.chain.in_pool(world.pool_id, node_id)
    own, invite = desk.key_of(provider, "own.json"), str(await desk.invite(node_id))
    error = await desk.refused(own, "pool", "rejoin", node, "--invite", invite)
    assert "blacklisted" in str(error)


async def test_a_provider_is_purged_and_barred(desk: Desk) -> None:
    """All its nodes go in one transaction; with one that the registry forgot, it is named."""
    world, chain = desk.world, desk.world.chain
    provider, first = await world.member()
    _, second = await world.member(provider)
    manager, who = desk.key_of(world.manager, "m.json"), address_text(provider.address)
    done = await desk.agrees(manager, "pool", "purge", who, "--yes", sends=1)
    assert "2 node(s)" in done["steps"][0]["purpose"]
    await desk.again(manager, "pool", "purge", who, "--yes")
    for one in (first, second):
        assert not await chain.in_pool(world.pool_id, one)
    own = desk.key_of(provider, "own.json")
    back = ("--invite", str(await desk.invite(first)))
    await desk.agrees(own, "pool", "rejoin", address_text(first), *back, sends=1)
    bar = ("pool", "blacklist", "provider", who, "--yes")
    done = await desk.agrees(manager, *bar, sends=2)
    assert [one["name"] for one in done["steps"]] == ["blacklisted", "purged"]
    await desk.again(manager, *bar)
    back = ("--invite", str(await desk.invite(first)))
    assert "blacklisted" in str(
        await desk.refused(own, "pool", "rejoin", address_text(first), *back)
    )


async def test_a_purge_that_the_registry_prevents_says_what_helps(desk: Desk) -> None:
    """A node that its provider removed while it was in the pool makes the contract revert."""
    world, chain = desk.world, desk.world.chain
    provider, first = await world.member()
    await world.member(provider)
    remove = function("PrimeNetwork", "removeComputeNode")
    await provider.send(chain.at.network, remove, provider.address, first)
    manager, who = desk.key_of(world.manager, "m.json"), address_text(provider.address)
    error = await desk.refused(manager, "pool", "purge", who, "--yes")
    assert isinstance(error, TransactionFailed)
    assert "p2pool pool eject" in error.hint
    await desk.agrees(manager, "pool", "eject", address_text(first), sends=1)
    await desk.agrees(manager, "pool", "purge", who, "--yes", sends=1)


async def test_a_full_pool_takes_more_once_its_limit_is_higher(desk: Desk) -> None:
    """The newcomer is told the command, and is in once the manager has run it as it stands."""
    world, chain = desk.world, desk.world.chain
    provider, _ = await world.member()
    _, second = await world.candidate(provider)
    manager, own = desk.key_of(world.manager, "m.json"), desk.key_of(provider, "own.json")
    pool = await (await Reader.at_head(chain)).pool(world.pool_id)
    units = pool.used_units.need("units")
    words = ("pool", "set-limit", str(units))
    stranger, _ = write_key(desk.directory, "stranger.json")
    assert isinstance(await desk.refused(stranger, *words), NotAllowed)
    done = await desk.agrees(manager, *words, sends=1)
    assert done["compute_limit"] == str(units)
    assert f"{units} units instead of any number" in done["steps"][0]["purpose"]
    await desk.again(manager, *words)
    join = ("pool", "join", address_text(second), "--invite", str(await desk.invite(second)))
    told = (await desk.again(own, *join))["waits_for"]
    assert told["name"] == "room made"
    await desk.agrees(manager, *told["command"].split()[1:], sends=1)
    await desk.agrees(own, *join, sends=1)
    assert await chain.in_pool(world.pool_id, second)


async def test_a_limit_below_what_is_in_use_puts_nobody_out(desk: Desk) -> None:
    """That is said; 0 takes the limit away; a pool that has ended takes nobody at any limit."""
    world, chain = desk.world, desk.world.chain
    _, node_id = await world.member()
    _, other = await world.member()
    manager = desk.key_of(world.manager, "m.json")
    done = await desk.agrees(manager, "pool", "set-limit", "1", sends=1)
    assert "no node is put out" in done["notes"][0]
    assert await chain.in_pool(world.pool_id, node_id)
    assert await chain.in_pool(world.pool_id, other)
    assert (await desk.agrees(manager, "pool", "set-limit", "0", sends=1))["notes"] == []
    assert (await chain.pool(world.pool_id)).compute_limit == 0
    assert (await desk(manager, "pool", "set-limit", "-1")).exit_code == errors.USAGE
    await acts.end_pool(chain, world.manager_writer, world.pool_id)
    error = await desk.refused(manager, "pool", "set-limit", "5")
    assert isinstance(error, Conflict)
    assert "has ended" in error.message
