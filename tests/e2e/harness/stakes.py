"""A provider of a pool that runs takes back what it staked, by commands, and the chain's clock."""

from collections.abc import Callable, Mapping
from typing import Any

import trio
from click.testing import CliRunner

from p2pool.cli import main
from p2pool.dev.chain.contracts import UNBONDING_S
from p2pool.drivers.chain.rpc import Rpc
from tests.cli.output.held import held

Command = Callable[..., Any]
"""Runs `p2pool WORDS --json` with the provider's key; what it says."""


def command_with(environment: Mapping[str, str]) -> Command:
    """Commands in this process, which start faster than processes of their own."""

    def run(*words: str) -> Any:
        done = CliRunner().invoke(main.cli, [*words, "--json"], env=dict(environment))
        assert done.exit_code == 0, (words, done.output, done.exception)
        return held(done.stdout)

    return run


async def take_stake_back(command: Command, rpc: Rpc, *nodes: str) -> list[str]:
    """Deregister nodes that are out of their pools, then the provider; all its tokens come back.

    Each command's dry run names what the command then sends. Returns the functions that were sent,
    in order.
    """
    sent: list[str] = []

    async def does(*words: str) -> None:
        dry = await trio.to_thread.run_sync(lambda: command(*words, "--dry-run"))
        done = await trio.to_thread.run_sync(lambda: command(*words))
        named = [(one["to"], one["calldata"]) for one in dry["steps"] if is_call(one)]
        steps = [one for one in done["steps"] if is_call(one) and one["transaction"]]
        found = [(one["to"], one["calldata"]) for one in steps]
        assert named == found != [], (words, dry, done)
        sent.extend(one["function"].partition("(")[0] for one in steps)

    async def unbond() -> None:
        await rpc.request("evm_increaseTime", hex(UNBONDING_S + 1))
        await rpc.request("anvil_mine", "0x1")

    for node in nodes:
        await does("node", "deregister", node)
    await does("provider", "stake", "reclaim")
    await unbond()
    await does("provider", "withdraw")
    await does("provider", "deregister", "--yes")
    await unbond()
    await does("provider", "withdraw")
    return sent


def is_call(step: Any) -> bool:
    """Whether a step of a plan is a transaction that can be sent at once."""
    return bool(step["kind"] == "transaction" and step["ready"])
