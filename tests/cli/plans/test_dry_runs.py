"""What a keeper's or a machine's command sends is what its dry run named, to the last byte."""

import json
from pathlib import Path

import pytest

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.transactions.writer import KeyWriter
from tests.cli.keys.test_rekey import Machine, machine
from tests.cli.output.held import held
from tests.cli.plans.sent import check_sent, sent_by, shown
from tests.cli.record.test_move import Founded, founded
from tests.cli.shell import FOUNDER, NEEDS, PEER, Shell, new_pool

__all__ = ["founded", "machine"]

pytestmark = pytest.mark.chain

BOOTSTRAP = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"


async def agrees(shell: Shell, *words: str, yes: bool = False) -> list[str]:
    """The functions of what a command sent, once it is what its dry run had shown."""
    rpc = shell.world.chain.rpc
    dry = await shell.done(*words, "--dry-run")
    assert (dry["dry_run"], dry["transaction"], dry["earlier"]) == (True, None, None)
    since = await rpc.quantity("eth_blockNumber")
    await shell.done(*words, *(("--yes",) if yes else ()))
    steps = shown(dry)
    assert len(steps) == len(dry["would_send"])
    check_sent(dry, steps, await sent_by(rpc, shell.address, since))
    return [one["function"].partition("(")[0] for one in steps]


async def nothing_left(shell: Shell, *words: str) -> None:
    """The dry run of what is done names no transaction."""
    dry = await shell.done(*words, "--dry-run")
    assert (dry["would_send"], dry["steps"], dry["transaction"]) == ([], [], None)


async def test_a_pool_is_created_as_it_was_shown(shell: Shell) -> None:
    """In one transaction."""
    words = ("create", "--name", "mine", "--data-uri", NEEDS, "--bootstrap", BOOTSTRAP)
    assert await agrees(shell, *words) == ["createComputePool"]


async def test_a_pool_is_started_as_it_was_shown(shell: Shell) -> None:
    """In two, the second of them not possible before the first; then nothing is left."""
    pool = await new_pool(shell)
    words = ("start", str(pool), "--founder", FOUNDER)
    assert await agrees(shell, *words) == ["startComputePool", "updateComputePoolURI"]
    await nothing_left(shell, *words)


async def test_requirements_change_as_it_was_shown(shell: Shell) -> None:
    """And a second time there is nothing to show."""
    pool = await new_pool(shell, "--data-uri", NEEDS)
    words = ("set-requirements", "gpu:count=4;ram_mb=64000", "--pool", str(pool))
    assert await agrees(shell, *words) == ["updateComputePoolURI"]
    await nothing_left(shell, *words)


async def test_a_root_record_moves_and_is_restored_as_it_was_shown(founded: Founded) -> None:
    """The contract is created, written, and the data URI cleaned; a lost record is written."""
    shell = founded.shell
    number, chain = founded.pool.pool_id, shell.world.chain
    uri, _ = await founded.texts()
    writer = KeyWriter(chain.rpc, shell.account())
    await chain.update_uri(writer, number, NEEDS)
    restored = await agrees(shell, *founded.words("root", "--restore"), yes=True)
    assert restored == ["updateComputePoolURI"]
    await nothing_left(shell, *founded.words("root", "--restore"))
    await chain.update_uri(writer, number, uri)
    moved = await agrees(shell, *founded.words("root", "--move"), yes=True)
    assert len(moved) == 3
    assert moved[1:] == ["setRecord", "updateComputePoolURI"]
    await nothing_left(shell, *founded.words("root", "--move"))


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
    check_sent(dry, steps, await sent_by(rpc, type(machine.node_id)(account), since))
    again = held((await machine("--no-drain", "--dry-run", "--json")).stdout)
    assert (again["would_send"], again["steps"]) == ([], [])
