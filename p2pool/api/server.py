"""The listening side: anycorn's HTTP/1.1 on trio, behind a guard that no client can take down.

A failure, whatever it is, ends its own connection: the server catches and logs it, and the others
go on. The server ignores upgrades, to websockets and HTTP/2 alike, because in their handling single
requests were seen to stop whole servers (`Upgrade` may be ignored, RFC 9110 section 7.8). It gives
up a send that the client does not read and never shields it, so that neither memory nor a shutdown
hangs on a client for long. Without TLS it listens on loopback only.
"""

import errno
import hashlib
import ipaddress
import logging
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import attrs
import structlog
import trio
from anycorn.app_wrappers import ASGIWrapper
from anycorn.config import Config
from anycorn.worker_context import WorkerContext
from anyio.streams.tls import TLSStream

from p2pool.api.app import create_app
from p2pool.api.http.access_control import AccessControl, host_name
from p2pool.api.http.connection import Connection
from p2pool.api.http.methods import Methods
from p2pool.api.http.streams import Streams
from p2pool.model import limits
from p2pool.model.data_dir import API_CERTIFICATE_FILE, API_URL_FILE
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.model.ports.agent import AgentPort

_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

Started = Callable[[], None]

_log = structlog.get_logger("p2pool.api")


@attrs.frozen
class ApiSettings:
    """Where to listen. `bind` is HOST:PORT, port 0 for any. `hosts`: more names by which clients
    reach the agent. A certificate and its key (PEM) turn TLS on. `metrics`: whether `/metrics`
    answers."""

    bind: str
    hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    metrics: bool = True

    @property
    def tls(self) -> bool:
        """Whether the API speaks TLS."""
        return self.certificate is not None


async def serve_api(
    port: AgentPort,
    settings: ApiSettings,
    directory: Path,
    token: str,
    *,
    version: str = "",
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; started with the URL once it is listening.

    Every client must send `token`, from `drivers.keys.load_or_make_token(directory)`. Writes
    `api.url` to `directory`, so that this machine's commands find the agent, and removes it at the
    end. Raises `PortTaken` and `Misconfigured` before it starts.
    """
    context = _tls_context(settings)
    with bind(settings) as listener:
        host = host_name(settings.bind)
        any_ip = host in ("0.0.0.0", "::")
        app = create_app(port, version=version, metrics=settings.metrics)
        # A name may be bound, while the URL for this machine has its number.
        hosts = (host, str(listener.getsockname()[0]), *settings.hosts)
        gate = AccessControl(Methods(app), token, hosts, any_ip)
        url = _url(listener, settings)
        path, shown = directory / API_URL_FILE, directory / API_CERTIFICATE_FILE
        shown.unlink(missing_ok=True)
        if settings.certificate is not None:
            _write_private(shown, _fingerprint(settings.certificate) + "\n")
        _write_private(path, url + "\n")
        connections = _Connections(gate, context)
        try:
            await _serve(
                connections, app.state["streams"], listener, lambda: task_status.started(url)
            )
        finally:
            path.unlink(missing_ok=True)
            shown.unlink(missing_ok=True)


def _fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate that clients are shown: the first one in the file."""
    text = certificate.read_text(encoding="utf-8", errors="replace")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = begin + text.partition(begin)[2].partition(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read; a reader never sees half of it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


# --- listening ----------------------------------------------------------------------------------


def bind(settings: ApiSettings) -> socket.socket:
    """A listening socket; `Misconfigured` if that would be unsafe, `PortTaken` if the system
    refuses it."""
    host, number = _address(settings.bind)
    if (settings.certificate is None) is not (settings.private_key is None):
        raise Misconfigured(
            "TLS needs both a certificate and its private key.",
            hint="Set both [api] tls_certificate and tls_key, or neither.",
        )
    try:
        found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Misconfigured(
            f"The API cannot listen on {host!r}: {error}.",
            hint="Set [api] bind to an address of this machine.",
        ) from error
    family, kind, protocol, _, where = found[0]
    if not settings.tls and not ipaddress.ip_address(str(where[0]).partition("%")[0]).is_loopback:
        raise Misconfigured(
            f"The API would listen on {settings.bind} without TLS, where others can read along.",
            hint="Set [api] bind to 127.0.0.1, or set tls_certificate and tls_key.",
        )
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(limits.API_BACKLOG_MAX)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortTaken.at(
            settings.bind, number, error.strerror or str(error), what="The API"
        ) from error
    return listener


def _address(text: str) -> tuple[str, int]:
    number = text.rpartition(":")[2]
    if not (number.isascii() and number.isdigit() and int(number) <= limits.PORT_MAX):
        raise Misconfigured(
            f"{text!r} is not HOST:PORT.", hint="Write [api] bind as 127.0.0.1:8470."
        )
    return host_name(text) or "127.0.0.1", int(number)


def _url(listener: socket.socket, settings: ApiSettings) -> str:
    """The URL for programs on this machine."""
    host, number = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{name}:{number}"


def _tls_context(settings: ApiSettings) -> ssl.SSLContext | None:
    if settings.certificate is None or settings.private_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"The API cannot use its certificate: {error}.",
            hint="Check the PEM files in [api] tls_certificate and tls_key.",
        ) from error
    return context


# --- connections --------------------------------------------------------------------------------


class _Connections:
    """What all connections share, and their number."""

    def __init__(self, gate: AccessControl, tls: ssl.SSLContext | None) -> None:
        self.app, self.tls, self.count = ASGIWrapper(gate), tls, 0
        self.context = WorkerContext(None)
        self.config = Config()
        self.config.accesslog = None
        self.config.errorlog = logging.getLogger("p2pool.api.http")
        self.config.include_server_header = False
        self.config.keep_alive_timeout = limits.API_IDLE_TIMEOUT_MS / 1000

    async def run(self, stream: anyio.abc.SocketStream) -> None:
        """Serve one connection to its end. Its failure is logged and stops here: the next client
        must not pay for what this one sent."""
        self.count += 1
        try:
            if self.tls is not None:
                with anyio.fail_after(limits.API_BODY_TIMEOUT_MS / 1000):
                    wrapped = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=self.tls, standard_compatible=False
                    )
                await Connection(self.app, self.config, self.context, {}, wrapped).run()
            else:
                await Connection(self.app, self.config, self.context, {}, stream).run()
        except* Exception as group:  # noqa: BLE001
            _log.warning("api_connection_failed", errors=[repr(e) for e in group.exceptions])
            _log.debug("api_connection_failed_where", exc_info=group)
        finally:
            self.count -= 1
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)


async def _serve(
    connections: _Connections, streams: Streams, listener: socket.socket, started: Started
) -> None:
    """Accept until cancelled, then give open requests a short grace."""
    accepting = await anyio.abc.SocketListener.from_socket(listener)
    stopping = trio.Event()
    async with trio.open_nursery() as outer:
        nursery = await outer.start(_hold, stopping)
        try:
            started()
            await _accept(accepting, connections, nursery)
        finally:
            streams.closing.set()
            with trio.CancelScope(shield=True):  # Sets an event and waits for nobody.
                await connections.context.terminated.set()
            stopping.set()


async def _hold(stopping: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery for connections that outlives a cancellation by the grace, and no longer."""
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await stopping.wait()
            scope.deadline = trio.current_time() + limits.API_SHUTDOWN_GRACE_MS / 1000


async def _accept(accepting: Any, connections: _Connections, nursery: trio.Nursery) -> None:
    while True:
        try:
            stream = await accepting.accept()
        except OSError as error:
            # A client may hang up before its turn. Without resources, wait for a connection to end
            # instead of stopping or spinning.
            if error.errno in _NO_RESOURCES:
                _log.warning("api_accept_failed", error=error.strerror)
                await trio.sleep(limits.API_ACCEPT_PAUSE_MS / 1000)
            continue
        if connections.count >= limits.API_CONNECTIONS_MAX:
            await anyio.aclose_forcefully(stream)
        else:
            nursery.start_soon(connections.run, stream)
