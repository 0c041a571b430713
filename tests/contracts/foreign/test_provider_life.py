"""A provider's whole life by our commands on contracts that others deployed."""

from pathlib import Path

import pytest

from p2pool.dev.chain.contracts import UNBONDING_S
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.provider_desk import ForeignDesk

pytestmark = pytest.mark.chain


async def test_from_the_first_stake_to_the_last_withdrawal(
    world: ForeignWorld, tmp_path: Path
) -> None:
    """What each dry run names is what is sent, and the same command again sends nothing."""
    desk, chain, judge = ForeignDesk.of(world, tmp_path), world.chain, world.network.validator
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    key, node_id, node = desk.node("node.json")
    held = await chain.tokens(provider.address)

    await desk.agrees(own, "provider", "register", "--units", "1", sends=2)
    await desk.again(own, "provider", "register", "--units", "1")
    await chain.whitelist(judge, provider.address)
    words = ("node", "register", "--node-key", str(key))
    await desk.agrees(own, *words, sends=1)
    await desk.again(own, *words)
    await chain.validate_node(judge, provider.address, node_id)

    invite = str(await desk.invite(node_id))
    await desk.agrees(own, "pool", "join", node, "--invite", invite, sends=1)
    await desk.again(own, "pool", "join", node, "--invite", invite)
    assert await chain.in_pool(world.pool_id, node_id)
    await desk.agrees(own, "pool", "leave", node, sends=1)
    back = ("pool", "rejoin", node, "--invite", str(await desk.invite(node_id)))
    await desk.agrees(own, *back, sends=1)

    await desk.agrees(own, "node", "deregister", node, sends=2)
    await desk.again(own, "node", "deregister", node)
    assert await chain.node(node_id) is None
    await desk.agrees(own, "provider", "stake", "reclaim", sends=1)
    await desk.again(own, "provider", "withdraw")
    await desk.pass_time(UNBONDING_S + 1)
    await desk.agrees(own, "provider", "withdraw", sends=1)
    await desk.agrees(own, "provider", "deregister", "--yes", sends=1)
    await desk.again(own, "provider", "deregister", "--yes")
    await desk.pass_time(UNBONDING_S + 1)
    await desk.agrees(own, "provider", "withdraw", sends=1)
    await desk.again(own, "provider", "withdraw")
    assert await chain.tokens(provider.address) == held
    assert (await desk.told(own, "provider", "status"))["registered"] == "absent"
