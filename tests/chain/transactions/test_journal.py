"""What is on its way outlives a process: its form on disk, and what is not taken for it."""

import json
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.dev.chain.anvil import Anvil
from p2pool.dev.chain.contracts import fund, new_account
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.transactions import record
from p2pool.drivers.chain.transactions.fees import Fees
from p2pool.drivers.chain.transactions.journal import FileJournal
from p2pool.drivers.chain.transactions.record import Call
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.drivers.store.datadir import prepare_directory
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, Unavailable
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.chain.harness import acts
from tests.chain.transactions.geth_pool import geth_pool
from tests.chain.transactions.kept import ACCOUNT, KEPT, OLD

GOLDEN = """{
 "format": 1,
 "chain_id": 1,
 "first_block": "0x0101010101010101010101010101010101010101010101010101010101010101",
 "account": "0x000102030405060708090a0b0c0d0e0f10111213",
 "nonce": 5,
 "call": "approve",
 "to": "0x2222222222222222222222222222222222222222",
 "data": "0x0102",
 "gas": 46000,
 "attempts": [
  {
   "hash": "0xabababababababababababababababababababababababababababababababab",
   "fee_wei": 11,
   "tip_wei": 2,
   "sent_ms": 1700000000000,
   "block_number": 99
  },
  {
   "hash": "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
   "fee_wei": 14,
   "tip_wei": 3,
   "sent_ms": 1700000005000,
   "block_number": 101
  }
 ],
 "raw": "0x02f8"
}
"""


def test_the_form_on_disk() -> None:
    """It does not change by accident: a later version reads what this one left."""
    assert record.write(KEPT).decode() == GOLDEN
    assert record.read(GOLDEN.encode()) == KEPT
    created = attrs.evolve(
        KEPT,
        call=Call("creating PoolRoot", None, b"\x60"),
        first_block=None,
        attempts=(attrs.evolve(OLD, fees=Fees(9, 9, legacy=True)),),
    )
    assert record.read(record.write(created)) == created


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"nonce": -1},
        {"nonce": "5"},
        {"account": "0x00"},
        {"data": "0102"},
        {"attempts": []},
        {"attempts": [{}] * 2},
        {"attempts": [json.loads(GOLDEN)["attempts"][0]] * (limits.TRANSACTION_ATTEMPTS_MAX + 1)},
        {"to": 5},
        {"raw": None},
        {"first_block": "0x01"},
    ],
)
def test_anything_else_is_damaged(change: dict[str, object]) -> None:
    """It is never read as another transaction, or as none."""
    with pytest.raises(Malformed):
        record.read(json.dumps({**json.loads(GOLDEN), **change}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000])
async def test_a_damaged_file_stops_whoever_sends(data: bytes, tmp_path: Path) -> None:
    """With what to do: to take it for none could send a second time."""
    journal = FileJournal.of(tmp_path, 1, ACCOUNT)
    async with journal.held():
        journal.path.write_bytes(data)
        with pytest.raises(Misconfigured, match="is damaged") as damaged:
            await journal.load()
    assert "remove the file" in damaged.value.hint


async def test_it_is_kept_whole_for_its_owner_alone(tmp_path: Path) -> None:
    """And is gone once it is cleared."""
    journal = FileJournal.of(tmp_path, 1, ACCOUNT)
    async with journal.held():
        assert await journal.load() is None
        await journal.save(KEPT)
        assert await journal.load() == KEPT
        assert [p.stat().st_mode & 0o777 for p in journal.path.parent.iterdir()] == [0o600] * 2
        assert journal.path.parent.stat().st_mode & 0o777 == 0o700
        await journal.clear()
        await journal.clear()
        assert await journal.load() is None


async def test_a_data_directory_that_it_makes_is_as_private_as_an_agent_wants_it(
    tmp_path: Path,
) -> None:
    """A command that sends before anything else ran here leaves a directory in which an agent, or
    a validator, begins."""
    directory = tmp_path / "home" / "p2pool"
    async with FileJournal.of(directory, 1, ACCOUNT).held():
        pass
    prepare_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_disk_that_refuses_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """The folder's place is taken by a file."""
    (tmp_path / "transactions").write_text("")
    with pytest.raises(StoreFailed, match="cannot be kept"):
        async with FileJournal.of(tmp_path, 1, ACCOUNT).held():
            pytest.fail("it was held")


async def test_a_file_in_place_of_the_data_directory_is_named(tmp_path: Path) -> None:
    """Nobody else could read it either: `P2POOL_AGENT` names a file."""
    (file := tmp_path / "passwd").write_text("")
    journal = FileJournal.of(file, 1, ACCOUNT)
    with pytest.raises(Misconfigured, match="passwd is no directory") as told:
        await journal.load()
    assert "P2POOL_AGENT" in told.value.hint
    with pytest.raises(Misconfigured, match="passwd is no directory"):
        async with journal.held():
            pytest.fail("it was held")


async def test_who_holds_it_for_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process: a wait has an end."""
    monkeypatch.setattr(limits, "TRANSACTION_DEADLINE_MS", 1)
    async with FileJournal.of(tmp_path, 1, ACCOUNT).held():
        with pytest.raises(Unavailable, match=r"it holds .*\.lock"):
            async with FileJournal.of(tmp_path, 1, ACCOUNT).held():
                pytest.fail("both held it")
    async with FileJournal.of(tmp_path, 1, ACCOUNT).held():
        pass


@pytest.mark.chain
async def test_what_was_sent_on_another_chain_is_not_sent_on_this_one(
    world: World, anvil: Anvil, tmp_path: Path
) -> None:
    """A chain that began anew has the same id, and the same account with lower numbers."""
    account = new_account()
    address = Address(bytes.fromhex(account.address[2:]))
    await fund(world.chain.rpc, address)
    journal = FileJournal.of(tmp_path, 31337, address)
    with trio.fail_after(60):
        async with geth_pool(anvil) as pool:
            chain = PoolContracts(pool.rpc(), world.chain.at)
            other = KeyWriter(pool.rpc(), account)
            call = function("AIToken", "approve").call(world.chain.at.network, 1)
            prepared = await other._prepare(Call("approve", world.chain.at.token, call), 0)
            assert prepared.first_block is not None
            async with journal.held():
                await journal.save(attrs.evolve(prepared, first_block="0x" + "01" * 32))
            await acts.approve(chain, KeyWriter(pool.rpc(), account, journal=journal), 7)
    assert [one.hash == prepared.last.hash for one in pool.taken] == [False]
    assert await acts.allowance(world.chain, address) == 7
