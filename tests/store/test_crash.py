"""Crashes and failing disks lose nothing that was acknowledged, and are never glossed over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from p2pool.drivers.store import DATABASE_NAME, Store
from p2pool.model.errors import StoreFailed
from p2pool.model.ports.store import AppendEntries, Put
from tests.store.faults import faulty_disk
from tests.store.samples import POOL, entry

REPOSITORY = Path(__file__).resolve().parents[2]


def write_until_killed(path: Path, acknowledged: int) -> int:
    """Run the crasher, kill -9 it after so many more lines, and return the last one it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.crasher", str(path)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    with process:
        for _ in range(acknowledged):
            last = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        # What it still wrote to the pipe before it died was acknowledged too; a torn line was not.
        rest = process.stdout.read().split(b"\n")[:-1]
    return int((rest or [last])[-1])


async def test_kill_in_the_middle_of_writes_loses_nothing(tmp_path: Path) -> None:
    """Every acknowledged index is there after SIGKILL, each batch whole, three times over."""
    path = tmp_path / "data"
    for round_ in range(3):
        last = await trio.to_thread.run_sync(write_until_killed, path, 20 + 13 * round_)
        async with Store.open(path, POOL) as store:
            entries = store.restored.entries
            assert [e.index for e in entries] == list(range(1, len(entries) + 1))
            assert len(entries) >= last
            assert store.restored.tables["meta"][b"last"] == b"%d" % len(entries)


@pytest.mark.parametrize("cut", [1, 100, 4_000, 9_000])
async def test_a_torn_tail_is_as_if_never_written(tmp_path: Path, cut: int) -> None:
    """With the write-ahead log cut short, the store opens with a prefix of whole batches."""
    path, torn = tmp_path / "data", tmp_path / "torn"
    async with Store.open(path, POOL) as store:
        for index in range(1, 21):
            await store.write((AppendEntries((entry(index),)), Put("meta", b"n", b"%d" % index)))
        torn.mkdir(mode=0o700)
        for name in (DATABASE_NAME, DATABASE_NAME + "-wal"):
            (torn / name).write_bytes((path / name).read_bytes())
    wal = torn / (DATABASE_NAME + "-wal")
    os.truncate(wal, wal.stat().st_size - cut)
    async with Store.open(torn, POOL) as store:
        count = len(store.restored.entries)
        assert 0 < count < 20
        assert [e.index for e in store.restored.entries] == list(range(1, count + 1))
        assert store.restored.tables["meta"][b"n"] == b"%d" % count


@pytest.mark.parametrize("fault", ["full", "sync_fails"])
async def test_a_disk_error_stops_all_promises(tmp_path: Path, fault: str) -> None:
    """The write that fails says so, the store refuses from then on, and a restart has the rest."""
    path = tmp_path / "data"
    with faulty_disk() as disk:
        async with Store.open(path, POOL, vfs="faulty") as store:
            await store.write((Put("meta", b"before", b"1"),))
            assert disk.syncs > 0
            setattr(disk, fault, True)
            with pytest.raises(StoreFailed):
                await store.write((Put("meta", b"during", b"1"),))
            setattr(disk, fault, False)
            with pytest.raises(StoreFailed):
                await store.write((Put("meta", b"after", b"1"),))
    async with Store.open(path, POOL) as store:
        kept = store.restored.tables["meta"]
        assert b"before" in kept
        assert b"after" not in kept


async def test_every_waiting_writer_hears_of_the_failure(tmp_path: Path) -> None:
    """None of the writers in the failed group, nor behind it, is left waiting."""
    failed = []

    async def try_to_write(store: Store, number: int) -> None:
        try:
            await store.write((Put("meta", b"%d" % number, b"v"),))
        except StoreFailed as error:
            failed.append(str(error))

    with faulty_disk() as disk:
        async with Store.open(tmp_path / "data", POOL, vfs="faulty") as store:
            disk.full = True
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(try_to_write, store, number)
            disk.full = False
    assert len(failed) == 30
    assert "the disk is full" in failed[0]


async def test_each_write_waits_for_a_sync(tmp_path: Path) -> None:
    """An acknowledgement without a sync of the disk before it would be a lie."""
    with faulty_disk() as disk:
        async with Store.open(tmp_path / "data", POOL, vfs="faulty") as store:
            for number in range(5):
                before = disk.syncs
                await store.write((Put("meta", b"%d" % number, b"v"),))
                assert disk.syncs > before


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """Garbage where the database was is an error that says what to do, not a fresh start."""
    path = tmp_path / "data"
    async with Store.open(path, POOL):
        pass
    (path / DATABASE_NAME).write_bytes(b"garbage" * 4096)
    with pytest.raises(StoreFailed, match="damaged"):
        async with Store.open(path, POOL):
            pass
