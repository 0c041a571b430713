"""What the chain says of endpoints, pool, node and provider, on a real chain."""

from pathlib import Path

import attrs
import pytest

from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.checks.onchain import (
    REQUIREMENTS,
    chain_checks,
    endpoint_checks,
    read_pool,
)
from p2pool.drivers.config.schema import (
    AgentConfig,
    ChainConfig,
    ContractAddresses,
    PoolConfig,
)
from p2pool.model.ids import Address, NodeId
from p2pool.model.machine.checks import Check, Group, Verdict
from tests.chain.conftest import World, anvil, deployment, world

__all__ = ["anvil", "deployment", "world"]

pytestmark = pytest.mark.chain


NOT_KNOWN = (Group.HARDWARE, REQUIREMENTS, Verdict.FAIL)


def config_for(world: World, *endpoints: str, chain_id: int = 31337) -> AgentConfig:
    """The configuration of an agent of this pool."""
    at = world.chain.at
    addresses = ContractAddresses(
        network=at.network,
        pool=at.pool,
        registry=at.registry,
        stake=at.stakes,
        domains=at.domains,
        token=at.token,
    )
    return AgentConfig(
        chain=ChainConfig(id=chain_id, endpoints=endpoints, addresses=addresses),
        pool=PoolConfig(id=world.pool_id),
    )


def by_name(checks: list[Check]) -> dict[str, Check]:
    """Checks by their names."""
    return {check.name: check for check in checks}


async def look(
    world: World, anvil: Anvil, node: NodeId | None, provider: Address | None
) -> dict[str, Check]:
    """All checks of the chain."""
    config = config_for(world, anvil.url)
    pool, _, _ = await read_pool(config)
    return by_name(await chain_checks(config, pool, node, provider, 0))


async def test_every_endpoint_is_asked_by_itself(world: World, anvil: Anvil) -> None:
    """A dead one among others is worth knowing; a single wrong one fails."""
    mixed = await endpoint_checks(config_for(world, anvil.url, "http://127.0.0.1:9"))
    assert [check.verdict for check in mixed] == [Verdict.PASS, Verdict.WARN]
    wrong = by_name(await endpoint_checks(config_for(world, anvil.url, chain_id=1)))
    assert wrong["endpoint"].verdict is Verdict.FAIL
    assert "31337" in wrong["endpoint"].found


async def test_the_way_into_the_pool_is_told_step_by_step(world: World, anvil: Anvil) -> None:
    """From nothing at all to a member, with who has to act."""
    node = NodeId(bytes.fromhex(new_account().address[2:]))
    poor = Address(bytes.fromhex(new_account().address[2:]))
    found = await look(world, anvil, node, poor)
    assert found["node"].found.endswith("is not registered")
    assert found["provider's coin"].verdict is Verdict.FAIL
    assert (found["stake"].verdict, "Send" in found["stake"].todo) == (Verdict.FAIL, True)
    rich: KeyWriter = await world.account()
    found = await look(world, anvil, node, rich.address)
    assert found["provider's coin"].verdict is Verdict.PASS
    assert found["stake"].verdict is Verdict.WARN
    assert found["stake"].needed == "0.002 staked for 1 units"
    assert "--stake-max 0.002" in found["stake"].todo
    assert "validator" in found["whitelist"].todo
    provider, candidate = await world.candidate()
    found = await look(world, anvil, candidate, None)
    assert "p2pool pool invite" in found["node"].todo
    assert found["whitelist"].verdict is Verdict.PASS
    assert "stake" not in found
    slash, federator = function("PrimeNetwork", "slash"), world.deployment.federator
    lost_wei = await world.chain.stake(provider.address) - 10**15
    await federator.send(world.chain.at.network, slash, provider.address, lost_wei, b"")
    found = await look(world, anvil, candidate, None)
    assert "0.001 tokens less than its nodes need, as after a slash" in found["stake"].found
    assert "p2pool provider stake add" in found["stake"].todo
    _, member = await world.member()
    found = await look(world, anvil, member, None)
    assert found["node"].verdict is Verdict.PASS
    assert "provider's coin" not in found


async def test_what_the_pool_asks_for_is_read_from_its_data_uri(world: World, anvil: Anvil) -> None:
    """What nobody can read, or is too long to be read, is unknown, and no machine meets that."""
    config = config_for(world, anvil.url)
    await world.chain.update_uri(world.creator, world.pool_id, "gpu:count=8;ram_mb=1024")
    pool, wanted, trouble = await read_pool(config)
    assert (pool is not None, wanted.gpus[0].count, trouble) == (True, 8, [])
    await world.chain.update_uri(world.creator, world.pool_id, "gpu:count=many")
    _, wanted, trouble = await read_pool(config)
    assert [(one.group, one.name, one.verdict) for one in trouble] == [NOT_KNOWN]
    assert "gpu:count='many'" in trouble[0].found
    await world.chain.update_uri(world.creator, world.pool_id, "ram_mb=1;" + "x=" + "y" * 16384)
    _, _, trouble = await read_pool(config)
    assert [(one.group, one.name, one.verdict) for one in trouble] == [NOT_KNOWN]
    assert "16395 bytes" in trouble[0].found
    assert "set-requirements" in trouble[0].todo


async def test_a_pool_that_is_not_there_fails(world: World, anvil: Anvil, tmp_path: Path) -> None:
    """With its number; what it would ask of a machine is unknown."""
    config = config_for(world, anvil.url)
    config = attrs.evolve(config, pool=PoolConfig(id=9999))
    pool, _, trouble = await read_pool(config)
    assert (pool, trouble[0].verdict) == (None, Verdict.FAIL)
    assert "9999" in trouble[0].found
    assert (trouble[1].group, trouble[1].name, trouble[1].verdict) == NOT_KNOWN
