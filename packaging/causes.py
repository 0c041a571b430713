"""Reads from pip's output why an installation failed: a sentence, and what to do.

pip's last line names the last thing that went wrong, rarely the first: an unreachable registry ends
as "no matching distribution", a full disk as a package that cannot be built. So the causes are
tried in order, those that explain others first.
"""

import errno
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cause:
    """What went wrong, and what the user can do about it; both without a full stop."""

    sentence: str
    command: str
    absent: bool = False
    """Whether the registry answered, but does not have the package."""


LITTLE_BYTES = 50 * 1024 * 1024
FEW_FILES = 100
ROOM = "make room on it (df -h shows the disks, df -i how many more files they take)"
FULL = re.compile(r"No space left on device|Errno 28\b|Disk quota exceeded|Errno 122\b")
READ_ONLY = re.compile(r"Read-only file system|Errno 30\b")
DENIED = re.compile(r"(?:Errno 13\]|Permission denied|PermissionError)[^'\n]*(?:'([^'\n]+)')?")
NO_TEMPORARY = re.compile(r"No usable temporary directory")
NOWHERE = Cause("no temporary directory can be written", "export TMPDIR=/a/directory/of/yours")
NO_INDEX = re.compile(
    r"Ignoring indexes|--no-index|^PIP_NO_INDEX=(?!0|no|false|off|f|n)", re.M | re.I
)
UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|SSLError\(")
NO_SSL = re.compile(r"ssl module in Python is not available|No module named '_ssl'")
UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Read timed out|ConnectionRefused"
    r"|Name or service not known|Temporary failure in name resolution|Max retries exceeded"
    r"|ProxyError|Connection reset by peer|RemoteDisconnected|Could not fetch URL"
    r"|ConnectionError|Failed to establish a new connection|Network is unreachable"
)
HOST = re.compile(r"host='([^']+)'(?:, port=(\d+))?|https?://([^/\s'\")]+)")
REFUSED = re.compile(r"(\d{3}) (?:Client|Server) Error")
BROKEN = re.compile(r"IncompleteRead|Connection broken|BadZipFile")
OTHER_FILE = re.compile(r"DO NOT MATCH THE HASHES.*?\n\s+(\S+)(?: from (\S+))?", re.DOTALL)
OTHER_PYTHON = re.compile(r"requires a different Python: (\S+) not in '([^']+)'")
NO_MATCH = re.compile(
    r"(?:No matching distribution found for|satisfies the requirement) ([^\s;(]+)"
)
NOT_BUILT = re.compile(
    r"Failed building|subprocess-exited-with-error|metadata-generation-failed|Failed to build"
)
NO_COMPILER = re.compile(
    r"command '[^']*(?:cc|gcc|clang|c\+\+)[^']*' failed|unable to execute '?[\w-]*(?:cc|gcc)"
    r"|(?:gcc|cc|clang): (?:command )?not found|Unable to find a compiler|No such file.*gcc"
    r"|can't find Rust compiler|Microsoft Visual C\+\+|Unknown compiler"
)
FORBIDDEN = re.compile(r"requested \(constraint\) (.+)")
NO_FILE = re.compile(r"Could not open requirements file:.*?'([^'\n]+)'")
FETCHED = re.compile(r"Collecting ([A-Za-z0-9._-]+)")
COLON = re.compile(r"contains the PATH separator")
NO_PIP = re.compile(r"ensurepip|No module named pip")


def _free(places: Sequence[Path]) -> tuple[int, Path]:
    """The smallest free space in MiB, and its directory."""
    return min((shutil.disk_usage(place).free // 1024**2, place) for place in places)


def free_files(place: Path) -> int | None:
    """How many more files a disk takes; None if only its space limits that."""
    told = os.statvfs(place)
    return told.f_favail if told.f_files else None


def _no_more_files(places: Sequence[Path]) -> Cause | None:
    """A disk with free space still takes no file without inodes; the error is the same."""
    for place in places:
        free = free_files(place)
        if free is not None and free < FEW_FILES:
            shown = shlex.quote(str(place))
            return Cause(
                f"the disk of {place} takes only {free} more files",
                f"remove files from it (df -i {shown} shows how many it takes; "
                "TMPDIR names another disk to unpack on)",
            )
    return None


def _disk_full(told: str, _: int, places: Sequence[Path]) -> Cause | None:
    if not FULL.search(told):
        return None
    if (files := _no_more_files(places)) is not None:
        return files
    free_mib, place = _free(places)
    return Cause(
        f"a disk is full: that of {place} has {free_mib} MiB free, and p2pool takes about 550 MiB",
        f"make room on it (df -h {shlex.quote(str(place))} shows the disk; "
        "TMPDIR names another one to unpack on)",
    )


def _little_room(_: str, __: int, places: Sequence[Path]) -> Cause | None:
    """Some steps do not report why they failed, such as venv's when it installs pip."""
    free_mib, _place = _free(places)
    if free_mib * 1024**2 < LITTLE_BYTES:
        return _disk_full("Errno 28", 0, places)
    return _no_more_files(places)


def _not_allowed(told: str, _: int, places: Sequence[Path]) -> Cause | None:
    if READ_ONLY.search(told):
        return Cause(
            f"{places[0]} lies on a read-only file system", "clone p2pool to a disk of yours"
        )
    if NO_TEMPORARY.search(told):
        return NOWHERE
    if found := DENIED.search(told):
        what = found[1] or str(places[0])
        return Cause(f"this user may not write to {what}", _own(places[0]))
    return None


def _own(place: Path) -> str:
    shown = shlex.quote(str(place))
    return f'sudo chown -R "$(id -un)" {shown}, or clone p2pool to a directory of yours'


def _colon(told: str, _: int, places: Sequence[Path]) -> Cause | None:
    if not COLON.search(told):
        return None
    return Cause(
        f"{places[0]} cannot hold a virtual environment: its path has a colon",
        "move the clone to a directory without one",
    )


def _no_ssl(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    if not NO_SSL.search(told):
        return None
    return Cause(
        f"this Python ({sys.executable}) was built without TLS, so it can reach no registry",
        "name another one: make setup PYTHON=/usr/bin/python3",
    )


def _network(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    if not (UNTRUSTED.search(told) or UNREACHABLE.search(told)):
        return None
    found = next((one for one in HOST.finditer(told)), None)
    host = "the package registry"
    if found is not None:
        host = f"{found[1]}:{found[2]}" if found[2] else str(found[1] or found[3])
        host = f"the package registry at {host}"
    if UNTRUSTED.search(told):
        return Cause(
            f"the certificate of {host} is not trusted here",
            "export PIP_CERT=/path/to/the/certificates.crt of your network",
        )
    return Cause(
        f"{host} does not answer",
        "check the network, or name a registry that answers: export PIP_INDEX_URL=https://...",
    )


def _other_file(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    """What came is not what was named, by its hash: nothing of it was installed."""
    found = OTHER_FILE.search(told)
    if found is None:
        return None
    where = f" ({found[2]})" if found[2] else ""
    return Cause(
        f"{found[1]} is not the file that is expected{where}: it was cut short on its way, or "
        "somebody has changed it",
        "try again; if it stays so, do not install it, and see SECURITY.md",
    )


def _broken(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    if not BROKEN.search(told):
        return None
    return Cause("a download was cut short or corrupted", "try again")


def _no_constraints(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    where = "see where they are named (python3 -m pip config list), or: unset PIP_CONSTRAINT"
    if found := NO_FILE.search(told):
        return Cause(f"pip cannot read its constraints file: {found[1]}", where)
    if found := FORBIDDEN.search(told):
        return Cause(f"pip's constraints forbid what p2pool requires: {found[1].strip()}", where)
    return None


def _name_of_the_built(told: str) -> str | None:
    failed = NOT_BUILT.search(told)
    if failed is None:
        return None
    if named := re.search(r"Failed building (?:wheel|editable) for ([\w.-]+)", told):
        return named[1]
    # A wheel build starts with metadata, so the latest fetched package is the one.
    sought = FETCHED.findall(told[: failed.start()])
    return sought[-1] if sought else "a package"


def _no_compiler(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    name = _name_of_the_built(told)
    if name is None or not NO_COMPILER.search(told):
        return None
    return Cause(
        f"{name} has no wheel for {_here()}, and there is no compiler here to build it",
        f"use Python 3.11 to 3.13 (make setup PYTHON=python3.11), or: "
        f"sudo apt-get install gcc python{sys.version_info[0]}.{sys.version_info[1]}-dev",
    )


def _not_built(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    name = _name_of_the_built(told)
    return Cause(f"{name} could not be built for {_here()}", "read the log") if name else None


def _here() -> str:
    return f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.machine()}"


def _no_match(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    if found := OTHER_PYTHON.search(told):
        return Cause(
            f"p2pool needs Python {found[2]}, and this is {found[1]}",
            "name another one: make setup PYTHON=python3.11",
        )
    found = NO_MATCH.search(told)
    if found is None:
        return None
    if NO_INDEX.search(told):
        return Cause(
            f"pip was told to ask no registry, and {found[1]} is not here",
            "unset PIP_NO_INDEX, or no-index in pip's settings (python3 -m pip config debug)",
            absent=True,
        )
    if refused := REFUSED.search(told):
        return Cause(
            f"the package registry refused {found[1]} with status {refused[1]}",
            "check PIP_INDEX_URL and the login in it",
        )
    return Cause(
        f"the package registry has no {found[1]} for {_here()}",
        "check which registry pip asks (python3 -m pip config list), "
        "or use Python 3.11 to 3.13 (make setup PYTHON=python3.11)",
        absent=True,
    )


def _killed(_: str, code: int, __: Sequence[Path]) -> Cause | None:
    if code >= 0:
        return None
    return Cause(f"signal {-code} ended pip, perhaps for lack of memory", "try again")


def _no_pip(told: str, _: int, __: Sequence[Path]) -> Cause | None:
    if not NO_PIP.search(told):
        return None
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Cause(
        f"Python {version} here cannot put pip into a virtual environment",
        f"sudo apt-get install python{version}-venv",
    )


_Find = Callable[[str, int, Sequence[Path]], Cause | None]
IN_ORDER: tuple[_Find, ...] = (
    # The output also has attempts that failed and were repeated: other causes precede the network.
    _disk_full, _not_allowed, _colon, _no_constraints, _no_ssl, _no_compiler,
    _network, _other_file, _broken, _not_built, _no_match, _killed, _little_room, _no_pip,
)  # fmt: skip


def cause_of(told: str, code: int, places: Sequence[Path]) -> Cause:
    """Why a step that printed `told` ended with `code`; `places` are the directories it writes
    to."""
    for find in IN_ORDER:
        if (cause := find(told, code, places)) is not None:
            return cause
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "nothing"
    return Cause(f"pip ended with exit code {code}; its last words: {last}", "read the log")


def of_error(error: OSError, place: Path) -> Cause:
    """The cause behind an operating system error in `place`."""
    where = error.filename or place
    if NO_TEMPORARY.search(str(error)):
        return NOWHERE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_more_files([place]) or Cause(f"the disk of {where} is full", ROOM)
    if error.errno == errno.EROFS:
        return Cause(f"{where} lies on a read-only file system", "clone p2pool to a disk of yours")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Cause(f"this user may not write to {where}", _own(place))
    return Cause(
        f"{where}: {error.strerror or error}", f"look at it (ls -ld {shlex.quote(str(where))})"
    )
