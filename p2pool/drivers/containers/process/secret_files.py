"""Secrets of runs: files in memory, for as long as their command runs.

    <memory>/p2pool-<uid>/<digest of all runs' directory>-<digest of the run>/files/NAME
                                                                             variables/VARIABLE

Intuition: a run's own directory lies on a disk, so its secrets cannot. Most machines have a file
system in memory that a user may write to; which one, the kernel's table of mounts says. The command
finds its files by P2POOL_SECRETS; the shim reads the variables before the command, and removes all
of it after the end.

Invariants: nothing is written to a file system that is not in memory, nor below a directory that
somebody else made. What a killed shim left is removed when the next agent starts.
Source: proc(5), mountinfo.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from p2pool.drivers.containers.process.shim import SECRET_FILES, SECRET_VARIABLES
from p2pool.model.errors import CannotStart, NotOffered, RuntimeUnavailable
from p2pool.model.tasks.secrets import SecretValue

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs")
PLACES = ("/run", "/dev/shm")


def write_secrets(run: Path, secrets: Sequence[SecretValue]) -> None:
    """Write a run's secrets, in place of earlier ones. NotOffered: this machine has no file system
    in memory for them. CannotStart: a variable that no process can have."""
    for one in secrets:
        if one.variable is not None and b"\0" in one.value:
            raise CannotStart(f"The secret variable {one.variable} has a zero byte.")
    top = _top()
    top.mkdir(mode=0o700, exist_ok=True)
    found = top.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RuntimeUnavailable(f"{top} is not this agent's own directory: no secret goes there.")
    place = secrets_of(run)
    shutil.rmtree(place, ignore_errors=True)
    for name in (SECRET_FILES, SECRET_VARIABLES):
        (place / name).mkdir(mode=0o700, parents=True)
    for one in secrets:
        if one.file:
            _write(place / SECRET_FILES / one.name, one.value)
        if one.variable is not None:
            _write(place / SECRET_VARIABLES / one.variable, one.value)


def _write(path: Path, value: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(file, "wb") as opened:
        opened.write(value)


def secrets_of(run: Path) -> Path:
    """Where the secrets of a run lie, whether it has some or not. NotOffered: nowhere here."""
    return _top() / f"{_digest(run.parent)}-{_digest(run)}"


def remove_secrets(run: Path) -> None:
    """Remove a run's secrets, if there are some."""
    with suppress(NotOffered):
        shutil.rmtree(secrets_of(run), ignore_errors=True)


def sweep_secrets(directory: Path, running: Sequence[Path]) -> None:
    """Remove what no run in a directory holds any longer. `running`: those that do."""
    try:
        there = sorted(_top().glob(f"{_digest(directory)}-*"))
        kept = {secrets_of(run) for run in running}
    except NotOffered:
        return
    for place in there:
        if place not in kept:
            shutil.rmtree(place, ignore_errors=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _top() -> Path:
    mounts = dict(_mounts())
    for named in (os.environ.get("XDG_RUNTIME_DIR", ""), *PLACES):
        place = Path(named).resolve() if named else None
        if place is None or not os.access(place, os.W_OK):
            continue
        mounted = next((one for one in (place, *place.parents) if one in mounts), None)
        if mounted is not None and mounts[mounted] in IN_MEMORY:
            return place / f"p2pool-{os.getuid()}"
    raise NotOffered(
        f"This machine has no file system in memory for secrets: not {' nor '.join(PLACES)}.",
        hint="Run the task on a node with a Docker Engine, or mount a tmpfs there.",
    )


def _mounts() -> Iterator[tuple[Path, str]]:
    """Where something is mounted, and its type; of several at one place, the last is seen."""
    for line in MOUNTS.read_text().splitlines():
        head, _, tail = line.partition(" - ")
        yield Path(head.split(" ")[4]), tail.partition(" ")[0]
