"""Files that an ended run left in its working directory.

Invariants: no link is followed, so nothing outside of that directory is read; what is read is a
regular file, opened without waiting for anybody, and no longer than the bound.
"""

import errno
import os
import stat
from pathlib import Path

from p2pool.drivers.containers.file_refusals import no_file, no_regular_file, too_long

_LINKS = (errno.ELOOP, errno.ENOTDIR)


def left_file(root: Path, path: str, most_bytes: int) -> bytes:
    """The bytes of `path`, below `root`. Blocks for a short while."""
    *folders, name = path.strip("/").split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened: list[int] = []
    try:
        opened.append(os.open(root, flags | os.O_DIRECTORY))
        for folder in folders:
            opened.append(os.open(folder, flags | os.O_DIRECTORY, dir_fd=opened[-1]))
        opened.append(os.open(name, flags | os.O_NONBLOCK, dir_fd=opened[-1]))
        found = os.fstat(opened[-1])
        if not stat.S_ISREG(found.st_mode):
            raise no_regular_file(path)
        if found.st_size > most_bytes:
            raise too_long(path, most_bytes)
        with os.fdopen(opened.pop(), "rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError as error:
        raise no_file(path) from error
    except OSError as error:
        if error.errno in _LINKS:
            raise no_regular_file(path) from error
        raise
    finally:
        for one in opened:
            os.close(one)
