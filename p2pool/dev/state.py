"""The parts of a development pool, recorded in its directory: `dev.json`.

Intuition: the command that starts a pool ends, and another one, perhaps after a crash or a reboot,
has to end all of it and nothing else. So the file exists before the first process does, and is the
last to go.

Invariants: a directory is ours only if the file is in it; of two commands that start a pool in one
directory, only one gets it.
"""

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from p2pool.dev import places
from p2pool.dev.processes import Child, strays
from p2pool.model.errors import Conflict, DiskFull, Misconfigured, NotFound, Unavailable
from p2pool.model.ids import Address

STATE_NAME = "dev.json"
FORMAT = 2
ROOM_BYTES = 100_000_000
# SQLite opens no file whose path exceeds 512 bytes.
PATH_MAX_BYTES = 440


@attrs.frozen
class AgentEntry:
    """An agent: its number, node id (0x hex), and its provider's address (hex)."""

    number: int
    node_id: str
    provider: str


@attrs.frozen
class State:
    """A pool as recorded in the file. `starter`: the command that is still starting it."""

    starter: Child | None = None
    rpc_url: str = ""
    pool_id: int = 0
    runtime: str = ""
    image: dict[str, Any] = attrs.field(factory=dict)
    children: tuple[Child, ...] = ()
    agents: tuple[AgentEntry, ...] = ()

    @property
    def alive(self) -> list[Child]:
        """Its running processes."""
        return [child for child in self.children if child.alive]


def look(directory: Path) -> State | None:
    """Check that a pool can start in a directory; returns the state of a dead pool left there.

    `Conflict`: a live pool or other files are in it. `Misconfigured`, `DiskFull`: it cannot be
    used.
    """
    if len(os.fsencode(directory)) > PATH_MAX_BYTES:
        raise Misconfigured(
            f"The path of {directory} has more than {PATH_MAX_BYTES} bytes.",
            hint="Name a directory with a shorter one: --dir DIR.",
        )
    state = read(directory)
    if state is not None:
        require(directory)
        if state.alive:
            raise Conflict(
                f"There is already a pool in {directory}.",
                hint=f"End it first: p2pool dev down --dir '{directory}'",
            )
        return state
    try:
        held = [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        held = []
        place = places.nearest(directory)
        if not os.access(place, os.W_OK | os.X_OK):
            read_only = os.statvfs(place).f_flag & os.ST_RDONLY
            number = errno.EROFS if read_only else errno.EACCES
            raise cannot_write(directory, OSError(number, os.strerror(number))) from None
    except NotADirectoryError as error:
        raise Misconfigured(
            f"{directory} is not a directory.", hint="Name another: --dir DIR."
        ) from error
    except OSError as error:
        raise cannot_write(directory, error) from error
    if held:
        raise Conflict(
            f"{directory} has other files in it ({held[0]}), and removing a pool removes everything"
            " in its directory.",
            hint="Name one that is new or empty: --dir DIR.",
        )
    if directory.exists() and directory.stat().st_uid != os.geteuid():
        raise Misconfigured(
            f"{directory} belongs to another user.", hint="Name one of your own: --dir DIR."
        )
    if places.free_bytes(directory) < ROOM_BYTES:
        raise no_space(directory)
    return None


def claim(directory: Path, starter: Child) -> None:
    """Make this pool the owner of a directory that `look` approved.

    `Conflict`: another command was faster. `Misconfigured`, `DiskFull`: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory.chmod(0o700)
        with open(directory / STATE_NAME, "x", encoding="utf-8") as file:
            file.write(_text(State(starter)))
    except FileExistsError as error:
        raise Conflict(
            f"Another command is starting a pool in {directory} right now.",
            hint="Wait for it, or name another directory: --dir DIR.",
        ) from error
    except OSError as error:
        with suppress(OSError):  # A file without room for its text.
            (directory / STATE_NAME).unlink()
            directory.rmdir()
        raise cannot_write(directory, error) from error


def save(directory: Path, state: State) -> None:
    """Replace the file; a reader never sees a part of it."""
    aside = directory / f".{STATE_NAME}"
    aside.write_text(_text(state), encoding="utf-8")
    aside.replace(directory / STATE_NAME)


def _text(state: State) -> str:
    return json.dumps({"format": FORMAT, **attrs.asdict(state)}, indent=2)


def read(directory: Path) -> State | None:
    """The file's content; None without a file. `Misconfigured`: it cannot be understood."""
    path = directory / STATE_NAME
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("format") != FORMAT:
            raise ValueError("another version of p2pool wrote it")
        starter = told.pop("starter")
        state = State(
            **{
                **told,
                "children": tuple(Child(**one) for one in told["children"]),
                "agents": tuple(AgentEntry(**one) for one in told["agents"]),
            },
            starter=Child(**starter) if starter else None,
        )
        for one in state.agents:
            Address(bytes.fromhex(one.provider))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        running = " ".join(str(pid) for pid in strays(directory))
        raise Misconfigured(
            f"{path} is damaged ({error}), so nobody knows what belongs to this pool.",
            hint=(f"End its processes: kill {running}; then " if running else "")
            + f"remove it: rm -r '{directory}'",
        ) from error
    except OSError as error:
        raise Misconfigured(
            f"{path} cannot be read: {error.strerror}.", hint=f"Look at it: ls -la '{directory}'"
        ) from error
    return state


def require(directory: Path) -> State:
    """The file's content. `NotFound`: there is no pool. `Conflict`: one is being started."""
    state = read(directory)
    if state is None:
        running = " ".join(str(pid) for pid in strays(directory))
        if running:
            raise NotFound(
                f"What was in {directory} is gone, but processes of a pool there still run.",
                hint=f"End them: kill {running}",
            )
        raise NotFound(f"There is no pool in {directory}.", hint="Start one: p2pool dev up.")
    if state.starter is not None and state.starter.alive:
        raise Conflict(
            f"The pool in {directory} is being started by process {state.starter.pid}.",
            hint=f"Wait for it, or interrupt it: kill {state.starter.pid}",
        )
    return state


def remove(directory: Path) -> None:
    """Remove the directory, the file last: if interrupted, the next call continues."""
    failed: list[tuple[str, OSError]] = []

    def note(_: object, path: str, told: Any) -> None:
        if not isinstance(told[1], FileNotFoundError):
            failed.append((path, told[1]))

    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name == STATE_NAME:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=note)
        else:
            path.unlink(missing_ok=True)
    if failed:
        left, why = failed[0]
        raise Unavailable(
            f"{left} cannot be removed: {why.strerror}.",
            hint=f"Remove it: sudo rm -r '{directory}'",
        )
    (directory / STATE_NAME).unlink(missing_ok=True)
    try:
        directory.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        # An empty directory may stay: it is a mount point, or its parent belongs to somebody else.
        if error.errno not in (errno.EBUSY, errno.EACCES, errno.EPERM):
            raise


def no_space(directory: Path) -> DiskFull:
    """The error for a directory without room for a pool."""
    instead = "name a directory on another disk: --dir DIR"
    return places.no_space(directory, "for a pool", ROOM_BYTES, instead)


def cannot_write(directory: Path, error: OSError) -> Misconfigured | DiskFull:
    """The error for a directory that cannot hold a pool."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(directory)
    return Misconfigured(
        f"No pool can be kept in {directory}: {error.strerror}.",
        hint="Name a directory that can be written: --dir DIR, or P2POOL_DEV_DIR.",
    )
