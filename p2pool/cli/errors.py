"""From the error tree to exit codes and to what is printed, in one place.

A refusal is not an outage, and a script can tell by the exit code alone. What the world fails at
(disks, rights, ports, other programs) is told in a sentence, too, wherever it comes up. Our own
bugs are not caught: they end with a traceback.
"""

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from p2pool.model.errors import (
    DiskFull,
    Malformed,
    Misconfigured,
    NotFound,
    P2poolError,
    Refusal,
    TransactionFailed,
    Unavailable,
)

OK = 0
FAILED = 1
USAGE = 2
REFUSED = 3
NOT_FOUND = 4
UNAVAILABLE = 5
MISCONFIGURED = 6
INTERRUPTED = 130

# The nearest class of an error's own line of descent counts.
EXIT_CODES: dict[type[P2poolError], int] = {
    P2poolError: FAILED,
    Refusal: REFUSED,
    NotFound: NOT_FOUND,
    Unavailable: UNAVAILABLE,
    Misconfigured: MISCONFIGURED,
    TransactionFailed: REFUSED,
}

EXIT_CODES_HELP = """\b
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    refused or not allowed
  4    not found
  5    unavailable, may work later
  6    misconfigured, or a bad key
  130  interrupted
"""


def exit_code(error: P2poolError) -> int:
    """The exit code of an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def print_error(error: P2poolError, as_json: bool) -> None:
    """The sentence and what to do next, on standard error; with --json one JSON document."""
    problems = list(getattr(error, "problems", ()))
    if as_json:
        told: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
        if problems:
            told["problems"] = problems
        print_json_error(told)
        return
    say(f"error: {_shown(error.message)}")
    for problem in problems:
        if problem not in error.message:
            say(f"  {_shown(problem)}")
    if error.hint:
        say(f"hint: {_shown(error.hint)}")


def print_json_error(told: dict[str, Any]) -> None:
    """One JSON document on standard error, so that standard output stays what was asked for."""
    say(json.dumps({"error": told}, ensure_ascii=is_narrow(sys.stderr)))


def say(text: str) -> None:
    """A line on standard error, if it can be written to: an error has its exit code anyway."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def is_narrow(stream: Any) -> bool:
    """Whether a stream cannot take every character."""
    return not str(getattr(stream, "encoding", "") or "").lower().startswith("utf")


def as_known(error: BaseException) -> P2poolError | None:
    """What people are told of an error: a failure of the world as a sentence; None: a bug."""
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
            f"{ascii(error.object)[:200]} is not text in UTF-8.",
            hint="Give it in UTF-8; which encoding this terminal has says: locale",
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
    """A failure that the operating system told, with the file where it named one."""
    path = error.filename if isinstance(error.filename, str) else ""
    said = error.strerror or str(error) or type(error).__name__
    message = f"{path}: {said}." if path else f"{said}."
    if error.errno == errno.ENOENT and not path and not _somewhere():
        return Misconfigured("The directory that this is called in is gone.", hint="Run: cd ~")
    near = f" '{os.path.dirname(path) or '.'}'" if path else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskFull(message, hint=f"Free some space; which disk is full says: df -h{near}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Misconfigured(message, hint=f"See whose it is: ls -ld '{path}'" if path else "")
        case errno.EMFILE:
            return Unavailable(message, hint="Let it open more files: ulimit -n 4096")
        case errno.ENFILE:
            return Unavailable(message, hint="Let the system open more: sysctl fs.file-max")
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


def _shown(text: str) -> str:
    """What peers say may be in a message: it does not write to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
