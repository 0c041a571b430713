"""The configuration of an agent whose chain does not answer."""

from typing import Any

import attrs

from p2pool.drivers.config.schema import (
    AgentConfig,
    ApiConfig,
    ChainConfig,
    ContractAddresses,
    NetworkConfig,
    PoolConfig,
    RuntimeConfig,
)
from p2pool.model.ids import Address

ADDRESS = Address(b"\x11" * 20)


NOTHING_LISTENS = "http://127.0.0.1:1"


def config_of(**more: Any) -> AgentConfig:
    """A configuration of a pool whose chain does not answer."""
    contracts = ContractAddresses(
        network=ADDRESS,
        pool=ADDRESS,
        registry=ADDRESS,
        stake=ADDRESS,
        domains=ADDRESS,
        token=ADDRESS,
    )
    config = AgentConfig(
        chain=ChainConfig(id=31337, endpoints=(NOTHING_LISTENS,), addresses=contracts),
        pool=PoolConfig(id=0),
        network=NetworkConfig(listen=("/ip4/127.0.0.1/tcp/0",)),
        api=ApiConfig(bind="127.0.0.1:0"),
        runtime=RuntimeConfig(kind="process"),
    )
    return attrs.evolve(config, **more)
