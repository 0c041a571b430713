"""An agent starts from what `agent init` wrote, with keys that no file here holds; so do commands.

The node's key comes by a file descriptor, the provider's stays in another program, and the manager
signs by a descriptor too. Its whole way into the pool is the proof: each signature is judged by
the contracts.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from eth_account import Account
from eth_account.signers.local import LocalAccount

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.drivers.config.start_record import read_start
from p2pool.model.ids import Address, NodeId
from p2pool.wire.account import HasKey
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, Shell
from tests.drivers.keys.signers.clef_double import Clef, new_clef, on_socket

pytestmark = pytest.mark.chain

WITHIN_S = 300
POLL_S = 0.2


@contextmanager
def readable(content: bytes) -> Iterator[int]:
    """A descriptor from which a process reads this once."""
    reading, writing = os.pipe()
    try:
        os.write(writing, content)
        os.close(writing)
        yield reading
    finally:
        os.close(reading)


def start(words: list[str], log: Path, *descriptors: int, **more: str) -> "subprocess.Popen[str]":
    """`p2pool ...` as a process that gets these descriptors; its errors go into a file."""
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "p2pool", *words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            pass_fds=descriptors,
            env={**os.environ, **more},
        )


async def done(words: list[str], directory: Path, *descriptors: int, **more: str) -> Any:
    """The document of a command that has to succeed."""
    process = start(words, directory / "errors", *descriptors, **more)
    out, _ = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0, (directory / "errors").read_text()
    return held(out)


@asynccontextmanager
async def agent(words: list[str], log: Path, *descriptors: int) -> AsyncIterator[Any]:
    """An agent as a process, and what it says when it has started; ended as by a person."""
    process = start(words, log, *descriptors)
    assert process.stdout is not None
    try:
        line = await trio.to_thread.run_sync(process.stdout.readline)
        assert line, log.read_text()
        yield held(line)
    finally:
        process.send_signal(signal.SIGTERM)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0, log.read_text()


@attrs.frozen
class Place:
    """A machine to be, and people whose keys are elsewhere."""

    shell: Shell
    directory: Path
    node: LocalAccount
    clef: Clef
    provider: str

    @property
    def provider_address(self) -> Address:
        """The account in the other program."""
        return Address(bytes.fromhex(self.clef.accounts[0].address[2:]))

    async def init(self) -> dict[str, Any]:
        """What `agent init` says of it."""
        chain = self.shell.world.chain
        words = ["agent", "init", "--data-dir", str(self.directory), "--chain", "local"]
        words += ["--pool", str(self.shell.world.pool_id), "--runtime", "process"]
        words += ["--endpoint", chain.rpc.endpoints[0].url]
        words += ["--network-contract", address_text(chain.at.network)]
        words += ["--listen", "/ip4/127.0.0.1/tcp/0", "--api-bind", "127.0.0.1:0"]
        with readable(bytes(self.node.key).hex().encode()) as number:
            keys = ["--node-key", f"fd:{number}", "--provider-key", self.provider]
            made: dict[str, Any] = await done([*words, *keys], self.directory.parent, number)
        return made

    async def by_manager(self, *words: str) -> Any:
        """The document of a command that the manager signs: a key file, read from a descriptor."""
        world, parent = self.shell.world, self.directory.parent
        account = cast(HasKey, world.manager._account)
        stored = json.dumps(Account.encrypt(account.key, PASSPHRASE, "pbkdf2", 1))
        environment = {
            "P2POOL_CONFIG": str(self.directory / "config.toml"),
            "P2POOL_PASSPHRASE_FILE": str(parent / "passphrase"),
            "P2POOL_AGENT": str(self.directory),
        }
        with readable(stored.encode()) as number:
            line = [*words, "--key", f"fd:{number}"]
            return await done(line, parent, number, **environment)

    async def admit(self, node_id: NodeId) -> None:
        """The validator by transactions, the manager by its command."""
        world, invited, provider = self.shell.world, False, self.provider_address
        chain, validator = world.chain, world.deployment.federator
        while not await chain.in_pool(world.pool_id, node_id):
            node = await chain.node(node_id)
            if not await chain.whitelisted(provider):
                if await chain.provider_exists(provider):
                    await chain.whitelist(validator, provider)
            elif node is not None and not node.validated:
                await chain.validate_node(validator, provider, node_id)
            elif node is not None and not invited:
                await self.by_manager("pool", "invite", address_text(node_id))
                invited = True
            await trio.sleep(POLL_S)


@pytest.fixture
async def place(shell: Shell, tmp_path: Path) -> AsyncIterator[Place]:
    """With a provider who has coin and tokens."""
    clef = new_clef(shell.world.chain.rpc.chain_id)
    with on_socket(clef, tmp_path / "clef.ipc") as provider:
        made = Place(shell, tmp_path / "agent", new_account(), clef, provider)
        await fund(shell.world.chain.rpc, made.provider_address)
        await fund_tokens(shell.world.deployment, made.provider_address)
        yield made


async def test_an_agent_of_init_joins_with_keys_that_are_elsewhere(place: Place) -> None:
    """By the very command that init prints; then the manager ejects it, by a key from a
    descriptor. No key is on disk, and none is remembered."""
    world, clef = place.shell.world, place.clef
    node_id = NodeId(bytes.fromhex(place.node.address[2:]))
    told = await place.init()
    assert told["keys"]["node"]["address"] == address_text(node_id)
    (given,) = re.findall(r"fd:[0-9]+", told["next"][1])
    clef.asked.clear()
    with readable(bytes(place.node.key).hex().encode()) as number, trio.fail_after(WITHIN_S):
        words = shlex.split(told["next"][1].replace(given, f"fd:{number}"))
        async with agent(words[1:], place.directory.parent / "log", number) as started:
            assert started["node_id"] == address_text(node_id)
            await place.admit(node_id)
            await place.by_manager("pool", "eject", address_text(node_id))
            assert not await world.chain.in_pool(world.pool_id, node_id)
    sent = [params[1] for method, params in clef.asked if method == "account_signTransaction"]
    functions = [text.partition("(")[0] for text in sent]
    assert functions == ["approve", "registerProvider", "addComputeNode", "joinComputePool"]
    assert read_start(place.directory) is None
    found = [path.name for path in place.directory.iterdir()]
    assert not {"node.json", "provider.json"} & set(found)
