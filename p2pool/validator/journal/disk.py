"""Files that are whole, and on the disk, when a call returns.

Invariants: a write that fails half-way leaves what was there before; a file that is replaced has
its old bytes or its new ones, whenever the machine stops. `OSError` passes to the caller, who says
what could not be kept.
"""

import errno
import fcntl
import os
from pathlib import Path


def append_synced(path: Path, data: bytes, *, new: bool = False) -> None:
    """At the end of a file; `new`: instead of all of it. A write that fails half-way is cut off, so
    that the next one begins a line."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if new else os.O_APPEND)
    opened = os.open(path, flags, 0o600)
    with os.fdopen(opened, "wb", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if new:
        sync_folder(path.parent)


def replace_whole(path: Path, data: bytes) -> None:
    """A file with these bytes and no others, at once."""
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def locked(path: Path) -> int:
    """A lock file that nobody else holds, until it is closed or the process ends; its folder is
    made. `BlockingIOError`: somebody holds it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened


def cut_to(path: Path, length: int) -> None:
    """A file without what stands behind so many bytes."""
    with path.open("r+b") as file:
        file.truncate(length)
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """The names in a folder."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
