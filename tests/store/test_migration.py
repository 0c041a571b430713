"""A store of an earlier version becomes one of this version whole, or stays what it was."""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import apsw
import pytest
import trio
from structlog.testing import capture_logs

from p2pool import __version__
from p2pool.drivers.store import DATABASE_NAME, DataDirLock, Store
from p2pool.drivers.store.migrations import migration
from p2pool.drivers.store.migrations.migration import Migrated, migrate
from p2pool.drivers.store.migrations.steps import STEPS
from p2pool.model.errors import DataDirInUse, P2poolError, StoreFailed, TooOld
from p2pool.model.ports.store import Put
from tests.golden.released import pool_of, unpack
from tests.store.faults import faulty_disk
from tests.store.samples import OTHER_POOL
from tests.store.samples import POOL as NEW_POOL

POOL = pool_of("0.1.0")
BACKUP_NAME = "store.db.0.1.0.bak"
OWN_FILES = (migration.__file__, *(sys.modules[step.run.__module__].__file__ for step in STEPS))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The store that an agent of 0.1.0 left."""
    return unpack("0.1.0", "agent-1", tmp_path / "data") / DATABASE_NAME


def held(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, whichever version wrote them."""
    db = apsw.Connection(
        f"file:{file}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        names = [
            name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")
        ]
        return {name: list(db.execute(f"SELECT * FROM {name}")) for name in sorted(names)}
    finally:
        db.close()


def names(file: Path) -> list[str]:
    """What lies in the directory, less what is not the store's."""
    return sorted(p.name for p in file.parent.iterdir() if p.name.startswith(DATABASE_NAME))


def untouched(file: Path, before: dict[str, list[tuple[Any, ...]]]) -> bool:
    """The old store is there as it was, and nothing beside it."""
    return names(file) == [DATABASE_NAME] and held(file) == before


async def test_a_store_is_migrated_once_and_its_backup_kept(file: Path) -> None:
    """The first opening does it and says so, with the old bytes beside it; the second does not."""
    before = held(file)
    with capture_logs() as told:
        async with Store.open(file.parent, POOL) as store:
            backup = file.with_name(BACKUP_NAME)
            assert store.migrated == Migrated("0.1.0", "0.2.0", backup)
            assert store.restored.snapshot is not None
    said = f"migrated the store from 0.1.0 to 0.2.0, backup at {backup}"
    assert said in [line["event"] for line in told]
    assert held(backup) == before
    assert names(file) == [DATABASE_NAME, BACKUP_NAME]
    for kept in (file, backup):
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    async with Store.open(file.parent, POOL) as store:
        assert store.migrated is None
    assert names(file) == [DATABASE_NAME, BACKUP_NAME]


def test_a_migrated_store_has_the_tables_of_a_new_one(file: Path, tmp_path: Path) -> None:
    """Columns, types and defaults are the same, so that the next step meets one form."""

    def tables(path: Path) -> set[tuple[Any, ...]]:
        db = apsw.Connection(str(path))
        try:
            found = list(db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))
            return {
                (name, *column)
                for (name,) in found
                for column in db.execute(f"PRAGMA table_info({name})")
            } | {("user_version", db.pragma("user_version"))}
        finally:
            db.close()

    async def make() -> None:
        async with Store.open(tmp_path / "new", NEW_POOL):
            pass

    trio.run(make)
    migrate(file, POOL)
    assert tables(file) == tables(tmp_path / "new" / DATABASE_NAME)


Line = tuple[str, str, int]
"""A file, a function in it, and a line there."""


def tracer(at: Callable[[Line], object]) -> Any:
    """Calls `at` before each line of the migration that is about to run."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if code.co_filename not in OWN_FILES:
            return None
        if event == "line":
            at((code.co_filename, code.co_name, frame.f_lineno))
        return trace

    return trace


def lines_of(file: Path) -> list[Line]:
    """The lines that a migration runs, each once, as they come."""
    seen: dict[Line, None] = {}
    before = sys.gettrace()
    sys.settrace(tracer(lambda line: seen.setdefault(line)))
    try:
        migrate(file, POOL)
    finally:
        sys.settrace(before)
    return list(seen)


def killed_at(line: Line, file: Path) -> bool:
    """Migrate in a process that dies at a line; False where it did not come there."""
    process = os.fork()
    if process == 0:
        sys.settrace(tracer(lambda at: os._exit(9) if at == line else None))
        try:
            migrate(file, POOL)
            os._exit(0)
        finally:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, 9), f"the migration failed at {line}"
    return status == 9


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_kill_at_any_line_leaves_what_the_next_start_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Killed at each line in turn, and half of them once more: the next start has the whole new
    store, and the old one is in a backup, once."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # A kill takes nothing from the kernel.
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    whole = unpack("0.1.0", "agent-1", tmp_path / "whole") / DATABASE_NAME
    old, lines = held(whole), lines_of(whole)
    wanted = held(whole)
    if not links:
        lines = [line for line in lines if line[1] in ("_keep", "_name", "_copy")]
    assert len(lines) > (60 if links else 15)
    for number, line in enumerate(lines):
        file = unpack("0.1.0", "agent-1", tmp_path / str(number)) / DATABASE_NAME
        assert killed_at(line, file)
        if number % 2:
            killed_at(line, file)
        migrate(file, POOL)
        assert held(file) == wanted, line
        assert [n for n in names(file) if not n.endswith(".part")] == [DATABASE_NAME, BACKUP_NAME]
        assert held(file.with_name(BACKUP_NAME)) == old, line
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def refuse_links(*_: object) -> None:
    """A file system without links."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_what_lies_in_the_write_ahead_log_is_migrated_too(file: Path) -> None:
    """An agent that was killed left its last writes there; none is lost, and none is read into the
    new store a second time."""
    db = apsw.Connection(str(file))
    db.pragma("journal_mode", "WAL")
    db.pragma("wal_autocheckpoint", 0)
    db.execute("UPDATE log SET term = 77")
    killed = file.parent.parent / "killed"
    killed.mkdir(mode=0o700)
    for name in (DATABASE_NAME, DATABASE_NAME + "-wal"):
        (killed / name).write_bytes((file.parent / name).read_bytes())
    db.close()
    file = killed / DATABASE_NAME
    assert migrate(file, POOL) is not None
    assert names(file) == [DATABASE_NAME, BACKUP_NAME]
    for kept in (file, file.with_name(BACKUP_NAME)):
        assert held(kept)["log"][0][2] == 77


def test_a_backup_is_never_overwritten(file: Path) -> None:
    """One of another attempt keeps its name, and the new one takes the next; with too many of them
    the store stays as it is."""
    other = file.with_name(BACKUP_NAME)
    other.write_bytes(b"of an earlier life")
    done = migrate(file, POOL)
    assert done is not None
    assert done.backup == file.with_name(BACKUP_NAME + ".1")
    assert other.read_bytes() == b"of an earlier life"


def test_too_many_backups_are_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is thrown away for room in a directory."""
    monkeypatch.setattr("p2pool.model.limits.STORE_BACKUPS_MAX", 1)
    before = held(file)
    file.with_name(BACKUP_NAME).write_bytes(b"another")
    with pytest.raises(StoreFailed, match="1 backups"):
        migrate(file, POOL)
    assert held(file) == before
    assert names(file) == [DATABASE_NAME, BACKUP_NAME]


def test_too_little_room_is_told_in_bytes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says how many are missing, and the old store is as it was."""
    before, needed = held(file), 3 * file.stat().st_size + 1024 * 1024
    monkeypatch.setattr(migration, "_free_bytes", lambda path: needed - 4321)
    with pytest.raises(StoreFailed, match=r"from 0\.1\.0 to 0\.2\.0: the disk lacks 4321 bytes"):
        migrate(file, POOL)
    assert untouched(file, before)
    monkeypatch.setattr(migration, "_free_bytes", lambda path: needed)
    assert migrate(file, POOL) is not None


def test_a_disk_that_fills_meanwhile_leaves_the_old_store(file: Path) -> None:
    """Whatever write it is that finds no room."""
    before = held(file)
    with faulty_disk() as disk:
        disk.full = True
        with pytest.raises(StoreFailed, match="the disk is full"):
            migrate(file, POOL, "faulty")
    assert untouched(file, before)


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_a_full_disk_at_any_call_leaves_the_old_store(
    file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Names and syncs may find no room either."""
    before = held(file)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StoreFailed, match="the disk is full"):
        migrate(file, POOL)
    assert held(file) == before
    assert not file.with_name(DATABASE_NAME + migration.TRIAL_SUFFIX).exists()


def test_a_damaged_store_is_refused(file: Path) -> None:
    """Nothing is made of it, and it is not touched, so that whoever can mend it may."""
    data = bytearray(file.read_bytes())
    data[8192 : 8192 + 2048] = b"\xff" * 2048
    file.write_bytes(data)
    name = hashlib.sha256(file.read_bytes()).digest()
    with pytest.raises(StoreFailed, match="damaged"):
        migrate(file, POOL)
    assert names(file) == [DATABASE_NAME]
    assert hashlib.sha256(file.read_bytes()).digest() == name


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshot SET bytes = x'80'",
        "UPDATE snapshot SET bytes = substr(bytes, 1, 900)",
        "DELETE FROM entries WHERE idx = 85",
        "UPDATE rows SET value = x'80' WHERE tbl = 'bindings'",
        "UPDATE rows SET value = x'80' WHERE key = CAST('log.root' AS BLOB)",
        "UPDATE log SET log_id = zeroblob(32)",
    ],
)
def test_contents_that_nobody_can_read_are_refused(file: Path, damage: str) -> None:
    """A sound file with a broken record is not half migrated."""
    db = apsw.Connection(str(file))
    db.execute(damage)
    assert db.changes() > 0
    db.pragma("journal_mode", "DELETE")
    db.close()
    before = held(file)
    with pytest.raises(StoreFailed, match="damaged") as told:
        migrate(file, POOL)
    assert "learner" in told.value.hint
    assert untouched(file, before)


def test_the_store_of_another_pool_is_left_alone(file: Path) -> None:
    """It is its owner's to migrate."""
    before = held(file)
    with pytest.raises(DataDirInUse, match="belongs to pool"):
        migrate(file, OTHER_POOL)
    assert untouched(file, before)


async def test_nothing_is_migrated_under_an_agent_that_runs(file: Path) -> None:
    """The lock comes first."""
    before = held(file)
    with DataDirLock(file.parent):
        with pytest.raises(DataDirInUse, match="held by another agent"):
            async with Store.open(file.parent, POOL):
                pass
    assert untouched(file, before)


def test_a_store_that_another_program_has_open_is_told(file: Path) -> None:
    """Its writes could be lost."""
    db = apsw.Connection(str(file))
    db.pragma("journal_mode", "WAL")
    db.execute("BEGIN; SELECT * FROM log").fetchall()
    with pytest.raises(StoreFailed, match="open in another program"):
        migrate(file, POOL)
    db.close()
    assert migrate(file, POOL) is not None


async def _refused(path: Path, change: str) -> P2poolError:
    """What an opening says after a newer version was at the store."""
    async with Store.open(path, NEW_POOL) as store:
        await store.write((Put("meta", b"k", b"v"),))
    db = apsw.Connection(str(path / DATABASE_NAME))
    db.execute("UPDATE writer SET version = '7.5.0'")
    db.execute(change)
    db.close()
    before = (path / DATABASE_NAME).read_bytes()
    with pytest.raises(TooOld) as told:
        async with Store.open(path, NEW_POOL):
            pass
    db = apsw.Connection(str(path / DATABASE_NAME))
    assert db.execute("SELECT version FROM writer").get == "7.5.0"
    db.close()
    assert (path / DATABASE_NAME).read_bytes() == before
    return told.value


@pytest.mark.parametrize(
    ("change", "form"),
    [
        ("PRAGMA user_version = 99", "in schema 99"),
        ("UPDATE rows SET version = 99", "with rows of feature level 99"),
    ],
)
async def test_a_newer_store_names_who_wrote_it(tmp_path: Path, change: str, form: str) -> None:
    """The sentence says which version that was, and what to install."""
    told = await _refused(tmp_path / "data", change)
    assert f"written by p2pool 7.5.0, {form}; this is p2pool {__version__}" in told.message
    assert told.hint.startswith("Install p2pool 7.5.0 or later")


async def test_a_newer_store_without_a_name_is_refused_too(tmp_path: Path) -> None:
    """The sentence does without the version."""
    path = tmp_path / "data"
    async with Store.open(path, NEW_POOL):
        pass
    db = apsw.Connection(str(path / DATABASE_NAME))
    db.execute("DROP TABLE writer; PRAGMA user_version = 99")
    db.close()
    with pytest.raises(TooOld, match="written by a newer p2pool, in schema 99"):
        async with Store.open(path, NEW_POOL):
            pass


async def test_rows_keep_the_version_of_their_shape(tmp_path: Path) -> None:
    """It is what an older program looks at."""
    async with Store.open(tmp_path / "data", NEW_POOL) as store:
        await store.write((Put("meta", b"k", b"v"),))
    (row,) = held(tmp_path / "data" / DATABASE_NAME)["rows"]
    assert row[1:] == ("meta", b"k", b"v", 1)
    (writer,) = held(tmp_path / "data" / DATABASE_NAME)["writer"]
    assert writer == (1, __version__)
