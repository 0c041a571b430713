"""A data directory: private to its owner, and held by one agent at a time.

The lock is `flock(2)` on a file inside: the kernel releases it when the process ends, however it
ends, so no stale lock survives a crash. The process id in the file is only there for the message.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from p2pool.model import limits
from p2pool.model.data_dir import API_URL_FILE, LOCK_FILE
from p2pool.model.errors import DataDirInUse, Misconfigured

DIRECTORY_MODE = 0o700
LOCK_PAUSES_S = (0.01, 0.04)


def prepare_directory(path: Path) -> None:
    """Make the directory with mode 0700, or check that nobody else can read the existing one.

    Raises Misconfigured. An empty directory of ours is made private; one with files in it stays
    as it is, since it may be somebody's home.
    """
    if len(os.fsencode(path.absolute())) > limits.DATA_PATH_MAX_BYTES:
        raise Misconfigured(
            f"The path of the data directory {path} has more than"
            f" {limits.DATA_PATH_MAX_BYTES} bytes.",
            hint="Name one with a shorter path with --data-dir.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        found = path.stat()
        if found.st_mode & 0o077 == 0:
            return
        if found.st_uid == os.geteuid() and not any(path.iterdir()):
            path.chmod(DIRECTORY_MODE)
            return
    except FileExistsError as error:
        raise Misconfigured(
            f"The data directory {path} is not a directory.",
            hint="Name another with --data-dir.",
        ) from error
    except OSError as error:
        raise Misconfigured(
            f"The data directory {path} cannot be made or read: {error.strerror}.",
            hint="Check its owner and its mode, or name another with --data-dir.",
        ) from error
    raise Misconfigured(
        f"Others can read the data directory {path}, which holds keys.",
        hint=f"If it is p2pool's own, run: chmod 700 {path}",
    )


class DataDirLock:
    """Holds a data directory for this process inside a `with` block; raises DataDirInUse."""

    def __init__(self, path: Path) -> None:
        """Opens nothing before it is entered."""
        self.path = path
        self._file: int | None = None

    def __enter__(self) -> "DataDirLock":
        """Take the lock, or fail at once: a command that looks who holds it lets go in a moment."""
        file = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(file)
        except OSError as error:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
            os.close(file)
            if not isinstance(error, BlockingIOError):
                raise Misconfigured(
                    f"The data directory {self.path} cannot be locked: {error.strerror}.",
                    hint="Use a local file system.",
                ) from error
            raise DataDirInUse(
                f"The data directory {self.path} is held by another agent"
                + (f" (process {holder})." if holder else "."),
                hint=(f"Stop that agent: kill {holder}" if holder else "Stop that agent")
                + "; or name another directory with --data-dir.",
            ) from error
        try:
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # A full disk does not prevent the lock; the id is for people only.
        self._file = file
        # One that ended without warning left it, and another program may listen there by now.
        with suppress(OSError):
            (self.path / API_URL_FILE).unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release it; the file stays, since removing it would race with the next holder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock(file: int) -> None:
    """Take the lock; BlockingIOError if somebody keeps it."""
    for pause_s in LOCK_PAUSES_S:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
