"""The command line as tests call it: in a process, or on the test's chain by a funded account."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import errors, main
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.peer_id import peer_id
from p2pool.dev.chain.contracts import new_account
from p2pool.model.errors import (
    P2poolError,
)
from p2pool.model.ids import Address, PeerKey
from tests.chain.conftest import World
from tests.cli.output.held import held

PASSPHRASE = "correct horse"


PEER = peer_id(PeerKey(bytes(range(32))))


FOUNDER = f"0x{'AB' * 20}/{PEER}/{'cd' * 16}"


NEEDS = "gpu:count=8;gpu:model=h100"


@attrs.frozen
class Shell:
    """Commands with a configuration of the test's chain and the key file of a funded account."""

    world: World
    config: Path
    key: Path
    address: Address
    environment: dict[str, str | None]

    async def __call__(self, *words: str) -> Result:
        """The result of `p2pool pool ...`; an error of the tree is its `exception`."""
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, ["pool", *words], env=self.environment)
        )

    async def done(self, *words: str) -> Any:
        """The JSON that a command wrote which has to succeed."""
        result = await self(*words, "--json")
        assert result.exit_code == 0, (result.output, result.exception)
        return held(result.stdout)

    async def refused(self, *words: str) -> tuple[P2poolError, int]:
        """The error of a command, and the exit code that it ends with."""
        result = await self(*words)
        assert result.exception is not None, result.output
        assert isinstance(result.exception, P2poolError), result.exception
        return result.exception, errors.exit_code(result.exception)

    def account(self) -> Any:
        """The account in the key file."""
        return Account.from_key(Account.decrypt(json.loads(self.key.read_text()), PASSPHRASE))

    async def nonce(self) -> int:
        """How many transactions the account has sent."""
        rpc = self.world.chain.rpc
        return await rpc.quantity("eth_getTransactionCount", address_text(self.address), "latest")


def write_key(directory: Path, name: str) -> tuple[Path, Address]:
    """A key file of a new account."""
    account = new_account()
    path = directory / name
    path.write_text(json.dumps(Account.encrypt(account.key, PASSPHRASE, "pbkdf2", 1)))
    return path, Address(bytes.fromhex(account.address[2:]))


def write_config(path: Path, world: World, url: str, pool: int | None = None) -> None:
    """A configuration for the test's chain, with no pool unless one is given."""
    at = world.chain.at
    named = {"network": at.network, "pool": at.pool, "registry": at.registry, "stake": at.stakes}
    named |= {"domains": at.domains, "token": at.token}
    lines = [f"[chain]\nid = {world.chain.rpc.chain_id}\nendpoints = ['{url}']\n[chain.addresses]"]
    lines += [f"{name} = '{address_text(address)}'" for name, address in named.items()]
    lines += [] if pool is None else [f"[pool]\nid = {pool}"]
    path.write_text("\n".join(lines))


async def new_pool(shell: Shell, *words: str) -> int:
    """A pool that is pending."""
    return int((await shell.done("create", "--name", "mine", *words))["pool_id"])


def run(*args: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    code = "from p2pool.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *args], input=stdin, capture_output=True, text=True
    )
