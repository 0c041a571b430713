"""Where the API listens: TCP ports, with TLS or on loopback only, and a unix socket beside them.

Intuition: a port is open to every program of the machine; a socket in the data directory is open to
whom the file system lets in, so nobody else can take its places. It is there for the commands of
this machine. The token is asked for on both: a socket that is handed to a container by mistake is
worth nothing without it.

Invariants: beyond loopback there is no TCP without TLS. The unix socket is its owner's alone from
the moment at which somebody could connect (`listen` comes after `chmod`). What lies in its place
and is not a socket of ours, or still answers, is left alone and said. A path too long for the
system is reached through its directory; where there is no such way, or the file system has no
sockets, the API listens on TCP alone and says so.
"""

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import structlog

from p2pool.api.http.head import split_host
from p2pool.model import limits
from p2pool.model.data_dir import API_SOCKET_FILE
from p2pool.model.errors import Misconfigured, PortTaken

_log = structlog.get_logger("p2pool.api")

_NO_SOCKETS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EROFS, errno.ENAMETOOLONG}


@attrs.frozen
class ApiSettings:
    """Where to listen. `bind` is HOST:PORT, port 0 for any. `hosts`: more names by which clients
    reach the agent. A certificate and its key (PEM) turn TLS on: at `tls_bind`, if there is one,
    and then `bind` stays plain beside it. `path_prefix`: below it clients of a proxy find the
    routes. `metrics`: whether `/metrics` answers."""

    bind: str
    hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    metrics: bool = True
    tls_bind: str = ""
    path_prefix: str = ""

    @property
    def tls(self) -> bool:
        """Whether the API speaks TLS at `bind`."""
        return self.certificate is not None and not self.tls_bind


# --- TCP ----------------------------------------------------------------------------------------


def bind(settings: ApiSettings) -> socket.socket:
    """A listening socket; `Misconfigured` if that would be unsafe, `PortTaken` if the system
    refuses it."""
    if (settings.certificate is None) is not (settings.private_key is None):
        raise Misconfigured(
            "TLS needs both a certificate and its private key.",
            hint="Set both [api] tls_certificate and tls_key, or neither.",
        )
    return _listening(settings.bind, "bind", secured=settings.tls)


def bind_tls(settings: ApiSettings) -> socket.socket | None:
    """A second one, which speaks TLS, where the settings ask for it; errors as of `bind`."""
    if not settings.tls_bind:
        return None
    if settings.certificate is None:
        raise Misconfigured(
            f"The API cannot speak TLS on {settings.tls_bind}: it has no certificate.",
            hint="Set [api] tls_certificate and tls_key beside tls_bind.",
        )
    return _listening(settings.tls_bind, "tls_bind", secured=True)


def _listening(address: str, key: str, *, secured: bool) -> socket.socket:
    """`key`: what the address is called in `[api]`."""
    host, number = address_of(address, key)
    try:
        found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Misconfigured(
            f"The API cannot listen on {host!r}: {error}.",
            hint=f"Set [api] {key} to an address of this machine.",
        ) from error
    family, kind, protocol, _, where = found[0]
    if not secured and not ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback:
        raise Misconfigured(
            f"The API would listen on {address} without TLS, where others can read along.",
            hint="Set [api] bind to 127.0.0.1, and tls_bind, tls_certificate and tls_key for"
            " others.",
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(limits.API_BACKLOG_MAX)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortTaken.at(address, number, error.strerror or str(error), what="The API") from error
    return listener


def address_of(text: str, key: str = "bind") -> tuple[str, int]:
    """Host and port of `[api] bind`; a port alone, as `:8470`, is one of loopback. `key`: what it
    is called there."""
    host, _, number = text.strip().rpartition(":")
    plain, percent, zone = host.partition("%")
    bracketed = host.startswith("[")
    found = split_host(plain + "]" * (bracketed and bool(percent))) if host else ("127.0.0.1", None)
    known = number.isascii() and number.isdigit() and int(number) <= limits.PORT_MAX
    if found is None or found[1] is not None or not known or (percent and not bracketed):
        raise Misconfigured(
            f"{text!r} is not HOST:PORT.", hint=f"Write [api] {key} as 127.0.0.1:8470."
        )
    return found[0] + percent + zone.removesuffix("]"), int(number)


def url_of(listener: socket.socket, settings: ApiSettings) -> str:
    """The URL for programs on this machine."""
    host, number = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{name}:{number}"


# --- the unix socket ----------------------------------------------------------------------------


@contextmanager
def unix_listener(directory: Path) -> Iterator[socket.socket | None]:
    """A listening socket in a directory until the block ends; None where there can be none.
    `Misconfigured` where something of somebody else's lies in its place."""
    path = directory / API_SOCKET_FILE
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener, _reached(path) as name:
        try:
            if name is None:
                raise OSError(errno.ENAMETOOLONG, "its path is too long for the system")
            listener.bind(name)
            os.chmod(path, 0o600)
            made = os.lstat(path)
            listener.listen(limits.API_BACKLOG_MAX)
            listener.setblocking(False)
        except OSError as error:
            if error.errno not in _NO_SOCKETS:
                raise Misconfigured(f"The API cannot listen at {path}: {error}.") from error
            path.unlink(missing_ok=True)
            _log.warning("api_without_unix_socket", path=str(path), error=error.strerror)
            yield None
            return
        try:
            yield listener
        finally:
            with suppress(OSError):
                now = os.lstat(path)
                if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                    path.unlink()


@contextmanager
def _reached(path: Path) -> Iterator[str | None]:
    """A name of this path that a socket can have, None if there is none. A longer one goes by way
    of the open directory."""
    if len(os.fsencode(path)) <= limits.UNIX_PATH_MAX_BYTES:
        yield str(path)
        return
    opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        by = Path("/proc/self/fd", str(opened))
        yield str(by / path.name) if by.exists() else None
    finally:
        os.close(opened)


def _clear(path: Path) -> None:
    """Remove the socket that an agent left which ended without warning."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Misconfigured(
            f"{path} is no socket, and the agent makes one there.", hint="Remove it."
        )
    if found.st_uid != os.geteuid():
        raise Misconfigured(
            f"The socket {path} belongs to another user ({found.st_uid}).",
            hint="Remove it, or run the agent as that user.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, _reached(path) as name:
        asking.settimeout(limits.API_LINGER_MS / 1000)
        try:
            if name is not None:
                asking.connect(name)
        except OSError:
            name = None
    if name is not None:
        raise Misconfigured(
            f"Another process answers at {path}.", hint="End it: an agent has its own directory."
        )
    path.unlink(missing_ok=True)
