"""Whoever is not in the pool gets nothing from it: no task, vote, heartbeat or log line."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.dev.chain.contracts import fund, fund_tokens, new_account
from p2pool.dev.pool import PASSPHRASE, DevAgent
from p2pool.dev.processes import spawn, wait_line
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.config.schema import ResourcesConfig, load_config, write_config
from p2pool.drivers.keys.keystore import import_key_file, load_account
from p2pool.model.ids import Address, NodeId
from tests.chain.harness import acts
from tests.e2e.conftest import p2pool
from tests.e2e.harness.actions import ENDLESS, Acting

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.chain]

REFUSED = 3


@pytest.fixture
def home() -> Iterator[Path]:
    """Where the stranger lives; gone after the test, with its keys."""
    with tempfile.TemporaryDirectory(prefix="p2s", dir="/tmp") as name:
        yield Path(name)


@asynccontextmanager
async def stranger(
    acting: Acting, name: str, registered: bool, home: Path
) -> AsyncIterator[DevAgent]:
    """An agent that is not in the pool; `registered`: whitelisted and validated all the same."""
    pool = acting.pool
    config = load_config(pool.directory / "agent-1.toml", {})
    config = attrs.evolve(config, resources=ResourcesConfig(gpus=0))
    write_config(config, home / "config.toml")
    node, provider = new_account(), new_account()
    import_key_file(
        home / "node.json", bytes(node.key), PASSPHRASE, light=True, note=lambda text: None
    )
    if registered:
        at = config.chain.addresses
        rpc = Rpc.to(config.chain.id, config.chain.endpoints)
        chain = PoolContracts(
            rpc, Addresses(at.network, at.pool, at.registry, at.stake, at.domains, at.token)
        )
        key = pool.directory / "keys" / "validator.json"
        validator = KeyWriter(rpc, load_account(key, PASSPHRASE, note=lambda text: None))
        await _register(chain, validator, KeyWriter(rpc, provider), node)
    passphrase = pool.directory / "keys" / "passphrase"
    child, output = spawn(
        name,
        [
            "agent",
            "run",
            "--data-dir",
            str(home / "data"),
            "--config",
            str(home / "config.toml"),
            "--node-key",
            str(home / "node.json"),
            "--passphrase-file",
            str(passphrase),
            "--json",
        ],
        home,
        {},
    )
    provider_address = Address(bytes.fromhex(provider.address[2:]))
    agent = DevAgent(9, home / "data", node.address.lower(), provider_address, child)
    try:
        await wait_line(child, output)
        yield agent
    finally:
        with trio.CancelScope(shield=True):
            await child.stop()


async def _register(
    chain: PoolContracts, validator: KeyWriter, provider: KeyWriter, node: object
) -> None:
    """The whole way, but for the invite."""
    from p2pool.dev.chain.contracts import Deployment

    deployment = Deployment(chain, validator, 0)
    await fund(chain.rpc, provider.address)
    await fund_tokens(deployment, provider.address)
    stake_wei = 10 * await chain.stake_needed(provider.address, 1)
    await acts.approve(chain, provider, stake_wei)
    await acts.register_provider(chain, provider, stake_wei)
    await chain.whitelist(validator, provider.address)
    await acts.add_compute_node(chain, provider, node, 1)  # type: ignore[arg-type]
    node_id = NodeId(bytes.fromhex(node.address[2:]))  # type: ignore[attr-defined]
    await chain.validate_node(validator, provider.address, node_id)


@pytest.mark.parametrize("registered", [True, False], ids=["stranger", "outsider"])
async def test_strangers_get_nothing(pool_directory: Path, home: Path, registered: bool) -> None:
    """They may say hello and learn who is there; that is all."""
    acting = Acting.on(pool_directory)
    first = acting.agents[0]
    async with stranger(acting, f"stranger-{registered}", registered, home) as outside:

        async def met() -> bool:
            about = await outside.get("/v1/agent")
            return bool(
                about["agent"]["peers_connected"] >= 3 and about["meta"]["roster_block"] is not None
            )

        await acting.pool.wait("stranger that is connected to all", met)
        # Something happens in the pool that all its members hear of.
        task = acting.submit(first, "members-only", f"echo secret; {ENDLESS}", "--replicas", "3")
        copies = await acting.wait_states(first, task, "running", "running", "running")
        about = (await outside.get("/v1/agent"))["agent"]
        assert not about["ready"]
        assert about["role"] == "idle"
        assert any("not in the pool" in problem for problem in about["problems"])
        assert (await outside.get("/v1/tasks"))["tasks"] == []
        heard = (await outside.get("/v1/nodes"))["nodes"]
        assert {node["last_heard_ms"] for node in heard} == {0}
        for agent in acting.agents:
            names = [n["node_id"] for n in (await agent.get("/v1/nodes"))["nodes"]]
            assert outside.node_id not in names
            members = (await agent.get("/v1/committee"))["committee"]["members"]
            assert outside.node_id not in [m["node_id"] for m in members]
        assert outside.node_id not in {copy["node_id"] for copy in copies}
        assert await acting_containers(acting, outside) == {}
        environment = acting.environment(outside, "manager")
        read = p2pool("task", "logs", task, **environment)
        assert read.returncode != 0
        assert "secret" not in read.stdout
        await acting.stop_task(first, task)


async def acting_containers(acting: Acting, outside: DevAgent) -> dict[str, int]:
    """Containers of the stranger on the shared engine."""
    from p2pool.dev.cleanup import runtime_of

    path = acting.pool.directory / "agent-1.toml"
    found = await runtime_of(path, outside.directory, outside.node_id).list()
    return {str(status.allocation): status.started_at_ms for status in found}
