"""`pool eject` on a real chain: by the manager alone, dry, once."""

import json
from pathlib import Path
from typing import cast

import pytest
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.model.errors import NotAllowed
from p2pool.wire.account import HasKey
from tests.chain.conftest import World
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, write_config, write_key

pytestmark = pytest.mark.chain


async def test_a_manager_ejects_a_node_and_nobody_else_does(world: World, tmp_path: Path) -> None:
    """Dry it says what would be sent; done, the node is out; again, there is nothing to do."""
    _, node_id = await world.member()
    config, secret = tmp_path / "p2pool.toml", tmp_path / "passphrase"
    write_config(config, world, world.chain.rpc.endpoints[0].url, world.pool_id)
    secret.write_text(PASSPHRASE)
    stranger, _ = write_key(tmp_path, "stranger.json")
    manager = tmp_path / "manager.json"
    stored = Account.encrypt(cast(HasKey, world.manager._account).key, PASSPHRASE, "pbkdf2", 1)
    manager.write_text(json.dumps(stored))

    async def eject(key: Path, *words: str) -> Result:
        environment = {
            "P2POOL_CONFIG": str(config),
            "P2POOL_KEY": str(key),
            "P2POOL_PASSPHRASE_FILE": str(secret),
        }
        command = ["pool", "eject", address_text(node_id), *words]
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, command, env=environment)
        )

    assert isinstance((await eject(stranger)).exception, NotAllowed)
    dry = await eject(manager, "--dry-run")
    assert "ejectNode" in dry.stdout
    assert await world.chain.in_pool(world.pool_id, node_id)
    done = await eject(manager, "--json")
    assert held(done.stdout)["node_id"] == address_text(node_id)
    assert not await world.chain.in_pool(world.pool_id, node_id)
    again = await eject(manager)
    assert (again.exit_code, "Nothing to send." in again.stdout) == (0, True)
