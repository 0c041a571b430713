"""A key that was unlocked for a while: asks the process that holds it to sign (`wallet unlock`).

The process listens on a socket of its own for each account, in a directory that only its owner can
enter, and answers its owner alone. It is asked with a typed request, never with a digest, so what
it signs is what a command makes for a pool; whoever can reach the socket could also read the key
file and wait for its passphrase. One line of JSON is asked, one is answered.
"""

import json
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pool.model import limits
from p2pool.model.errors import Misconfigured, NotAllowed, Stale, Unavailable, error_for_code

if TYPE_CHECKING:
    from p2pool.model.access.grants import LogGrant
    from p2pool.model.access.requests import TaskRequest
    from p2pool.model.ids import Address, PoolRef

REQUEST_FIELDS = ("target", "spec_json", "not_before_s", "not_after_s")
GRANT_FIELDS = ("task", "not_before_s", "not_after_s")


def directory() -> Path:
    """Where this user's sockets are, whether it is there or not. `Misconfigured`: no home."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime) / "p2pool"
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():
        raise Misconfigured(
            "This user has no home directory to keep the socket of an unlocked key in.",
            hint="Set HOME or XDG_RUNTIME_DIR.",
        )
    return home / ".p2pool"


def make_directory() -> None:
    """Have the directory, for its owner alone. `Misconfigured` if others may enter."""
    path = directory()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise Misconfigured(f"The directory {path} cannot be used: {error.strerror}.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Misconfigured(
            f"Others may enter {path}, where unlocked keys are asked.", hint=f"chmod 700 {path}"
        )


def socket_path(address: "Address") -> Path:
    """The socket of an account."""
    return directory() / f"key-{address.hex()}.sock"


def unlocked(address: "Address") -> "UnlockedKey | None":
    """The key of an account, if a process holds it now."""
    try:
        held = UnlockedKey(address)
    except Misconfigured:  # Without a home nothing was ever unlocked.
        return None
    return held if held.left_s() is not None else None


def peer_is_owner(connection: socket.socket) -> bool:
    """Whether the other side runs as this user."""
    size = struct.calcsize("3i")
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return bool(struct.unpack("3i", told)[1] == os.getuid())


class UnlockedKey:
    """An account whose key another process holds."""

    def __init__(self, address: "Address") -> None:
        """`address`: as its key file says."""
        self._address = address
        self.path = socket_path(address)

    def sign_request(self, pool: "PoolRef", request: "TaskRequest") -> bytes:
        """The signature of a request, 65 bytes."""
        fields = {name: getattr(request, name) for name in REQUEST_FIELDS}
        fields |= {"action": request.action.value, "request_id": request.request_id.hex()}
        return self._signature({"sign": "request", "pool": _pool(pool), "fields": fields})

    def sign_grant(self, pool: "PoolRef", grant: "LogGrant") -> bytes:
        """The signature of a log grant, 65 bytes."""
        fields = {name: getattr(grant, name) for name in GRANT_FIELDS}
        return self._signature({"sign": "grant", "pool": _pool(pool), "fields": fields})

    def lock(self) -> bool:
        """Have the key forgotten at once; False if nobody holds it. `Unavailable`: who holds it
        does not answer."""
        try:
            self._ask({"lock": True})
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError, Stale):
            return False
        except OSError as error:
            raise Unavailable(
                f"The process that holds the key does not answer at {self.path}: {error}.",
                hint="End it: ps -ef shows a process with that path.",
            ) from error
        return True

    def left_s(self) -> int | None:
        """For how long it is unlocked still; None if it is locked, or nobody answers."""
        try:
            return int(self._ask({"status": True})["left_s"])
        except (OSError, Stale):
            return None

    def _signature(self, question: dict[str, Any]) -> bytes:
        try:
            return bytes.fromhex(str(self._ask(question)["signature"]))
        except OSError as error:
            raise Stale(
                "The key was locked while it was asked.",
                hint="Unlock it again: p2pool wallet unlock.",
            ) from error

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One answer. OSError: nobody holds the key; the errors of the tree: it refuses."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(limits.UNLOCKED_ANSWER_MS / 1000)
            with _reachable(self.path) as name:
                connection.connect(name)
            if not peer_is_owner(connection):
                raise NotAllowed(f"Another user holds {self.path}.", hint="Remove that file.")
            connection.sendall(json.dumps(question).encode() + b"\n")
            told = _object(read_line(connection))
        if "error" in told:
            raise error_for_code(told["error"], str(told.get("sentence")))
        return told


def _object(line: bytes) -> dict[str, Any]:
    """An answer; OSError for what is none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConnectionError("no key answers so") from error
    if not isinstance(told, dict) or not {"error", "left_s", "locked", "signature"} & set(told):
        raise ConnectionError("no key answers so")
    return told


def read_line(connection: socket.socket) -> bytes:
    """A line without its end; OSError if it breaks off or is too long."""
    kept = b""
    while b"\n" not in kept:
        piece = connection.recv(65536)
        kept += piece
        if not piece or len(kept) > limits.UNLOCKED_QUESTION_MAX_BYTES:
            raise ConnectionError("no whole line came")
    return kept.partition(b"\n")[0]


class _reachable:
    """A name of a socket that fits into an address, however long its directory's is."""

    def __init__(self, path: Path) -> None:
        self._path, self._short = path, ""

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) < 100:
            return str(self._path)
        import tempfile  # Costs a little, and is seldom needed.

        self._short = tempfile.mkdtemp()
        os.symlink(self._path.parent, f"{self._short}/d")
        return f"{self._short}/d/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._short:
            os.unlink(f"{self._short}/d")
            os.rmdir(self._short)


def bind(listener: socket.socket, path: Path) -> None:
    """Bind a socket to a file that only its owner can use."""
    old = os.umask(0o177)
    try:
        with _reachable(path) as name:
            listener.bind(name)
    finally:
        os.umask(old)


def _pool(pool: "PoolRef") -> dict[str, Any]:
    return {"chain_id": pool.chain_id, "contract": pool.contract.hex(), "pool_id": pool.pool_id}
