"""Finds the agent that a command talks to: `--agent URL|DIR`, `P2POOL_AGENT`, else the default.

An agent writes its address (`api.url`) and its token (`api.token`, readable by its owner only) to
its data directory, and listens at a unix socket there (`api.sock`), so on the agent's own machine a
command needs no options. It goes by that socket first, since nobody else can fill it; by the URL
where there is none, as with agents before version 0.3, or where an agent runs that serves none.

For an agent given as a URL the token comes from `--token-file`, from the file that
`P2POOL_TOKEN_FILE` names, from `P2POOL_TOKEN`, or from the default directory if its agent listens
at that URL; for one given as `unix:///path`, also from beside the socket. It is never an argument,
which everybody could read, and a file of it that others can read is refused. `--ca` or `P2POOL_CA`
names whom to trust for the certificate of an https URL.
"""

import fcntl
import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from p2pool.model import limits
from p2pool.model.data_dir import (
    API_CERTIFICATE_FILE,
    API_SOCKET_FILE,
    API_TOKEN_FILE,
    API_URL_FILE,
    LOCK_FILE,
)
from p2pool.model.errors import Misconfigured, Unavailable

AGENT_VARIABLE = "P2POOL_AGENT"
DIRECTORY_VARIABLE = "P2POOL_DATA_DIR"
TOKEN_VARIABLE = "P2POOL_TOKEN"
TOKEN_FILE_VARIABLE = "P2POOL_TOKEN_FILE"
CA_VARIABLE = "P2POOL_CA"
PLAIN_VARIABLE = "P2POOL_ALLOW_HTTP"
UNIX = "unix://"


class FoundAgent:
    """An agent's API: its URL and its token, which nothing shows."""

    __slots__ = ("ca", "directory", "fingerprint", "plain", "socket", "token", "url")

    def __init__(
        self,
        url: str,
        token: str,
        fingerprint: str = "",
        directory: Path | None = None,
        *,
        socket: Path | None = None,
        ca: Path | None = None,
        plain: bool = False,
    ) -> None:
        """`fingerprint`: SHA-256 of its certificate, by its own directory; empty: not known, or
        without TLS. `directory`: where it keeps its data, if it was found there. `socket`: its unix
        socket, to be tried before the URL. `ca`: certificates to trust in the place of the
        system's. `plain`: its token may be sent without TLS, where others can read it."""
        self.url, self.token, self.socket = url, token, socket
        self.fingerprint, self.directory = fingerprint, directory
        self.ca, self.plain = ca, plain

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FoundAgent):
            return NotImplemented
        return (self.url, self.token) == (other.url, other.token)

    def __hash__(self) -> int:
        return hash((self.url, self.token))

    def __repr__(self) -> str:
        return f"FoundAgent(url={self.url!r})"


def default_directory(environment: Mapping[str, str]) -> Path:
    """The data directory of this user's agent."""
    if given := environment.get(DIRECTORY_VARIABLE):
        return _absolute(given)
    found = _user_directory()
    if not found.is_absolute():
        raise Misconfigured(
            "This user has no home directory to look for an agent in.",
            hint="Set HOME, or name the agent: --agent URL|DIR.",
        )
    return found


def agent_directory(given: str | None, environment: Mapping[str, str]) -> Path:
    """The data directory of the agent that a command means, whether it runs or not: for one named
    by a URL, this user's own, unless the URL is that of a socket in a data directory."""
    text = given or environment.get(AGENT_VARIABLE) or ""
    if text.startswith(UNIX) and (path := Path(text.removeprefix(UNIX))).name == API_SOCKET_FILE:
        return _absolute(str(path.parent))
    if not text or "://" in text:
        return default_directory(environment)
    return _absolute(text)


def _absolute(given: str) -> Path:
    """As `drivers.paths.absolute_path`, which a client does not have."""
    try:
        path = Path(given).expanduser()
    except RuntimeError as error:
        raise Misconfigured(
            f"{given[:200]!r} is no path here: that user has no home directory."
        ) from error
    return path.resolve() if ".." in path.parts else path.absolute()


def _user_directory() -> Path:
    """Where `platformdirs` puts a user's data; on Linux without importing it."""
    given, home = os.environ.get("XDG_DATA_HOME", ""), os.environ.get("HOME", "")
    if sys.platform == "linux" and os.path.isabs(given):
        return Path(given, "p2pool")
    if sys.platform == "linux" and os.path.isabs(home):
        return Path(home, ".local", "share", "p2pool")
    import platformdirs

    return platformdirs.user_data_path("p2pool")


def find_agent(
    given: str | None,
    environment: Mapping[str, str],
    *,
    token: str | None = None,
    ca: str | None = None,
) -> FoundAgent:
    """The agent to talk to. `token`, `ca`: what options say; they go before the environment. Raises
    `Unavailable` if none runs there, `Misconfigured` if its token is missing; both say what to
    do."""
    text = given or environment.get(AGENT_VARIABLE) or ""
    is_url = text.startswith(("http://", "https://"))
    if ca is not None and not text.startswith("https://"):
        raise Misconfigured(
            "--ca says whom to trust for an https URL, and the agent is not named by one.",
            hint="Name it as --agent https://HOST:PORT; on its own machine nothing is needed.",
        )
    if is_url:
        found = _at(text.rstrip("/"), environment, token)
        if ca is not None:
            found.ca, found.fingerprint = _absolute(ca), ""
        elif named := environment.get(CA_VARIABLE):
            found.ca = _absolute(named)
        found.plain = _allows_plain(environment)
        return found
    if text.startswith(UNIX + "/"):
        return _at_socket(Path(text.removeprefix(UNIX)), environment, token)
    if "://" in text or text.lower().startswith("unix:"):
        raise Misconfigured(
            f"{text!r} is neither an http(s) URL nor a directory.",
            hint="Name an agent by one of the two: --agent URL|DIR. A socket is unix:///PATH.",
        )
    return agent_in(agent_directory(text, environment), token)


def _allows_plain(environment: Mapping[str, str]) -> bool:
    said = environment.get(PLAIN_VARIABLE, "")
    if said not in ("", "0", "1"):
        raise Misconfigured(
            f"{PLAIN_VARIABLE} is {said[:32]!r}.", hint="Set it to 1 to allow it, or unset it."
        )
    return said == "1"


def read_token_file(given: str) -> str:
    """The token in a file that somebody named. `Misconfigured`: there is none, more than one, or
    others of this machine can read it."""
    path = _absolute(given)
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(limits.API_TOKEN_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise Misconfigured(
            f"The token file {path} cannot be read: {error.strerror}.",
            hint="Name a file with the line that 'p2pool agent token create' gave.",
        ) from error
    # What a container platform mounts has the mode that it chose, and whoever reads it cannot
    # change that.
    is_ours = found.st_uid == os.geteuid() and not os.statvfs(path).f_flag & os.ST_RDONLY
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077 and is_ours:
        raise Misconfigured(
            f"Others can read the token file {path}.",
            hint=f"Run: chmod 600 {shlex.quote(str(path))}",
        )
    return token_in(data, str(path))


def token_in(data: bytes, place: str) -> str:
    """The one token in what was read; `place`: from where."""
    lines = data.decode("utf-8", "replace").split()
    if len(lines) == 1 and len(data) <= limits.API_TOKEN_FILE_MAX_BYTES:
        return lines[0]
    what = "no token" if not lines else "more than a token"
    raise Misconfigured(
        f"There is {what} in {place}.",
        hint="It holds one line, as 'p2pool agent token create' gave it.",
    )


def start_hint(directory: Path | None) -> str:
    """How to have an agent that answers; the words to start one with work as they stand."""
    where = "" if directory is None else f" --data-dir {shlex.quote(str(directory))}"
    return f"Start it: p2pool agent run{where}; or name another: --agent URL|DIR."


def agent_in(directory: Path, token: str | None = None) -> FoundAgent:
    """The agent that keeps its data in a directory; with the token that lies there, unless another
    is given."""
    url = _read(directory / API_URL_FILE)
    if not url:
        if (process := _holder(directory)) is not None:
            raise Unavailable(
                f"The agent in {directory} (process {process}) does not serve its API: it starts,"
                " or waits until its store can be opened.",
                hint="Try again in a moment; the agent's log says what it waits for.",
            )
        raise Unavailable(
            f"No agent runs with its data in {directory}.",
            hint=start_hint(directory),
        )
    token = token or _read(directory / API_TOKEN_FILE)
    if not token:
        raise Misconfigured(
            f"There is no token in {directory / API_TOKEN_FILE}.",
            hint="Restart the agent: it makes a token where there is none.",
        )
    path = directory / API_SOCKET_FILE
    return FoundAgent(
        *(url, token, certificate_in(directory), directory),
        socket=path if path.is_socket() else None,
    )


def certificate_in(directory: Path) -> str:
    """The fingerprint of the certificate that the agent with this directory shows."""
    return _read(directory / API_CERTIFICATE_FILE)


def serves(directory: Path, url: str) -> bool:
    """Whether an agent holds a directory and says there that it listens at this URL. What one left
    that ended without warning says nothing of who listens there by now."""
    return _holder(directory) is not None and _read(directory / API_URL_FILE).rstrip("/") == url


def _holder(directory: Path) -> str | None:
    """The process that holds a data directory, or None where none does.

    A process that ended holds nothing, whatever the file says; one that starts at this very moment
    finds the directory held by us, and tries again."""
    try:
        file = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return None  # No local file system: no agent could hold it either.
    finally:
        os.close(file)
    return None


def _at(url: str, environment: Mapping[str, str], token: str | None) -> FoundAgent:
    """The agent at a URL, with the token that belongs to it; not by its socket, since the URL was
    asked for."""
    if token := token or _named_token(environment):
        return FoundAgent(url, token)
    directory = default_directory(environment)
    if _read(directory / API_URL_FILE).rstrip("/") == url:
        found = agent_in(directory)
        return FoundAgent(url, found.token, found.fingerprint, directory)
    raise _no_token(url)


def _at_socket(path: Path, environment: Mapping[str, str], token: str | None) -> FoundAgent:
    """The agent at a unix socket; the token lies beside it, if none is named."""
    token = token or _named_token(environment) or _read(path.parent / API_TOKEN_FILE)
    if not token:
        raise _no_token(f"{UNIX}{path}")
    return FoundAgent(f"{UNIX}{path}", token, socket=path)


def _named_token(environment: Mapping[str, str]) -> str:
    """The token that the environment names, empty if it names none."""
    if path := environment.get(TOKEN_FILE_VARIABLE):
        return read_token_file(path)
    return environment.get(TOKEN_VARIABLE, "").strip()


def _no_token(url: str) -> Misconfigured:
    return Misconfigured(
        f"The token for {url} is unknown.",
        hint="Name a file with it, --token-file FILE or"
        f" {TOKEN_FILE_VARIABLE}; on the agent's machine make one: p2pool agent token create. Or"
        " name its data directory there: --agent DIR.",
    )


def _read(path: Path) -> str:
    """The one line of a file, empty if there is no file."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"Cannot read {path}: {error}.", hint="Run this as the user who runs the agent."
        ) from error
