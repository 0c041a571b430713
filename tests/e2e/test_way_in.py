"""`agent run --dry-run` names the transactions that the agent then sends, and their order."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from eth_account import Account

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.join_driver import INVITE_FILE_NAME
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.ids import NodeId
from tests.chain.conftest import World, anvil, deployment, world
from tests.chain.harness import acts
from tests.cli.output.held import held
from tests.cli.plans.sent import check_sent, sent_by, shown
from tests.cli.provider.desk import Desk
from tests.cli.shell import write_config

__all__ = ["anvil", "deployment", "world"]

pytestmark = [pytest.mark.e2e, pytest.mark.chain]

POLL_S = 0.1
MINIMUM = 10**15


@attrs.define
class Newcomer:
    """A machine whose agent takes its node into the pool, with its provider's key."""

    desk: Desk
    provider: KeyWriter
    node_id: NodeId

    def line(self, *words: str) -> list[str]:
        """The words of `p2pool agent run ...`."""
        at = self.desk.directory
        line = ["agent", "run", "--json", "--data-dir", str(at / "data")]
        line += ["--config", str(at / "p2pool.toml"), "--passphrase-file", str(at / "passphrase")]
        line += ["--node-key", str(at / "node.json"), "--provider-key", str(at / "own.json")]
        return [*line, *words]

    async def dry(self, *words: str) -> Any:
        """The document of a dry run."""
        done = await trio.run_process(
            [sys.executable, "-m", "p2pool", *self.line("--dry-run", *words)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return held(done.stdout.decode())

    @contextmanager
    def agent(self, *words: str) -> Iterator[None]:
        """The agent, until the block ends."""
        with (self.desk.directory / "log").open("ab") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", "p2pool", *self.line("--skip-checks", *words)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ},
            )
            try:
                yield
            finally:
                program.terminate()
                program.wait(60)

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Wait for what the chain has then; the log says what the agent did instead."""
        try:
            with trio.fail_after(90):
                while True:
                    if await done():
                        return
                    await trio.sleep(POLL_S)
        except trio.TooSlowError:
            raise AssertionError((self.desk.directory / "log").read_text()[-3000:]) from None

    async def since(self) -> int:
        """The newest block."""
        return await self.desk.world.chain.rpc.quantity("eth_blockNumber")

    async def check(self, dry: Any, steps: Sequence[Any], since: int) -> None:
        """That the provider has sent these steps since a block, and nothing else."""
        sent = await sent_by(self.desk.world.chain.rpc, self.provider.address, since)
        check_sent(dry["plan"], steps, sent)


@pytest.fixture
async def newcomer(world: World, tmp_path: Path) -> Newcomer:
    """Its provider is new, too; the machine shows no GPU to either."""
    desk = Desk.of(world, tmp_path)
    provider = await desk.world.account()
    desk.key_of(provider, "own.json")
    _, node_id, _ = desk.node("node.json")
    config = desk.directory / "p2pool.toml"
    write_config(config, desk.world, desk.world.chain.rpc.endpoints[0].url, desk.world.pool_id)
    more = "[runtime]\nkind = 'process'\n[api]\nbind = '127.0.0.1:0'\n"
    more += "[network]\nlisten = ['/ip4/127.0.0.1/tcp/0']\n"
    config.write_text(config.read_text() + "\n" + more)
    (desk.directory / "data").mkdir(mode=0o700)
    return Newcomer(desk, provider, node_id)


async def test_the_agent_sends_what_its_dry_run_named(newcomer: Newcomer) -> None:
    """Before the first wait and behind it; the join is named once its invite is there."""
    world, chain = newcomer.desk.world, newcomer.desk.world.chain
    provider, node_id = newcomer.provider.address, newcomer.node_id
    first = await newcomer.dry()
    assert first["name"] == "approved"
    steps = shown(first["plan"], ready=False)
    names = [one["function"].partition("(")[0] for one in steps]
    assert names == ["approve", "registerProvider", "addComputeNode"]
    assert len(first["would_send"]) == 2
    since = await newcomer.since()

    async def registered() -> bool:
        return await chain.provider_exists(provider)

    async def added() -> bool:
        return await chain.node(node_id) is not None

    async def joined() -> bool:
        return await chain.in_pool(world.pool_id, node_id)

    with newcomer.agent():
        await newcomer.until(registered)
        await chain.whitelist(world.deployment.federator, provider)
        await newcomer.until(added)
    await newcomer.check(first, steps, since)
    await chain.validate_node(world.deployment.federator, provider, node_id)
    invite = await newcomer.desk.invite(node_id)
    waits = await newcomer.dry()
    assert (waits["name"], waits["progress"], waits["would_send"]) == ("invited", "waiting", [])
    (newcomer.desk.directory / "data" / INVITE_FILE_NAME).write_text(invite.read_text())
    second = await newcomer.dry()
    steps = shown(second["plan"])
    assert [one["function"].partition("(")[0] for one in steps] == ["joinComputePool"]
    since = await newcomer.since()
    with newcomer.agent():
        await newcomer.until(joined)
    await newcomer.check(second, steps, since)
    done = await newcomer.dry()
    assert (done["name"], done["progress"], done["would_send"]) == ("joined", "done", [])


async def test_a_stake_that_nobody_allowed_is_a_wait(newcomer: Newcomer) -> None:
    """The whole way is shown all the same, so that its owner learns what to allow."""
    dry = await newcomer.dry("--stake-max", "0.0001")
    assert (dry["name"], dry["progress"]) == ("stake", "waiting")
    assert dry["command"] == "p2pool agent run --stake-max 0.002"
    assert len(shown(dry["plan"], ready=False)) == 3


async def test_what_a_slash_took_is_named_where_it_may_be_added(newcomer: Newcomer) -> None:
    """With --stake-top-up the agent adds it first, as shown; without, the dry run has no such
    step."""
    world, chain = newcomer.desk.world, newcomer.desk.world.chain
    provider = newcomer.provider
    await acts.approve(chain, provider, 2 * MINIMUM)
    await acts.register_provider(chain, provider, 2 * MINIMUM)
    await chain.whitelist(world.deployment.federator, provider.address)
    stored = json.loads((newcomer.desk.directory / "node.json").read_text())
    secret = (newcomer.desk.directory / "passphrase").read_text()
    await acts.add_compute_node(
        chain, provider, Account.from_key(Account.decrypt(stored, secret)), 1
    )
    slash = function("PrimeNetwork", "slash")
    await world.deployment.federator.send(chain.at.network, slash, provider.address, MINIMUM, b"")
    bare = await newcomer.dry()
    assert (bare["name"], bare["progress"], bare["would_send"]) == ("stake", "waiting", [])
    words = ("--stake-top-up", "--stake-max", "0.002")
    dry = await newcomer.dry(*words)
    steps = shown(dry["plan"])
    assert [one["function"].partition("(")[0] for one in steps] == ["approve", "increaseStake"]
    since = await newcomer.since()

    async def made_good() -> bool:
        return await chain.stake(provider.address) == 2 * MINIMUM

    with newcomer.agent(*words):
        await newcomer.until(made_good)
    await newcomer.check(dry, steps, since)
    assert dry["plan"]["account"] == address_text(provider.address)
