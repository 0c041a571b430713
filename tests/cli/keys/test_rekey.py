"""`p2pool node rekey` makes a machine another node: out of the pool first, volumes kept."""

import json
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from click.testing import CliRunner, Result
from eth_account import Account

from p2pool.cli import main
from p2pool.codec.json.hex import address_text
from p2pool.drivers.config.start_record import StartRecord, read_start, write_start
from p2pool.drivers.keys import keystore
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.drivers.store.former_node import set_aside
from p2pool.model.errors import DataDirInUse, NotAllowed, NotFound, Unavailable
from p2pool.model.ids import NodeId
from p2pool.wire.account import HasKey
from tests.chain.conftest import World
from tests.cli.output.held import held
from tests.cli.shell import PASSPHRASE, write_config, write_key

pytestmark = pytest.mark.chain


@attrs.frozen
class Machine:
    """A directory of a node that is in the pool, and its provider's key."""

    world: World
    directory: Path
    node_id: NodeId
    provider: Path

    async def __call__(self, *words: str, key: Path | None = None) -> Result:
        """The result of `p2pool node rekey ...`."""
        line = ["node", "rekey", "--data-dir", str(self.directory), "--light", *words]
        line += ["--key", str(key or self.provider)]
        environment = {"P2POOL_PASSPHRASE_FILE": str(self.directory.parent / "passphrase")}
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main.cli, line, env=environment)
        )

    async def in_pool(self) -> bool:
        """Whether the chain has the node in the pool."""
        return await self.world.chain.in_pool(self.world.pool_id, self.node_id)


@pytest.fixture
async def machine(world: World, tmp_path: Path) -> Machine:
    """As an agent leaves it that ran once: keys, a store, a record of its start, a volume."""
    provider, node_id = await world.member()
    account = cast(HasKey, provider._account)
    stored: Any = Account.encrypt(account.key, PASSPHRASE, "pbkdf2", 1)
    (tmp_path / "provider.json").write_text(json.dumps(stored))
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    config, directory = tmp_path / "p2pool.toml", tmp_path / "agent"
    write_config(config, world, world.chain.rpc.endpoints[0].url, world.pool_id)
    config.write_text(config.read_text() + "\n[runtime]\nkind = 'process'\n")
    directory.mkdir(mode=0o700)
    (volume := directory / "containers" / "volumes" / "pool" / "data").mkdir(parents=True)
    (volume / "file").write_text("kept")
    keystore.load_or_make_peer_seed(directory)
    for name in ("store.db", "store.db-wal", "node.json", "api.token"):
        (directory / name).write_text(name)
    record = StartRecord(
        node_id=address_text(node_id),
        config=str(config),
        node_key=str(directory / "node.json"),
        provider_key=str(tmp_path / "provider.json"),
    )
    write_start(directory, record)
    return Machine(world, directory, node_id, tmp_path / "provider.json")


async def test_the_node_leaves_and_the_machine_is_another(machine: Machine) -> None:
    """Keys and store are set aside, volumes and tokens stay, and the next start knows its key."""
    result = await machine("--no-drain", "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    told = held(result.stdout)
    assert not await machine.in_pool()
    assert (told["former"], told["left"]) == (address_text(machine.node_id), True)
    aside = machine.directory / "former" / told["former"]
    assert told["aside"] == str(aside)
    kept = {"start.json", "store.db", "store.db-wal", "peer.key", "node.json"}
    assert {path.name for path in aside.iterdir()} == kept
    assert (machine.directory / "api.token").read_text() == "api.token"
    volume = machine.directory / "containers" / "volumes" / "pool" / "data" / "file"
    assert volume.read_text() == "kept"
    path = machine.directory / "node.json"
    opened = keystore.open_key_file(path, PASSPHRASE, note=lambda text: None)
    assert opened.address == told["node_id"] != told["former"]
    start = read_start(machine.directory)
    assert start is not None
    assert (start.node_id, start.node_key) == (told["node_id"], str(path))
    assert start.provider_key == str(machine.provider)


@pytest.mark.parametrize("remembered", [True, False])
async def test_the_next_start_is_told_with_all_it_needs(machine: Machine, remembered: bool) -> None:
    """Its configuration lies elsewhere: whoever names a provider's key has to name that too."""
    start = read_start(machine.directory)
    assert start is not None
    if not remembered:
        write_start(machine.directory, attrs.evolve(start, provider_key=""))
    result = await machine("--no-drain")
    assert result.exit_code == 0, (result.output, result.exception)
    (told,) = [line for line in result.stderr.splitlines() if line.startswith("next: ")]
    words = f"next: p2pool agent run --data-dir {machine.directory}"
    more = f" --config {start.config} --provider-key {machine.provider}"
    assert told == words + ("" if remembered else more)


async def test_nothing_is_set_aside_while_the_agent_runs(machine: Machine) -> None:
    """The node leaves; run again once the agent has ended, the command goes on."""
    with DataDirLock(machine.directory):
        refused = await machine("--no-drain")
        assert isinstance(refused.exception, DataDirInUse), refused.output
        assert "Stop the agent" in refused.exception.hint
    assert not await machine.in_pool()
    assert (machine.directory / "node.json").read_text() == "node.json"
    again = await machine("--json")
    assert (held(again.stdout)["left"], again.exit_code) == (False, 0)


async def test_without_an_agent_to_drain_it_nothing_is_sent(machine: Machine) -> None:
    """Its copies would be lost; and another provider's key takes nothing out."""
    refused = await machine()
    assert isinstance(refused.exception, Unavailable), refused.output
    assert "--no-drain" in refused.exception.hint
    stranger, _ = write_key(machine.directory.parent, "stranger.json")
    refused = await machine("--no-drain", key=stranger)
    assert isinstance(refused.exception, NotAllowed), refused.output
    dry = await machine("--dry-run", "--json")
    assert "leaveComputePool" in held(dry.stdout)["would_send"][0]
    assert await machine.in_pool()
    assert not (machine.directory / "former").exists()


async def test_a_directory_without_a_start_is_no_node(machine: Machine, tmp_path: Path) -> None:
    """And an interrupted move is ended by the next one."""
    other = attrs.evolve(machine, directory=tmp_path / "agent" / "empty")
    other.directory.mkdir()
    assert isinstance((await other()).exception, NotFound)
    (machine.directory / "peer.key").rename(tmp_path / "elsewhere")
    place = set_aside(machine.directory, machine.node_id)
    (tmp_path / "elsewhere").rename(machine.directory / "peer.key")
    assert set_aside(machine.directory, machine.node_id) == place
    assert (place / "peer.key").exists()
    assert (place / "node.json").exists()
