"""The configuration of a real agent in a test's world."""

from p2pool.drivers.config.schema import (
    AgentConfig,
    ApiConfig,
    ChainConfig,
    ContractAddresses,
    NetworkConfig,
    PoolConfig,
    RuntimeConfig,
)
from tests.chain.conftest import World


def config_of(world: World, url: str) -> AgentConfig:
    """One that reads this world's pool by one endpoint, on ports of its own."""
    at = world.chain.at
    contracts = ContractAddresses(
        network=at.network,
        pool=at.pool,
        registry=at.registry,
        stake=at.stakes,
        domains=at.domains,
        token=at.token,
    )
    return AgentConfig(
        chain=ChainConfig(id=31337, endpoints=(url,), addresses=contracts),
        pool=PoolConfig(id=world.pool_id),
        network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
        api=ApiConfig(bind="127.0.0.1:0"),
        runtime=RuntimeConfig(kind="process"),
    )
