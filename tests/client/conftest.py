"""The served API of the API tests, and a way to run commands against it."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli.main import cli
from tests.api.conftest import Served, served
from tests.wire.samples import ACCOUNT

__all__ = ["Served", "served"]

PASSPHRASE = "correct horse"
Run = Callable[..., Awaitable[Result]]


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A key file of the account that owns things here, and its passphrase file."""
    directory = tmp_path_factory.mktemp("keys")
    stored = Account.encrypt(ACCOUNT.key, PASSPHRASE, kdf="pbkdf2", iterations=1)
    path, secret = directory / "key.json", directory / "passphrase"
    path.write_text(json.dumps(stored))
    secret.write_text(PASSPHRASE + "\n")
    return str(path), str(secret)


@attrs.frozen
class Commands:
    """Runs commands in a thread against the served agent, by its data directory."""

    directory: Path
    environment: dict[str, str]

    async def __call__(self, command: click.Command, *words: str, signs: bool = True) -> Result:
        """The result; an error of the tree is its `exception`."""
        environment: dict[str, Any] = dict(self.environment)
        if not signs:
            environment |= {"P2POOL_KEY": None}
        return await self._invoked(command, words, environment, None)

    async def typing(self, typed: str, command: click.Command, *words: str) -> Result:
        """The result where somebody types this."""
        return await self._invoked(command, words, dict(self.environment), typed)

    async def _invoked(
        self,
        command: click.Command,
        words: tuple[str, ...],
        environment: dict[str, Any],
        typed: str | None,
    ) -> Result:
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(
                command, words, input=typed, env=environment, **cli.context_settings
            )
        )


@pytest.fixture
async def commands(served: Served, key: tuple[str, str]) -> Commands:
    """Commands that find the agent and the key through the environment."""
    path, secret = key
    environment = {
        "P2POOL_AGENT": str(served.directory),
        "P2POOL_KEY": path,
        "P2POOL_PASSPHRASE_FILE": secret,
    }
    return Commands(served.directory, environment)
