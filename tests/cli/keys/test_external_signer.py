"""Commands whose key another program holds: transactions, invites and requests, on a real chain."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.contracts import fund
from p2pool.model.errors import Misconfigured, NotAllowed
from p2pool.model.ids import Address
from tests.cli.shell import FOUNDER, Shell
from tests.drivers.keys.signers.clef_double import Clef, new_clef, on_socket

pytestmark = pytest.mark.chain


@attrs.frozen
class Held:
    """A shell, the place of a key that it does not have, and who holds that."""

    shell: Shell
    place: str
    clef: Clef

    @property
    def address(self) -> Address:
        """The account."""
        return Address(bytes.fromhex(self.clef.accounts[0].address[2:]))


@pytest.fixture
async def held(shell: Shell, tmp_path: Path) -> AsyncIterator[Held]:
    """With a funded account."""
    clef = new_clef(shell.world.chain.rpc.chain_id)
    with on_socket(clef, tmp_path / "clef.ipc") as place:
        made = Held(shell, place, clef)
        await fund(shell.world.chain.rpc, made.address)
        yield made


async def test_a_pool_is_created_started_and_ended(held: Held) -> None:
    """Each transaction is shown over there first, by the name of its function."""
    shell, key = held.shell, ("--key", held.place)
    made = await shell.done("create", "--name", "held", *key)
    assert made["creator"] == address_text(held.address)
    pool = str(made["pool_id"])
    await shell.done("start", pool, "--founder", FOUNDER, *key)
    assert (await shell.done("end", pool, "--yes", *key))["pool_id"] == made["pool_id"]
    named = [params[1] for method, params in held.clef.asked if "Transaction" in method]
    assert [text.partition("(")[0] for text in named] == [
        "createComputePool",
        "startComputePool",
        "updateComputePoolURI",
        "endComputePool",
    ]


async def test_a_dry_run_asks_for_no_signature(held: Held) -> None:
    """It asks whose key it is, unless the words say so."""
    dry = await held.shell.done("create", "--name", "x", "--key", held.place, "--dry-run")
    assert address_text(held.address) in dry["would_send"][0]
    assert {method for method, _ in held.clef.asked} == {"account_version", "account_list"}
    held.clef.asked.clear()
    named = f"{held.place}#{address_text(held.address)}"
    await held.shell.done("create", "--name", "x", "--key", named, "--dry-run")
    assert held.clef.asked == []


async def test_a_refusal_over_there_sends_nothing(held: Held) -> None:
    """And says where to approve; a passphrase for it is a mistake."""
    held.clef.approve = lambda method, params: "Transaction" not in method
    error, code = await held.shell.refused("create", "--name", "x", "--key", held.place)
    assert (type(error), code) == (NotAllowed, 3)
    assert "Request denied" in error.message
    words = ("--key", held.place, "--passphrase-file", str(held.shell.config))
    error, code = await held.shell.refused("create", "--name", "x", *words)
    assert (type(error), code) == (Misconfigured, 6)
    rpc = held.shell.world.chain.rpc
    sent = await rpc.quantity("eth_getTransactionCount", address_text(held.address), "latest")
    assert sent == 0
