"""Turns failures of the outside world (disks, permissions, ports, programs) into P2poolErrors.

Bugs of our own are not failures of the world: they end with a traceback."""

import errno
import io
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from p2pool.codec.text.clip import clipped
from p2pool.model.errors import (
    DiskFull,
    Malformed,
    Misconfigured,
    P2poolError,
    Unavailable,
)


def as_known(error: BaseException) -> P2poolError | None:
    """An error as people see it: a failure of the world becomes a sentence; None: it is a bug."""
    if isinstance(error, P2poolError):
        return error
    if isinstance(error, subprocess.TimeoutExpired):
        return Unavailable(f"{_program(error.cmd)} did not end within {error.timeout:g} s.")
    if isinstance(error, subprocess.CalledProcessError):
        said = (
            error.stderr.decode(errors="replace")
            if isinstance(error.stderr, bytes)
            else (error.stderr or "")
        )
        return Unavailable(
            f"{_program(error.cmd)} failed ({error.returncode}): {said.strip()[-300:]}".rstrip(": ")
        )
    if isinstance(error, MemoryError):
        return Unavailable("There is not enough memory.", hint="See what takes it: free -h")
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return Misconfigured(
            "This user has no home directory.", hint="Set HOME, or write whole paths, without ~."
        )
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return Malformed(
            f"{clipped(ascii(error.object), 200)} is not UTF-8 text.",
            hint="Give it in UTF-8; this shows the terminal's encoding: locale",
        )
    if isinstance(error, OSError) and not isinstance(error, io.UnsupportedOperation):
        return _of_system(error)
    return None


def _somewhere() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


def _program(command: Any) -> str:
    first = command if isinstance(command, str | bytes | os.PathLike) else command[0]
    return os.path.basename(os.fsdecode(first))


def _of_system(error: OSError) -> P2poolError:
    """A failure that the operating system reported, with the file if it named one."""
    path = error.filename if isinstance(error.filename, str) else ""
    said = error.strerror or str(error) or type(error).__name__
    message = f"{path}: {said}." if path else f"{said}."
    if error.errno == errno.ENOENT and not path and not _somewhere():
        return Misconfigured("The current directory no longer exists.", hint="Run: cd ~")
    near = f" '{os.path.dirname(path) or '.'}'" if path else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(message, hint=f"Free some space; this shows the full disk: df -h{near}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Misconfigured(message, hint=f"Check its owner: ls -ld '{path}'" if path else "")
        case errno.EMFILE:
            return Unavailable(message, hint="Allow it more open files: ulimit -n 4096")
        case errno.ENFILE:
            return Unavailable(message, hint="Allow the system more open files: sysctl fs.file-max")
        case errno.EAGAIN | errno.ENOMEM:
            return Unavailable(message, hint="See what is short: free -h; ulimit -a")
        case errno.ENAMETOOLONG:
            return Misconfigured(message, hint="Choose a shorter path.")
        case errno.EIO:
            return Unavailable(message, hint="The disk may be failing: sudo dmesg | tail")
    return P2poolError(message)


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """All errors in a nursery's group."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
