"""A real agent sends, byte for byte, what its dry run showed, and says on whom it then waits."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from click.testing import CliRunner

from p2pool.agent.agent import run_agent
from p2pool.agent.options import AgentOptions
from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.drivers.config.schema import load_config
from p2pool.model import limits
from p2pool.model.ids import NodeId
from tests.cli.output.held import held
from tests.cli.provider.desk import Desk

pytestmark = pytest.mark.chain

QUIET = """
[network]
listen = ["/ip4/127.0.0.1/tcp/0"]
[api]
bind = "127.0.0.1:0"
[runtime]
kind = "process"
[resources]
gpus = 0
"""


async def dry_run(desk: Desk, *keys: Path) -> Any:
    """What `p2pool agent run --dry-run --json` says."""
    words = ["agent", "run", "--dry-run", "--json", "--data-dir", str(desk.directory / "data")]
    words += ["--config", str(desk.directory / "p2pool.toml"), "--node-key", str(keys[0])]
    words += ["--provider-key", str(keys[1])]
    words += ["--passphrase-file", str(desk.directory / "passphrase")]
    result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main.cli, words))
    assert result.exit_code == 0, (result.output, result.exception)
    return held(result.stdout)


@asynccontextmanager
async def running(options: AgentOptions) -> AsyncIterator[None]:
    """An agent in this process, stopped at the end."""
    stop, up = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_agent, options, stop, lambda _: up.set())
        await up.wait()
        yield
        stop.set()


async def until_status(directory: Path, step: str) -> Any:
    """What `agent status` says of the agent, once it waits at a step and its provider is known."""
    words = ["agent", "status", "--json", "--agent", str(directory)]
    while True:
        result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main.cli, words))
        told = json.loads(result.stdout)["data"]["agent"]
        at = told["joining"]
        known = told["provider"] is not None and told["provider"]["registered"]
        if at is not None and (at["step"], at["progress"]) == (step, "waiting") and known:
            return told
        await trio.testing.wait_all_tasks_blocked(0.05)


async def sent_by(desk: Desk, sender: str) -> list[tuple[str, str]]:
    """To whom and with which bytes an account has sent, oldest first."""
    rpc, found = desk.world.chain.rpc, []
    newest = await rpc.quantity("eth_blockNumber")
    for number in range(newest + 1):
        block = await rpc.request("eth_getBlockByNumber", hex(number), True)
        found += [(t["to"], t["input"]) for t in block["transactions"] if t["from"] == sender]
    return found


async def test_an_agent_sends_what_its_dry_run_showed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, with the validator's part in between; status names the wait and the stake."""
    monkeypatch.setattr(limits, "PROVIDER_POLL_MS", 200)
    world, config = desk.world, desk.directory / "p2pool.toml"
    config.write_text(config.read_text() + QUIET)
    provider = await world.account()
    own = desk.key_of(provider, "own.json")
    key, _, node = desk.node("node.json")
    first = await dry_run(desk, key, own)
    assert (first["name"], first["progress"]) == ("approved", "doing")
    steps = first["plan"]["steps"]
    shown = [(one["to"], one["calldata"]) for one in steps if one["kind"] == "transaction"]
    assert [one["name"] for one in steps if one["kind"] == "transaction"] == [
        "approved",
        "registered",
        "node registered",
    ]
    from eth_account import Account

    from tests.cli.shell import PASSPHRASE

    account = Account.from_key(Account.decrypt(json.loads(key.read_text()), PASSPHRASE))
    options = AgentOptions(
        directory=desk.directory / "data",
        config=load_config(config, {}),
        node=account,
        provider=provider._account,
        skip_checks=True,
    )
    with trio.fail_after(300):
        async with running(options):
            told = await until_status(options.directory, "whitelisted")
            assert told["joining"]["waiting_on"] == "the validator"
            assert address_text(provider.address) in told["joining"]["command"]
            assert told["joining"]["since_ms"] > 0
            stake = await world.chain.stake(provider.address)
            assert told["provider"]["stake_wei"] == str(stake)
            assert any("is not whitelisted" in one for one in told["warnings"])
            assert await sent_by(desk, address_text(provider.address)) == shown[:2]
            await world.chain.whitelist(world.deployment.federator, provider.address)
            told = await until_status(options.directory, "validated")
            assert node in told["joining"]["command"]
            assert await sent_by(desk, address_text(provider.address)) == shown
    last = await dry_run(desk, key, own)
    assert (last["name"], last["waiting_on"]) == ("validated", "the validator")
    assert NodeId(bytes.fromhex(node[2:])) == options.node_id
