"""An agent, and a bootstrap node, start on their own data directory and on nobody else's."""

from pathlib import Path

import pytest
import trio

from p2pool.agent.agent import run_agent
from p2pool.agent.bootstrap import run_bootstrap
from p2pool.agent.options import AgentOptions, BootstrapOptions
from p2pool.dev.chain.contracts import new_account
from p2pool.model.errors import DataDirInUse
from tests.first_run.harness.configuration import config_of


async def agent(path: Path, options: AgentOptions) -> str:
    """Runs an agent to its start, and stops it; what refused it, or nothing."""
    stop = trio.Event()
    why = ""
    try:
        with trio.fail_after(60):
            await run_agent(options, stop, lambda url: stop.set())
    except* DataDirInUse as refused:
        why = str(refused.exceptions[0])
    return why


async def test_a_directory_is_for_one_node_key_alone(tmp_path: Path) -> None:
    """Run once with another key, it would be read as a node's that left the pool."""
    path, node = tmp_path / "data", new_account()
    own = AgentOptions(path, config_of(), node, skip_checks=True)
    other = AgentOptions(path, config_of(), new_account(), skip_checks=True)
    assert await agent(path, own) == ""
    assert node.address.lower() in await agent(path, other)
    options = BootstrapOptions(path, config_of().pool_ref, ("/ip4/127.0.0.1/tcp/0",))
    with pytest.raises(DataDirInUse, match="not to a bootstrap node"):
        await run_bootstrap(options, trio.Event(), lambda addresses: None)
    assert await agent(path, own) == ""
