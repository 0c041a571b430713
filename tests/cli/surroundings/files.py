"""A configuration and keys, as tests here need them: of a chain that nobody serves."""

from pathlib import Path

from p2pool.drivers.config.schema import (
    AgentConfig,
    ChainConfig,
    ContractAddresses,
    PoolConfig,
    write_config,
)
from p2pool.drivers.keys.keystore import import_key_file
from p2pool.model.ids import Address


def write_settings(path: Path, number: int = 5) -> Path:
    """A configuration of a pool with this number."""
    at = Address(b"\x01" * 20)
    addresses = ContractAddresses(network=at, pool=at, registry=at, stake=at, domains=at, token=at)
    chain = ChainConfig(id=31337, endpoints=("http://127.0.0.1:1",), addresses=addresses)
    write_config(AgentConfig(chain=chain, pool=PoolConfig(id=number)), path)
    return path


def write_key(path: Path, key: bytes) -> Path:
    import_key_file(path, key, "right", light=True, note=lambda text: None)
    return path
