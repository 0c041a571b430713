"""A connection of the listening side: anycorn's, hardened and cheaper.

Hardened: it ignores requests to upgrade, and gives up a send that the client does not read.
Cheaper, because a write of the pool spends half of its time here: one task watches an idle
connection for all of its life, where the base starts and cancels one for each request; and the head
of an answer goes out together with its body if that follows at once.
"""

import math
from typing import Any

import anyio
import anyio.abc
import h11
from anycorn.events import Closed, RawData, Updated
from anycorn.protocol.events import Request as StreamRequest
from anycorn.protocol.h11 import STREAM_ID, H11Protocol
from anycorn.protocol.http_stream import HTTPStream
from anycorn.task_group import TaskGroup
from anycorn.tcp_server import TCPServer
from anycorn.utils import parse_socket_addr

from p2pool.model import limits


class Connection(TCPServer):  # type: ignore[misc]  # anycorn is read without types
    """A connection of anycorn's whose sends end."""

    def __init__(self, *arguments: Any) -> None:
        """As the base."""
        super().__init__(*arguments)
        self._busy = False
        self._watching = anyio.CancelScope()
        self._idling = anyio.CancelScope()
        self._rested = anyio.Event()

    async def run(self) -> None:
        """Speak HTTP/1.1 until one side closes."""
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        try:
            client = parse_socket_addr(raw.family, raw.getpeername())
            server = parse_socket_addr(raw.family, raw.getsockname())
            async with TaskGroup() as group:
                self._task_group = group
                self.protocol = _Http11(
                    *(self.app, self.config, self.context, group, {}, client, server),
                    *(self.protocol_send, None),
                )
                await self.protocol.initiate()
                group.spawn(self._watch)
                await self._read_data()
                # The client can ask no more: open answers end, nobody watches.
                self._watching.cancel()
        except OSError:
            pass  # The client is gone.
        finally:
            await self._close()

    async def protocol_send(self, event: Any) -> None:
        """As the base, but gives up what a client does not read."""
        if isinstance(event, Updated):
            self._busy = not event.idle
            self._idling.deadline = self._idle_until()
            self._rested.set()
            return
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        try:
            with anyio.fail_after(limits.API_SEND_TIMEOUT_MS / 1000):
                async with self.send_lock:
                    await self.stream.send(event.data)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, TimeoutError):
            await anyio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())

    def _idle_until(self) -> float:
        """When to close a connection that idles from now on."""
        return math.inf if self._busy else anyio.current_time() + self.config.keep_alive_timeout

    async def _watch(self) -> None:
        """Close a connection that idles too long, or that the ending server takes no more from."""
        with self._watching:
            while True:
                with anyio.CancelScope(deadline=self._idle_until()) as self._idling:
                    await self.context.terminated.wait()
                if not self._busy:
                    break
                # The server ends: open answers go first.
                self._rested = anyio.Event()
                await self._rested.wait()
            await self._initiate_server_close()


class _Http11(H11Protocol):  # type: ignore[misc]
    """HTTP/1.1 that ignores requests to upgrade."""

    _head = b""

    async def _send_h11_event(self, event: Any) -> None:
        """As the base, but a head waits for its body if that has a length, and so follows."""
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        data = self._head + (data or b"")
        follows = isinstance(event, h11.Response) and any(
            name == b"content-length" for name, _ in event.headers
        )
        self._head = data if follows else b""
        if data and not follows:
            await self.send(RawData(data=data))

    async def _check_protocol(self, event: Any) -> None:
        """Neither h2c nor prior-knowledge HTTP/2."""

    async def _create_stream(self, request: Any) -> None:
        self.stream = HTTPStream(
            *(self.app, self.config, self.context, self.task_group, self.client, self.server),
            *(self.stream_send, STREAM_ID, self.tls),
        )
        await self.stream.handle(
            StreamRequest(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
