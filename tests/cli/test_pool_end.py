"""`pool leave` and `pool end` on a real chain: by those who may, dry, once."""

import json
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import errors, main
from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.consent import KeyManager
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.states import PoolStatus
from p2pool.wire.account import HasKey
from tests.chain.conftest import World
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, write_config, write_key

pytestmark = pytest.mark.chain


@attrs.frozen
class Desk:
    """Where commands are typed, with one key or another."""

    world: World
    directory: Path

    async def __call__(self, key: Path, *words: str, answer: str = "") -> Result:
        """The result of `p2pool pool ...`."""
        environment = {
            "P2POOL_CONFIG": str(self.directory / "p2pool.toml"),
            "P2POOL_KEY": str(key),
            "P2POOL_PASSPHRASE_FILE": str(self.directory / "passphrase"),
        }
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, ["pool", *words], env=environment, input=answer)
        )

    def key_of(self, writer: KeyWriter | KeyManager, name: str) -> Path:
        """A key file of an account of the test's chain."""
        path = self.directory / name
        stored: Any = Account.encrypt(cast(HasKey, writer._account).key, PASSPHRASE, "pbkdf2", 1)
        path.write_text(json.dumps(stored))
        return path

    async def status(self) -> PoolStatus:
        """The pool's status on the chain."""
        return (await self.world.chain.pool(self.world.pool_id)).status


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    """A desk with the test's pool in its configuration."""
    write_config(tmp_path / "p2pool.toml", world, world.chain.rpc.endpoints[0].url, world.pool_id)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    return Desk(world, tmp_path)


async def test_a_provider_takes_its_node_out_and_nobody_else_does(desk: Desk) -> None:
    """The manager is told of eject; dry nothing is sent; a second time there is nothing to do."""
    provider, node_id = await desk.world.member()
    own, manager = desk.key_of(provider, "own.json"), desk.key_of(desk.world.manager, "m.json")
    words = ("leave", address_text(node_id))
    refused = (await desk(manager, *words)).exception
    assert isinstance(refused, NotAllowed)
    assert "p2pool pool eject" in str(refused.hint)
    assert address_text(provider.address) in str(refused)
    dry = await desk(own, *words, "--dry-run", "--json")
    assert "leaveComputePool" in held(dry.stdout)["would_send"][0]
    assert await desk.world.chain.in_pool(desk.world.pool_id, node_id)
    done = await desk(own, *words, "--json")
    assert held(done.stdout)["node_id"] == address_text(node_id)
    assert not await desk.world.chain.in_pool(desk.world.pool_id, node_id)
    again = await desk(own, *words)
    assert (again.exit_code, "Nothing to send." in again.stdout) == (0, True)
    assert isinstance((await desk(own, *words, "--pool", "999")).exception, NotFound)


async def test_a_keeper_ends_a_pool_and_nobody_else_does(desk: Desk) -> None:
    """Asked first; a No, a dry run and a stranger end nothing, and no pool ends twice."""
    number = str(desk.world.pool_id)
    manager = desk.key_of(desk.world.manager, "manager.json")
    stranger, _ = write_key(desk.directory, "stranger.json")
    assert isinstance((await desk(stranger, "end", number, "--yes")).exception, NotAllowed)
    assert (await desk(manager, "end", number, answer="n\n")).exit_code != 0
    assert (await desk(manager, "end", number, "--json")).exit_code == errors.USAGE
    dry = await desk(manager, "end", number, "--dry-run")
    assert "endComputePool" in dry.stdout
    assert await desk.status() is PoolStatus.ACTIVE
    done = await desk(manager, "end", number, "--yes", "--json")
    assert held(done.stdout)["pool_id"] == desk.world.pool_id
    assert await desk.status() is PoolStatus.COMPLETED
    again = await desk(manager, "end", number, "--yes")
    assert (again.exit_code, "already ended" in again.stdout) == (0, True)
    assert isinstance((await desk(manager, "end", "999", "--yes")).exception, NotFound)


async def test_a_pool_that_never_started_is_not_ended(desk: Desk) -> None:
    """It is said so, instead of a transaction that reverts."""
    manager = desk.key_of(desk.world.manager, "manager.json")
    made = await desk(manager, "create", "--name", "pending", "--json")
    pending = str(held(made.stdout)["pool_id"])
    refused = (await desk(manager, "end", pending, "--yes")).exception
    assert isinstance(refused, Conflict)
    assert "never started" in str(refused)
