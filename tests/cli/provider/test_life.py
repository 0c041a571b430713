"""A provider's whole life by our commands: each sends exactly what its dry run named, once."""

import pytest

from p2pool.drivers.chain.provider.costs import TYPICAL_GAS
from p2pool.model.states import PoolStatus
from tests.chain.harness import acts
from tests.cli.provider.desk import Desk

pytestmark = pytest.mark.chain

UNBONDING_S = 60


async def test_from_the_first_stake_to_the_last_withdrawal(desk: Desk) -> None:
    """Register, whitelist, register a node, validate, join, leave, take all stake back; after each
    command the same one has nothing left to send."""
    world, chain = desk.world, desk.world.chain
    provider = await world.account()
    federator, own = world.deployment.federator, desk.key_of(provider, "own.json")
    key, node_id, node = desk.node("node.json")
    held = await chain.tokens(provider.address)

    # A provider.
    done = await desk.agrees(own, "provider", "register", "--units", "1", sends=2)
    assert [one["name"] for one in done["steps"]] == ["approved", "registered", "whitelisted"]
    assert done["waits_for"]["waiting_on"] == "the validator"
    await desk.again(own, "provider", "register", "--units", "1")
    await chain.whitelist(federator, provider.address)
    assert (await desk.again(own, "provider", "register"))["waits_for"] is None

    # A node.
    words = ("node", "register", "--node-key", str(key))
    done = await desk.agrees(own, *words, sends=1)
    assert done["waits_for"]["name"] == "validated"
    await desk.again(own, *words)
    await chain.validate_node(federator, provider.address, node_id)

    # In the pool.
    waits = await desk.again(own, "pool", "join", node)
    assert waits["waits_for"]["command"] == f"p2pool pool invite {node}"
    assert waits["steps"][-1]["kind"] == "later"
    invite = await desk.invite(node_id)
    await desk.agrees(own, "pool", "join", node, "--invite", str(invite), sends=1)
    assert await chain.in_pool(world.pool_id, node_id)
    await desk.again(own, "pool", "join", node, "--invite", str(invite))

    # Out, back, and out again.
    await desk.agrees(own, "pool", "leave", node, sends=1)
    await desk.again(own, "pool", "leave", node)
    back = ("pool", "rejoin", node, "--invite", str(await desk.invite(node_id)))
    await desk.agrees(own, *back, sends=1)
    await desk.again(own, *back)
    await desk.agrees(own, "node", "deregister", node, sends=2)
    await desk.again(own, "node", "deregister", node)
    assert await chain.node(node_id) is None

    # Its stake comes back.
    done = await desk.agrees(own, "provider", "stake", "reclaim", sends=1)
    assert done["waits_for"]["until_s"] > 0
    await desk.again(own, "provider", "stake", "reclaim")
    await desk.again(own, "provider", "withdraw")
    await desk.pass_time(UNBONDING_S + 1)
    await desk.agrees(own, "provider", "withdraw", sends=1)
    leave = ("provider", "deregister", "--yes")
    await desk.agrees(own, *leave, sends=1)
    await desk.again(own, *leave)
    await desk.pass_time(UNBONDING_S + 1)
    await desk.agrees(own, "provider", "withdraw", sends=1)
    await desk.again(own, "provider", "withdraw")
    assert await chain.tokens(provider.address) == held
    assert (await desk.told(own, "provider", "status"))["registered"] == "absent"
    print({name: desk.gas[name] for name in sorted(desk.gas)})
    for name, gas in desk.gas.items():
        assert gas / 2 < TYPICAL_GAS[name] < 2 * gas, (name, gas)


async def test_one_command_takes_a_node_the_whole_way(desk: Desk) -> None:
    """Run again after each wait, it goes on; the first dry run names every step to the end."""
    world, chain = desk.world, desk.world.chain
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    key, node_id, node = desk.node("node.json")
    words = ("pool", "join", node, "--node-key", str(key), "--gpus", "1")
    first = await desk.told(own, *words, "--dry-run")
    assert [(one["kind"], one["name"]) for one in first["steps"]] == [
        ("transaction", "approved"),
        ("transaction", "registered"),
        ("wait", "whitelisted"),
        ("transaction", "node registered"),
        ("wait", "validated"),
        ("wait", "invited"),
        ("later", "joined"),
    ]
    assert all(one["gas"] for one in first["steps"] if one["kind"] != "wait")
    consent = first["steps"][3]["calldata"]
    await desk.agrees(own, *words, sends=2)
    await chain.whitelist(world.deployment.federator, provider.address)
    done = await desk.agrees(own, *words, sends=1)
    assert done["steps"][0]["calldata"] == consent  # Named before the first transaction.
    await chain.validate_node(world.deployment.federator, provider.address, node_id)
    invite = ("--invite", str(await desk.invite(node_id)))
    await desk.agrees(own, *words, *invite, sends=1)
    info = await chain.node(node_id)
    assert info is not None
    assert (info.compute_units, info.active) == (1000, True)
    assert (await desk.told(own, "provider", "status"))["nodes"] == [
        {"node_id": node, "compute_units": 1000, "validated": True, "in_a_pool": True}
    ]


async def test_nobody_pays_for_a_pool_that_is_not_there_or_not_active(desk: Desk) -> None:
    """Unknown, pending, ended or full: told before the first transaction."""
    world, chain = desk.world, desk.world.chain
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    key, _, node = desk.node("node.json")
    words = ("pool", "join", node, "--node-key", str(key))
    assert "There is no pool 999." in str(await desk.refused(own, *words, "--pool", "999"))
    pending = str(await chain.create_pool(world.creator, 0, world.manager.address, "later"))
    waits = await desk.again(own, *words, "--pool", pending)
    assert waits["waits_for"]["command"] == f"p2pool pool start {pending}"
    full = await chain.create_pool(world.creator, 0, world.manager.address, "full", "", 1)
    await chain.start_pool(world.creator, full)
    waits = await desk.again(own, *words, "--pool", str(full), "--gpus", "2")
    assert waits["waits_for"]["name"] == "room made"
    assert "0 of 1 units, 2000 to come" in waits["waits_for"]["finding"]
    assert waits["waits_for"]["command"] == f"p2pool pool set-limit 2000 --pool {full}"
    await acts.end_pool(chain, world.creator, full)
    assert "has ended" in str(await desk.refused(own, *words, "--pool", str(full)))
    assert await desk.nonce(provider) == 0
    assert (await chain.pool(full)).status is PoolStatus.COMPLETED
