"""The listening side: accepts connections, each with a place of its own, until it is cancelled.

A failure, whatever it is, ends its own connection: the server catches and logs it, and the others
go on. A newcomer is always served: where places or file descriptors run out, the connection that
can be missed most goes (`http/places.py`).
"""

import errno
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import structlog
import trio

from p2pool.api.app import create_app
from p2pool.api.http.access_control import AccessControl
from p2pool.api.http.connection import Connection, Server
from p2pool.api.http.methods import Methods
from p2pool.api.http.places import NO_FILES, SLOW_HANDSHAKE, Place, Places
from p2pool.api.http.problems import body_of, problem
from p2pool.api.http.streams import Streams
from p2pool.api.listeners import (
    ApiSettings,
    address_of,
    bind,
    fingerprint,
    tls_context,
    unix_listener,
    url_of,
)
from p2pool.model import limits
from p2pool.model.data_dir import API_CERTIFICATE_FILE, API_URL_FILE
from p2pool.model.ports.agent import AgentPort

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
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; started with the URL once it is listening.

    Every client must send `token`, from `drivers.keys.load_or_make_token(directory)`. Writes
    `api.url` to `directory`, so that this machine's commands find the agent, makes `api.sock`
    there, and removes both at the end. `counters`: where connections that were cut are counted.
    Raises `PortTaken` and `Misconfigured` before it starts.
    """
    context = tls_context(settings)
    with bind(settings) as listener, unix_listener(directory) as local:
        host, _ = address_of(settings.bind)
        any_ip = host in ("0.0.0.0", "::")
        places = Places(counters)
        app = create_app(port, version=version, metrics=settings.metrics, places=places)
        # A name may be bound, while the URL for this machine has its number.
        hosts = (host, str(listener.getsockname()[0]), *settings.hosts)
        server = Server(AccessControl(Methods(app), token, hosts, any_ip), places)
        url = url_of(listener, settings)
        path, shown = directory / API_URL_FILE, directory / API_CERTIFICATE_FILE
        shown.unlink(missing_ok=True)
        if settings.certificate is not None:
            _write_private(shown, fingerprint(settings.certificate) + "\n")
        _write_private(path, url + "\n")
        doors = [_Door(listener, context, server)]
        if local is not None:
            doors.append(_Door(local, None, server))
        try:
            await _serve(doors, app.state["streams"], lambda: task_status.started(url))
        finally:
            path.unlink(missing_ok=True)
            shown.unlink(missing_ok=True)


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
    tls: ssl.SSLContext | None
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
        spoken = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
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
