"""The listening side: accepts connections, each with a place of its own, until it is cancelled.

A failure, whatever it is, ends its own connection: the server catches and logs it, and the others
go on. A newcomer is always served: where places or file descriptors run out, the connection that
can be missed most goes (`http/places.py`).
"""

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import attrs
import structlog
import trio

from p2pool.api.app import create_app
from p2pool.api.certificates import Certificate
from p2pool.api.http.access_control import AccessControl
from p2pool.api.http.connection import Connection, Server
from p2pool.api.http.methods import Methods
from p2pool.api.http.places import NO_FILES, SLOW_HANDSHAKE, Place, Places
from p2pool.api.http.problems import body_of, problem
from p2pool.api.http.streams import Streams
from p2pool.api.http.tokens import TokenTable
from p2pool.api.listeners import (
    ApiSettings,
    address_of,
    bind,
    bind_tls,
    unix_listener,
    url_of,
)
from p2pool.model import limits
from p2pool.model.data_dir import API_CERTIFICATE_FILE, API_URL_FILE
from p2pool.model.ports.agent import AgentPort
from p2pool.model.ports.tokens import TokenStore

__all__ = ["ApiSettings", "bind", "serve_api"]

_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

_log = structlog.get_logger("p2pool.api")


async def serve_api(
    port: AgentPort,
    settings: ApiSettings,
    directory: Path,
    token: str,
    *,
    version: str = "",
    counters: Counter[str] | None = None,
    token_store: TokenStore | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; started with the URL once it is listening.

    `token`, from `drivers.keys.load_or_make_token(directory)`, opens everything; others are in
    `token_store`. Writes `api.url` to `directory`, so that this machine's commands find the agent,
    makes `api.sock` there, and removes both at the end. `counters`: where connections that were cut
    are counted. Raises `PortTaken` and `Misconfigured` before it starts.
    """
    certificate = None
    if settings.certificate is not None and settings.private_key is not None:
        certificate = Certificate(settings.certificate, settings.private_key)
    tokens = TokenTable(token, token_store)
    await tokens.load()
    with ExitStack() as stack:
        listener = stack.enter_context(bind(settings))
        remote = bind_tls(settings)
        if remote is not None:
            stack.enter_context(remote)
        local = stack.enter_context(unix_listener(directory))
        places = Places(counters)
        app = create_app(
            *(port, tokens),
            version=version,
            metrics=settings.metrics,
            places=places,
            certificate=certificate,
            path_prefix=settings.path_prefix,
        )
        hosts, any_ip = _names(settings, listener, remote)
        guarded = AccessControl(Methods(app), tokens, hosts, any_ip, settings.path_prefix)
        server = Server(guarded, places)
        doors = [_Door(listener, certificate if settings.tls else None, server)]
        if remote is not None:
            doors.append(_Door(remote, certificate, server))
        if local is not None:
            doors.append(_Door(local, None, server))
        url = url_of(listener, settings)
        with _told(directory, url, certificate if settings.tls else None):
            async with trio.open_nursery() as nursery:
                if token_store is not None:
                    nursery.start_soon(tokens.keep_used)
                await _serve(doors, app.state["streams"], lambda: task_status.started(url))


def _names(
    settings: ApiSettings, listener: socket.socket, remote: socket.socket | None
) -> tuple[list[str], bool]:
    """By which names clients call this agent, and whether by any number: where it listens on all
    addresses. A name may be bound, while the URL for this machine has its number."""
    opened = [(settings.bind, listener)]
    if remote is not None:
        opened.append((settings.tls_bind, remote))
    hosts, any_ip = list(settings.hosts), False
    for text, one in opened:
        host, _ = address_of(text)
        hosts += [host, str(one.getsockname()[0])]
        any_ip |= host in ("0.0.0.0", "::")
    return hosts, any_ip


@contextmanager
def _told(directory: Path, url: str, certificate: Certificate | None) -> Iterator[None]:
    """Says to this machine's commands where the API is, and which certificate it shows there, until
    the block ends; `certificate` None: it speaks no TLS at the URL."""
    path, shown = directory / API_URL_FILE, directory / API_CERTIFICATE_FILE
    shown.unlink(missing_ok=True)
    if certificate is not None:
        _write_fingerprint(shown, certificate)
        certificate.changed = lambda: _write_fingerprint(shown, certificate)
    _write_private(path, url + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        shown.unlink(missing_ok=True)


def _write_fingerprint(path: Path, certificate: Certificate) -> None:
    """A disk that is full costs this machine's commands the TLS port, and nobody the API."""
    try:
        _write_private(path, certificate.shown.fingerprint + "\n")
    except OSError as error:
        _log.warning("api_certificate_not_told", path=str(path), error=error.strerror)


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read; a reader never sees half of it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


# --- connections --------------------------------------------------------------------------------


@attrs.frozen
class _Door:
    """Where connections come in. The file system has let in who comes by a unix socket."""

    listener: socket.socket
    tls: Certificate | None
    server: Server

    @property
    def trusted(self) -> bool:
        """Whether who comes in has shown by that that it may."""
        return self.listener.family == socket.AF_UNIX

    async def accept(self, nursery: trio.Nursery) -> None:
        """Serve whoever comes, until cancelled."""
        listening = trio.SocketListener(trio.socket.from_stdlib_socket(self.listener))
        places = self.server.places
        while True:
            try:
                stream = await listening.accept()
            except OSError as error:
                # A client may hang up before its turn. Without resources, another connection goes,
                # instead of stopping or spinning.
                if error.errno in _NO_RESOURCES:
                    places.note(NO_FILES)
                    helped = places.make_room()
                    pause_ms = limits.API_ROOM_PAUSE_MS if helped else limits.API_ACCEPT_PAUSE_MS
                    await trio.sleep(pause_ms / 1000)
                continue
            if not self.trusted:
                _bound_silence(stream)
            if (place := places.take(known=self.trusted)) is None:
                nursery.start_soon(self._turn_away, stream)
            else:
                nursery.start_soon(self._run, stream, place)

    async def _run(self, stream: trio.SocketStream, place: Place) -> None:
        """Serve one connection to its end. Its failure is logged and stops here: the next client
        must not pay for what this one sent."""
        connection = None
        try:
            with place.scope as scope:
                spoken = await self._secured(stream, place)
                if spoken is not None:
                    connection = Connection(self.server, spoken, stream.socket, place)
                    await connection.run()
            if scope.cancelled_caught and connection is not None:
                await connection.dismiss()
        except* Exception as group:  # noqa: BLE001
            _log.warning("api_connection_failed", errors=[repr(e) for e in group.exceptions])
            _log.debug("api_connection_failed_where", exc_info=group)
        finally:
            place.leave()
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _secured(self, stream: trio.SocketStream, place: Place) -> trio.abc.Stream | None:
        """The same in TLS where that is spoken here; None if the client does not speak it."""
        if self.tls is None:
            return stream
        context = self.tls.context()
        spoken = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with trio.move_on_after(limits.API_HEAD_TIMEOUT_MS / 1000) as place.waiting:
            try:
                await spoken.do_handshake()
            except trio.BrokenResourceError as error:
                _log.debug("api_handshake_failed", error=repr(error.__cause__ or error))
                return None
            return spoken
        self.server.places.note(SLOW_HANDSHAKE)
        return None

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        """All places are with clients that are being answered."""
        body = body_of(problem("overloaded", 503, "The agent has too many connections."))
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: {limits.API_RETRY_AFTER_S}\r\n"
            "Connection: close\r\n\r\n"
        )
        try:
            with trio.move_on_after(limits.API_LINGER_MS / 1000):
                if self.tls is None:
                    await stream.send_all(head.encode() + body)
        except trio.BrokenResourceError:
            pass  # They closed first.
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)


def _bound_silence(stream: trio.SocketStream) -> None:
    """Have the system end a connection whose other side acknowledges nothing: one that vanished
    without a word would keep its stream for a quarter of an hour, ping by ping."""
    with suppress(OSError, AttributeError):  # Another system than Linux has its own patience.
        stream.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.API_UNACKNOWLEDGED_MAX_MS
        )


async def _serve(doors: Sequence[_Door], streams: Streams, started: Callable[[], None]) -> None:
    """Accept until cancelled, then give open requests a short grace."""
    stopping = trio.Event()
    async with trio.open_nursery() as outer:
        nursery = await outer.start(_hold, stopping)
        try:
            started()
            async with trio.open_nursery() as accepting:
                for door in doors:
                    accepting.start_soon(door.accept, nursery)
        finally:
            streams.closing.set()
            for door in doors:
                door.server.places.end()
            stopping.set()


async def _hold(stopping: trio.Event, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery for connections that outlives a cancellation by the grace, and no longer."""
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await stopping.wait()
            scope.deadline = trio.current_time() + limits.API_SHUTDOWN_GRACE_MS / 1000
