"""The command line on the foreign contracts, with the key of whoever acts."""

import json
from pathlib import Path
from typing import Any, cast

import attrs
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import main
from p2pool.drivers.chain.consent import KeyManager
from p2pool.model.errors import P2poolError
from p2pool.wire.account import HasKey
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, write_config
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import KeyWriter


@attrs.define
class Desk:
    """Commands with the configuration of a world, by keys of its people."""

    world: ForeignWorld
    directory: Path
    keys: dict[str, Path] = attrs.field(factory=dict)

    @classmethod
    def at(cls, world: ForeignWorld, directory: Path, pool_id: int | None = None) -> "Desk":
        """A desk in a directory; `pool_id`: what the configuration names, else the world's."""
        named = world.pool_id if pool_id is None else pool_id
        write_config(directory / "p2pool.toml", world, world.chain.rpc.endpoints[0].url, named)
        (directory / "passphrase").write_text(PASSPHRASE)
        return cls(world, directory)

    def key_of(self, who: KeyWriter | KeyManager) -> Path:
        """A key file of an account."""
        account = cast(HasKey, who._account)
        name = f"{account.address.lower()}.json"
        if name not in self.keys:
            stored: Any = Account.encrypt(account.key, PASSPHRASE, "pbkdf2", 1)
            (self.directory / name).write_text(json.dumps(stored))
            self.keys[name] = self.directory / name
        return self.keys[name]

    async def run(self, who: KeyWriter | KeyManager, *words: str, answer: str = "") -> Result:
        """The result of a command; an error of the tree is its `exception`."""
        environment = {
            "P2POOL_CONFIG": str(self.directory / "p2pool.toml"),
            "P2POOL_KEY": str(self.key_of(who)),
            "P2POOL_PASSPHRASE_FILE": str(self.directory / "passphrase"),
            "P2POOL_AGENT": str(self.directory / "no agent here"),
        }
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, [*words], env=environment, input=answer)
        )

    async def done(self, who: KeyWriter | KeyManager, *words: str) -> Any:
        """The JSON of a command that has to succeed."""
        result = await self.run(who, *words, "--json")
        assert result.exit_code == 0, (words, result.output, result.exception)
        return held(result.stdout)

    async def refused(self, who: KeyWriter | KeyManager, *words: str) -> P2poolError:
        """The error of a command that has to be refused."""
        result = await self.run(who, *words)
        assert isinstance(result.exception, P2poolError), (result.output, result.exception)
        return result.exception
