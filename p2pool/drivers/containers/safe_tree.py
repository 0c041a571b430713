"""Trees that a hostile writer changes while we read, measure or delete them.

A container can plant links, swap a directory for a link between two looks, nest a thousand deep or
make a pipe that blocks its opener. So nothing here goes by path: each step opens one name below a
directory that is held open, without following links (`openat`, O_NOFOLLOW), and inspects what it
opened before using it. Depth and number of inspected entries are bounded.
Source: openat(2); CVE-2021-30465 shows the danger of resolving a path twice.
"""

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs

from p2pool.model import limits
from p2pool.model.errors import Conflict

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# It is gone, no longer a directory, a link, or unreadable: the tree's owner's affair.
MOVED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)
BLOCK = 512
READ_BYTES = 256 * 1024
END = b"\0" * (2 * BLOCK)


@attrs.frozen
class Measured:
    """The size of a tree; `whole` False: there is more than was counted."""

    used_bytes: int
    whole: bool


@contextmanager
def opened(name: str, parent: int | None = None, *, make: bool = False) -> Iterator[int]:
    """A directory's descriptor, below `parent`. FileNotFoundError, NotADirectoryError as usual."""
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    descriptor = os.open(name, DIRECTORY, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def measure(directory: int) -> Measured:
    """The disk space that a tree takes; each file counts once, however many names it has."""
    seen: set[tuple[int, int]] = set()
    used, count = 0, 0
    for _, _, status in _walk(directory):
        count += 1
        if status is None or count > limits.VOLUME_ENTRIES_MAX:
            return Measured(used, False)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        used += status.st_blocks * BLOCK
    return Measured(used, True)


Found = tuple[str, int, os.stat_result | None]


def _walk(directory: int, path: str = "", depth: int = 0) -> Iterator[Found]:
    """Everything in a tree: its path, the descriptor of its directory, its status.
    No status: it is nested too deep to be inspected."""
    for name in _names(directory):
        try:
            status = os.lstat(name, dir_fd=directory)
        except OSError as error:
            if error.errno in MOVED:
                continue
            raise
        inner = f"{path}/{name}" if path else name
        yield inner, directory, status
        if not stat.S_ISDIR(status.st_mode):
            continue
        if depth >= limits.VOLUME_DEPTH_MAX:
            yield inner, directory, None
            continue
        with suppress_moved(), opened(name, directory) as below:
            yield from _walk(below, inner, depth + 1)


def _names(directory: int) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        if error.errno in MOVED:
            return []
        raise


@contextmanager
def suppress_moved() -> Iterator[None]:
    """Ignore entries that disappeared or changed type between two looks."""
    try:
        yield
    except OSError as error:
        if error.errno not in MOVED:
            raise


# --- deleting ----------------------------------------------------------------------------------


def clear(directory: int) -> None:
    """Delete a directory's contents. Deeply nested parts are moved up first, so no depth is too
    deep. Raises PermissionError for what this user may not delete."""
    _clear(directory, directory, [0], 0)


def _clear(top: int, directory: int, moved: list[int], depth: int) -> None:
    while names := os.listdir(directory):
        for name in names:
            try:
                os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                continue
            except (IsADirectoryError, PermissionError) as error:
                if not _is_directory(name, directory):
                    raise
                if depth >= limits.VOLUME_DEPTH_MAX:
                    moved[0] += 1
                    os.rename(name, f".deep-{moved[0]}", src_dir_fd=directory, dst_dir_fd=top)
                    continue
                try:
                    with opened(name, directory) as below:
                        _clear(top, below, moved, depth + 1)
                except OSError as inside:
                    if inside.errno not in (errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
                        raise inside from error
                with suppress(FileNotFoundError, NotADirectoryError):
                    os.rmdir(name, dir_fd=directory)


def _is_directory(name: str, directory: int) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode)
    return False


# --- exporting ---------------------------------------------------------------------------------


def archive(directory: int) -> Iterator[bytes]:
    """A tree as a tar archive, piece by piece: files, directories and links as they are.

    Pipes, sockets and devices are left out. A file that shrinks during the read is padded with
    zeros, one that grows is cut, so the archive stays valid. Conflict: it is nested too deep.
    """
    for path, inside, status in _walk(directory):
        if status is None:
            raise Conflict(f"{path[:80]}... is nested too deep to be exported.")
        info = tarfile.TarInfo(path)
        info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
        info.uid, info.gid = status.st_uid, status.st_gid
        name = path.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
            yield _header(info)
        elif stat.S_ISLNK(status.st_mode):
            with suppress_moved():
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=inside)
                yield _header(info)
        elif stat.S_ISREG(status.st_mode):
            yield from _file(info, name, inside)
    yield END


def _file(info: tarfile.TarInfo, name: str, directory: int) -> Iterator[bytes]:
    try:
        descriptor = os.open(name, FILE, dir_fd=directory)
    except OSError as error:
        if error.errno in MOVED:
            return
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        info.size = left = status.st_size
        yield _header(info)
        while left:
            data = os.read(descriptor, min(left, READ_BYTES)) or bytes(min(left, READ_BYTES))
            left -= len(data)
            yield data
        yield bytes(-info.size % BLOCK)
    finally:
        os.close(descriptor)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
