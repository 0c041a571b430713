"""The development chain and the served API of other directories, and a shell on that chain."""

from pathlib import Path

import pytest

from p2pool.dev.chain.contracts import fund
from tests.api.conftest import served
from tests.chain.conftest import World, anvil, deployment, world
from tests.cli.shell import PASSPHRASE, Shell, write_config, write_key

__all__ = ["anvil", "deployment", "served", "world"]


@pytest.fixture
async def shell(world: World, tmp_path: Path) -> Shell:
    """A creator's shell."""
    key, address = write_key(tmp_path, "creator.json")
    await fund(world.chain.rpc, address)
    secret, config = tmp_path / "passphrase", tmp_path / "p2pool.toml"
    secret.write_text(PASSPHRASE)
    write_config(config, world, world.chain.rpc.endpoints[0].url)
    environment: dict[str, str | None] = {
        "P2POOL_CONFIG": str(config),
        "P2POOL_KEY": str(key),
        "P2POOL_PASSPHRASE_FILE": str(secret),
        "P2POOL_AGENT": str(tmp_path / "no agent here"),
    }
    return Shell(world, config, key, address, environment)
