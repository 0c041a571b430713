"""Streams answers without an end: log lines as NDJSON and events as SSE.

A stream sends a ping every few seconds, which shows whether its reader is still there, and ends as
soon as its connection or its token does. An error before the first byte becomes an ordinary problem
document; a later one is the last piece of the stream. The number of streams is bounded.
"""

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import trio
from litestar.types import Receive, Scope, Send

from p2pool.api.http.problems import problem_of
from p2pool.api.http.tokens import SHOWN, Shown
from p2pool.codec.json.events import event_json, id_text
from p2pool.model import limits
from p2pool.model.errors import NotAllowed, Overloaded, P2poolError
from p2pool.model.messages.task_streams import LogChunk, LogChunks, LogStream
from p2pool.model.ports.agent import EventStream

Line = dict[str, Any]

# Made once: `json.dumps` makes an encoder for each line.
_encode = json.JSONEncoder(ensure_ascii=False).encode


class Streams:
    """The number of open streams, and whether they must end."""

    def __init__(self) -> None:
        """No stream is open."""
        self.open = 0
        self.closing = trio.Event()


class StreamAnswer:
    """An ASGI application that sends pieces as they come."""

    def __init__(
        self,
        streams: Streams,
        pieces: AsyncGenerator[bytes, None],
        media_type: str,
        ping: bytes | None,
        failed: Callable[[P2poolError], bytes] | None,
    ) -> None:
        """`failed` writes an error as the last piece; without it, the connection breaks off.
        `ping` None: nothing may come between the pieces."""
        self._streams, self._pieces, self._failed = streams, pieces, failed
        self._media_type, self._ping = media_type, ping
        self._started = self._ended = False
        self._lock = trio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all pieces; raises an error that comes before the first."""
        if self._streams.open >= limits.API_STREAMS_MAX:
            raise Overloaded("Too many streams are open.", hint="Close one, or try later.")
        self._streams.open += 1
        extensions: Mapping[str, Any] = scope.get("extensions") or {}
        error: P2poolError | None = None
        try:
            async with aclosing(self._pieces), trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, receive, nursery.cancel_scope)
                nursery.start_soon(self._end, nursery.cancel_scope)
                nursery.start_soon(self._keep_alive, send)
                if isinstance(shown := extensions.get(SHOWN), Shown):
                    nursery.start_soon(self._part, shown, send, nursery.cancel_scope)
                error = await self._pump(send)
                nursery.cancel_scope.cancel()
        finally:
            self._streams.open -= 1
        if error is not None:
            raise error

    async def _pump(self, send: Send) -> P2poolError | None:
        """Send until the end; returns an error that the reader has not seen."""
        try:
            async for piece in self._pieces:
                await self._send(send, piece)
        except P2poolError as error:
            if not self._started or self._failed is None:
                return error
            await self._send(send, self._failed(error))
        await self._finish(send)
        return None

    async def _finish(self, send: Send) -> None:
        """The end of the answer, once."""
        async with self._lock:
            if not self._ended:
                await self._start(send)
                self._ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive, scope: trio.CancelScope) -> None:
        """Stop everything when the reader has gone."""
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _end(self, scope: trio.CancelScope) -> None:
        """Stop when the server does: readers come back later, or to another agent."""
        await self._streams.closing.wait()
        scope.cancel()

    async def _part(self, shown: Shown, send: Send, scope: trio.CancelScope) -> None:
        """Stop when the token is over, and say so where a piece can: a reader who takes nothing is
        not waited for."""
        error = NotAllowed(
            await shown.until_over(), hint="Ask the agent's owner for another token."
        )
        with trio.move_on_after(limits.API_LINGER_MS / 1000):
            if self._failed is not None:
                await self._send(send, self._failed(error))
                await self._finish(send)
        scope.cancel()

    async def _keep_alive(self, send: Send) -> None:
        await trio.sleep(limits.API_FIRST_WAIT_MS / 1000)
        while self._ping is not None:
            await self._send(send, self._ping)
            await trio.sleep(limits.API_STREAM_PING_MS / 1000)

    async def _send(self, send: Send, piece: bytes) -> None:
        async with self._lock:
            if not self._ended:
                await self._start(send)
                await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _start(self, send: Send) -> None:
        if not self._started:
            self._started = True
            headers = [
                (b"content-type", self._media_type.encode()),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})


# --- logs ---------------------------------------------------------------------------------------


def log_answer(streams: Streams, batches: AsyncIterator[LogChunks]) -> StreamAnswer:
    """Log lines as NDJSON: `{"stream", "at_ms", "text" or "base64"}`, at the end `{"end": true}`
    or `{"error": problem}`; an empty line is a ping."""
    lines = _log_lines(batches)
    return StreamAnswer(streams, lines, "application/x-ndjson", b"\n", _failed_line)


async def _log_lines(batches: AsyncIterator[LogChunks]) -> AsyncGenerator[bytes, None]:
    async with _closing(batches):
        async for chunks in batches:
            yield b"".join([_line(chunk_line(chunk)) for chunk in chunks])
    yield _line({"end": True})


def chunk_line(chunk: LogChunk) -> Line:
    """A chunk as JSON: text if it is UTF-8, else base64."""
    name = "stderr" if chunk.stream == LogStream.STDERR else "stdout"
    line: Line = {"stream": name, "at_ms": chunk.at_ms}
    try:
        return line | {"text": chunk.data.decode("utf-8")}
    except UnicodeDecodeError:
        return line | {"base64": base64.b64encode(chunk.data).decode("ascii")}


def _failed_line(error: P2poolError) -> bytes:
    return _line({"error": problem_of(error)})


def _line(value: Line) -> bytes:
    return _encode(value).encode() + b"\n"


# --- events -------------------------------------------------------------------------------------


def event_answer(streams: Streams, stream: EventStream) -> StreamAnswer:
    """Events as server-sent events; a reader can resume after any id `EPOCH.INDEX.NUMBER`."""
    return StreamAnswer(streams, _sse(stream), "text/event-stream", b": ping\n\n", _failed_sse)


async def _sse(stream: EventStream) -> AsyncGenerator[bytes, None]:
    # An id without data is no event, and it is from where a reader resumes who has read none yet
    # (html.spec.whatwg.org, "Server-sent events", dispatching).
    yield f"id: {id_text(stream.begins)}\n\n".encode()
    async with _closing(stream.events):
        async for event in stream.events:
            yield _sse_piece(event.kind, event_json(event), id_text(event.id))


def _failed_sse(error: P2poolError) -> bytes:
    return _sse_piece("error", problem_of(error), "")


def _sse_piece(kind: str, value: Line, name: str) -> bytes:
    """One server-sent event. JSON has no line ends, and kinds are our own words."""
    head = f"id: {name}\n" if name else ""
    return f"{head}event: {kind}\ndata: {json.dumps(value)}\n\n".encode()


class _closing:
    """`aclosing` for iterators that need not be generators."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        if (close := getattr(self._iterator, "aclose", None)) is not None:
            await close()
