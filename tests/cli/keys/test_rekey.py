"""`p2pool node rekey` makes a machine another node: out of the pool first, volumes kept."""

import json
from pathlib import Path

import attrs
import pytest

from p2pool.codec.json.hex import address_text
from p2pool.drivers.config.start_record import read_start, write_start
from p2pool.drivers.keys import keystore
from p2pool.drivers.store.datadir import DataDirLock
from p2pool.drivers.store.former_node import set_aside
from p2pool.model.errors import DataDirInUse, NotAllowed, NotFound, Unavailable
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.cli.keys.machine import Machine
from tests.cli.output.held import held
from tests.cli.plans.sent import check_sent, sent_by, shown
from tests.cli.shell import PASSPHRASE, write_key

pytestmark = pytest.mark.chain


@pytest.fixture
async def machine(world: World, tmp_path: Path) -> Machine:
    """Of a node that is in the pool."""
    provider, node_id = await world.member()
    return Machine.of(world, provider, node_id, tmp_path)


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


async def test_the_old_nodes_stake_is_not_forgotten(machine: Machine) -> None:
    """Its registration binds a part of the stake: the last words say what frees it."""
    result = await machine("--no-drain")
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"p2pool node deregister {address_text(machine.node_id)}" in result.stderr


async def test_a_machine_leaves_as_it_was_shown(machine: Machine) -> None:
    """`node rekey` sends one transaction, as the provider; run again it has none to show."""
    rpc = machine.world.chain.rpc
    dry = held((await machine("--no-drain", "--dry-run", "--json")).stdout)
    since = await rpc.quantity("eth_blockNumber")
    done = await machine("--no-drain", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    provider = json.loads(Path(machine.provider).read_text())["address"]
    account = bytes.fromhex(provider.removeprefix("0x"))
    assert dry["account"] == address_text(account)
    steps = shown(dry)
    assert [one["function"].partition("(")[0] for one in steps] == ["leaveComputePool"]
    check_sent(dry, steps, await sent_by(rpc, Address(account), since))
    again = held((await machine("--no-drain", "--dry-run", "--json")).stdout)
    assert (again["would_send"], again["steps"]) == ([], [])
