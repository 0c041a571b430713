"""A store of an earlier version is brought up to date: on a copy, with the old one kept.

Intuition: there is one moment at which the store becomes a new one, a rename; before it, all that
happens happens beside it. In order:

1. the old store is checked whole, and its write-ahead log is brought into its one file;
2. it is copied to store.db.migrating, the steps run there, and all of it is read (`contents`);
3. the old file gets a second name, store.db.0.1.0.bak, which nothing ever overwrites;
4. the copy takes the name store.db.

Invariants: whoever calls holds the directory's lock. At every moment store.db is a whole store,
of the old version or of the new one, and no log of writes lies beside it that belongs to the other:
so after a crash the next start begins again, or has nothing left to do. What fails leaves the old
store as it was. Each file is synced before a name is given to it, and each name before the next.
"""

import errno
import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import attrs

from p2pool.drivers.store.failures import DAMAGED_HINT, store_failure
from p2pool.drivers.store.migrations.contents import check_contents
from p2pool.drivers.store.migrations.steps import Step, steps_from
from p2pool.drivers.store.schema import check_identity, note_writer, one, schema_version
from p2pool.model import limits
from p2pool.model.errors import P2poolError, Refusal, StoreFailed
from p2pool.model.ids import PoolRef

TRIAL_SUFFIX = ".migrating"
PART_SUFFIX = ".part"
SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
ROOM_COPIES = 3
"""The copy, what a step adds to it before it takes away, and the backup where it is no link."""
ROOM_SPARE_BYTES = 1024 * 1024


@attrs.frozen
class Migrated:
    """What was done: the releases between which, and where the old store is."""

    before: str
    after: str
    backup: Path


def migrate(file: Path, pool: PoolRef, vfs: str | None = None) -> Migrated | None:
    """Bring a pool's store up to date; None where there is nothing to do.

    Raises StoreFailed (damaged, no room), TooOld (a newer version wrote it), DataDirInUse (another
    pool's), Misconfigured (not p2pool's): the store is then what it was.
    """
    file = file.resolve()  # A link stays a link to the store.
    path = file.parent
    if not file.exists():
        return None
    try:
        with _opened(file, vfs) as db:
            schema = schema_version(db, path)
            steps = steps_from(schema) if schema is not None else ()
            if not steps:
                return None
            check_identity(db, path, pool)
            _check_sound(db, path)
    except apsw.Error as error:
        raise store_failure(f"The store in {path} cannot be read", error) from error
    return _replaced(file, steps, pool, vfs)


def _replaced(file: Path, steps: tuple[Step, ...], pool: PoolRef, vfs: str | None) -> Migrated:
    """Go through the four parts; a failure leaves the old store, and nothing beside it."""
    before, after = steps[0].of_release, steps[-1].to_release
    trial = file.with_name(file.name + TRIAL_SUFFIX)
    what = f"The store in {file.parent} cannot be migrated from {before} to {after}"
    needed = _needed_bytes(file)
    try:
        _remove(trial)
        _check_room(file, needed, what)
        _join_log(file, vfs)
        _copy(file, trial)
        _try(trial, steps, pool, vfs)
        backup = _keep(file, before)
        os.replace(trial, file)
        _sync_names(file.parent)
    except (apsw.Error, OSError, P2poolError) as error:
        with suppress(OSError):  # What failed is told; the next attempt removes it first.
            _remove(trial)
        raise _failure(file, error, needed, what) from error
    return Migrated(before, after, backup)


def _failure(
    file: Path, error: apsw.Error | OSError | P2poolError, needed: int, what: str
) -> P2poolError:
    """What is told of a migration that failed."""
    if isinstance(error, Refusal):
        return StoreFailed(
            f"{what}: it is damaged. {error.message} It is as it was.", hint=DAMAGED_HINT
        )
    if isinstance(error, P2poolError):
        return error
    if _is_full(error):
        return _no_room(file, needed, what)
    if isinstance(error, apsw.BusyError):
        return _held(file)
    return store_failure(what, error)


# --- the old store --------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path, vfs: str | None) -> Iterator[apsw.Connection]:
    """A connection to a database that is there, closed at the end."""
    db = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        db.set_busy_timeout(1_000)
        db.pragma("synchronous", "FULL")
        yield db
    finally:
        db.close()


def _check_sound(db: apsw.Connection, path: Path) -> None:
    check = one(db, "PRAGMA integrity_check(1)")
    if check != "ok":
        raise StoreFailed(f"The store in {path} is damaged: {check}.", hint=DAMAGED_HINT)


def _join_log(file: Path, vfs: str | None) -> None:
    """Bring the write-ahead log into the file and end it: a copy of the file is then a copy of the
    store, and no log is left that would be read into the new one."""
    with _opened(file, vfs) as db:
        mode = db.pragma("journal_mode", "DELETE")
    left = [suffix for suffix in SIDE_SUFFIXES if file.with_name(file.name + suffix).exists()]
    if mode != "delete" or left:
        raise _held(file)


def _held(file: Path) -> StoreFailed:
    return StoreFailed(
        f"The store {file} is open in another program.",
        hint="End that program, then start the agent again.",
    )


# --- the copy -------------------------------------------------------------------------------------


def _copy(file: Path, copy: Path) -> None:
    """A synced copy with the mode of the original; never in the place of another file."""
    mode = file.stat().st_mode & 0o777
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(target, "wb") as into, file.open("rb") as source:
        os.fchmod(into.fileno(), mode)
        shutil.copyfileobj(source, into)
        into.flush()
        os.fsync(into.fileno())


def _try(trial: Path, steps: tuple[Step, ...], pool: PoolRef, vfs: str | None) -> None:
    """Run the steps on the copy, and read it as a start would."""
    with _opened(trial, vfs) as db:
        for step in steps:
            with db:
                step.run(db)
                db.pragma("user_version", step.after)
        with db:
            note_writer(db)
    with _opened(trial, vfs) as db:
        _check_sound(db, trial.parent)
        check_contents(db, trial.parent, pool)
    # By descriptor, and only now: nothing writes to it any more.
    file = os.open(trial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove(trial: Path) -> None:
    """What an attempt left."""
    for suffix in ("", *SIDE_SUFFIXES):
        trial.with_name(trial.name + suffix).unlink(missing_ok=True)


# --- the backup -----------------------------------------------------------------------------------


def _keep(file: Path, release: str) -> Path:
    """Give the old store a name of its own beside it; the one from an attempt that was cut short is
    taken again, any other stays."""
    for number in range(limits.STORE_BACKUPS_MAX):
        end = f".{number}" if number else ""
        backup = file.with_name(f"{file.name}.{release}.bak{end}")
        if backup.is_file() and filecmp.cmp(file, backup, shallow=False):
            return backup
        if not os.path.lexists(backup):
            _name(file, backup)
            return backup
    raise StoreFailed(
        f"There are {limits.STORE_BACKUPS_MAX} backups of the store in {file.parent} already.",
        hint=f"Move its {file.name}.{release}.bak* files away, then start the agent again.",
    )


def _name(file: Path, backup: Path) -> None:
    """A second name for the file, or a copy under that name where there are no links."""
    try:
        os.link(file, backup)
    except OSError as error:
        if _is_full(error):
            raise
        part = backup.with_name(backup.name + PART_SUFFIX)
        part.unlink(missing_ok=True)
        _copy(file, part)
        os.rename(part, backup)
    _sync_names(file.parent)


def _sync_names(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# --- room -----------------------------------------------------------------------------------------


def _needed_bytes(file: Path) -> int:
    """How much room a migration may take: by what there is before it begins."""
    parts = [file.with_name(file.name + suffix) for suffix in ("", "-wal")]
    held = sum(part.stat().st_size for part in parts if part.exists())
    return ROOM_COPIES * held + ROOM_SPARE_BYTES


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _check_room(file: Path, needed: int, what: str) -> None:
    if _free_bytes(file.parent) < needed:
        raise _no_room(file, needed, what)


def _no_room(file: Path, needed: int, what: str) -> StoreFailed:
    """A quota, or somebody who was faster, may leave less than the disk says."""
    missing = max(needed - _free_bytes(file.parent), 0)
    lacks = f"the disk lacks {missing} bytes for it" if missing else "the disk is full"
    return StoreFailed(
        f"{what}: {lacks}. It is as it was.",
        hint=f"Free space on the disk of {file.parent}, then start the agent again.",
    )


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, apsw.FullError)
