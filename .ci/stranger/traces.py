"""Finds what a command leaves behind on a machine, by looking before and after.

It finds processes in three ways. The watcher is a subreaper (prctl(2)): every process that its
command started and did not wait for becomes its child, whatever session or name it took. An
environment variable marks everything that the command started, and a path reveals who works in the
stranger's directories. The rest is the difference of two listings: mounts, network interfaces and
namespaces, the places where programs put directories, and everything in a Docker Engine, if one
answers.
"""

import contextlib
import ctypes
import http.client
import json
import os
import pwd
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
ENGINE_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
ENGINE_HOLDS = {
    "container": "/containers/json?all=1",
    "network": "/networks",
    "image": "/images/json?all=1",
    "volume": "/volumes",
}
GONE_WITHIN_S = 5.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


# --- processes ------------------------------------------------------------------------------------


def reap() -> None:
    """Take the exit codes of children that have ended, so that none counts as running."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _words(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _link(pid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return ""


def _state_and_parent(pid: int) -> tuple[str, int]:
    rest = _words(pid, "stat").rpartition(b")")[2].split()
    return (rest[0].decode(), int(rest[1])) if rest else ("X", 0)


def _line_of(pid: int) -> str:
    line = _words(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    return f"process {pid}: {line[:200] or _words(pid, 'comm').decode(errors='replace').strip()}"


def processes(mark: str, place: Path) -> dict[int, str]:
    """Processes with `mark` in their environment, in `place`, or adopted by us, by process id.

    Leaves out the caller and its ancestors, and processes that ended but were not waited for.
    """
    mine = {os.getpid()}
    parent = os.getppid()
    while parent > 1:
        mine.add(parent)
        parent = _state_and_parent(parent)[1]
    inside = os.fsencode(place)
    found = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        state, parent = _state_and_parent(pid)
        if pid in mine or state in "ZX":
            continue
        if (
            parent == os.getpid()
            or mark.encode() in _words(pid, "environ")
            or inside in _words(pid, "cmdline")
            or any(_link(pid, name).startswith(str(place)) for name in ("cwd", "exe", "root"))
        ):
            found[pid] = _line_of(pid)
    return found


def end(mark: str, place: Path) -> None:
    """Kill everything that `processes` finds, each by its id."""
    for pid in processes(mark, place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# --- listings -------------------------------------------------------------------------------------


def _below(directory: Path, depth: int) -> set[str]:
    """The names below a directory, down to `depth`; an unreadable directory counts as empty."""
    found: set[str] = set()
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return found
    for entry in entries:
        found.add(entry.path)
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            found |= _below(Path(entry.path), depth - 1)
    return found


def places() -> dict[Path, int]:
    """The places where programs leave directories, and how deep to look there."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    named = {
        Path(os.environ[name])
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
                     "XDG_RUNTIME_DIR", "TMPDIR")
        if os.environ.get(name)
    }  # fmt: skip
    return {
        **dict.fromkeys(map(Path, ("/tmp", "/var/tmp", "/dev/shm", "/var/lib")), 1),
        Path("/run"): 2,
        **dict.fromkeys(named, 2),
        home: 3,
    }


def _names(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def _mounts() -> set[str]:
    lines = Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    return {" on ".join(line.split()[:2]) for line in lines}


class _Engine(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def engine_holds(path: str) -> set[str]:
    """Everything that the engine at a socket holds; empty if none answers."""
    found: set[str] = set()
    for kind, question in ENGINE_HOLDS.items():
        connection = _Engine(path)
        try:
            connection.request("GET", question)
            told = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return set()
        finally:
            connection.close()
        for one in told.get("Volumes") or () if kind == "volume" else told:
            names = one.get("Names") or one.get("RepoTags") or [one.get("Name", "")]
            found.add(f"{kind} {' '.join(names)} {one.get('Id', '')[:19]}".rstrip())
    return found


def _engine_path() -> str | None:
    host = os.environ.get("DOCKER_HOST", "")
    paths = [host.removeprefix("unix://")] if host.startswith("unix://") else list(ENGINE_SOCKETS)
    return next((path for path in paths if Path(path).is_socket()), None)


# --- before and after -----------------------------------------------------------------------------


@dataclass
class Traces:
    """A snapshot of the machine; `left` says what has been added since."""

    mark: str
    place: Path
    """The stranger's directory: its content is judged separately."""
    mounts: set[str] = field(default_factory=set)
    networks: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    engine: set[str] = field(default_factory=set)

    @classmethod
    def now(cls, mark: str, place: Path) -> "Traces":
        """Take a snapshot."""
        found = cls(mark, place, _mounts())
        found.networks = {f"interface {name}" for name in _names("/sys/class/net")}
        found.networks |= {f"namespace {name}" for name in _names("/run/netns")}
        for directory, depth in places().items():
            found.entries |= _below(directory, depth)
        found.entries = {
            path for path in found.entries if not Path(path).is_relative_to(place.resolve())
        }
        path = _engine_path()
        found.engine = engine_holds(path) if path else set()
        return found

    def _left_now(self) -> list[str]:
        reap()
        after = Traces.now(self.mark, self.place)
        return [
            *processes(self.mark, self.place).values(),
            *(f"mount {line}" for line in sorted(after.mounts - self.mounts)),
            *sorted(after.networks - self.networks),
            *(f"path {path}" for path in sorted(after.entries - self.entries)),
            *sorted(after.engine - self.engine),
        ]

    def left(self, within_s: float = GONE_WITHIN_S) -> list[str]:
        """What is here now and was not before; what is about to go gets `within_s` to do so."""
        until = time.monotonic() + within_s
        while True:
            found = self._left_now()
            if not found or time.monotonic() >= until:
                return found
            time.sleep(0.2)
