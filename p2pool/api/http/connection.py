"""One connection of the listening side: h11 and an ASGI application, one request after the other.

Intuition: one task reads a head, has it answered, and reads the next. While it answers it reads
nothing but that request's body, so a client that does not read its answers stops itself; a stream
alone looks whether its reader is still there. What a request costs here is h11 and two calls to the
system: a write of the pool once spent half of its time in the server.

Invariants: whatever is wrong with a request is answered, as a problem document, and then the
connection ends: after a fault nobody knows where the next request begins. A head, a body, what
comes ahead of an answer, and every wait has a bound. Upgrades are ignored (RFC 9110, 7.8). No
failure gets out of a connection but to its log.
"""

import email.utils
import fcntl
import socket
import termios
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import attrs
import h11
import structlog
import trio
from litestar.types import ASGIApp

from p2pool.api.http.access_control import PLACE
from p2pool.api.http.head import Fault, Target, fault_from, fault_in, fault_of, target_of
from p2pool.api.http.places import SLOW_HEAD, Place, Places
from p2pool.api.http.problems import MEDIA_TYPE, body_of, headers_of, problem
from p2pool.api.http.turns import Turns
from p2pool.model import limits

_BODILESS = {204, 304}
_CODES = {408: "unavailable", 500: "internal", 503: "overloaded"}
_ENDING = Fault(503, "The agent ends.", "Ask again when it runs, or ask another agent.")

Message = MutableMapping[str, Any]

_log = structlog.get_logger("p2pool.api")


@attrs.frozen
class Server:
    """What all connections share."""

    app: ASGIApp
    places: Places
    turns: Turns = attrs.Factory(Turns)


class Connection:
    """A connection; `run` returns when no more can be asked on it."""

    def __init__(
        self, server: Server, stream: trio.abc.Stream, raw: trio.socket.SocketType, place: Place
    ) -> None:
        """`stream`: for what is said; `raw`: the socket under it."""
        self._server, self._stream, self._raw, self._place = server, stream, raw, place
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.API_HEAD_MAX_BYTES)
        self._tls = isinstance(stream, trio.SSLStream)
        self._client = _peer(raw)
        self._answering = trio.CancelScope()
        self._start: h11.Response | None = None
        self._method, self._bodiless = b"", False
        self._fault: Fault | None = None
        self._body_over = self._gone = self._refused = self._unread = False
        self._came = 0  # Bytes of the body as it is sent, and of what comes after it.
        self._is_chunked, self._is_ahead, self._ahead = False, False, 0

    async def run(self) -> None:
        """Answer until one side has enough."""
        again = True
        while again and (request := await self._request()) is not None:
            await self._answer(*request)
            again = await self._again()
        if (self._refused or not again) and not self._gone:
            await self._linger()

    async def dismiss(self) -> None:
        """The place went to somebody else: tell a client that has begun to ask."""
        if self._h11.our_state is h11.SEND_RESPONSE or self._h11.trailing_data[0]:
            detail = "The agent has too many connections, and closed this one."
            await self._refuse(Fault(503, detail, "Try again, with the token at once."))

    # --- the head -------------------------------------------------------------------------------

    async def _request(self) -> tuple[h11.Request, Target] | None:
        """The next request; None where there is none, or none that could be answered."""
        self._place.rest()
        self._method = b""  # As long as none is read, a refusal has a body.
        patience_ms = (
            limits.API_IDLE_TIMEOUT_MS if self._place.known else limits.API_HEAD_TIMEOUT_MS
        )
        with trio.CancelScope(deadline=trio.current_time() + patience_ms / 1000) as waiting:
            self._place.waiting = waiting
            if self._server.places.ending:
                waiting.cancel()
            found = await self._head()
            if not isinstance(found, Fault):
                return found
            await self._refuse(found)
            return None
        if self._h11.trailing_data[0]:
            await self._refuse(self._too_late())
        return None

    def _too_late(self) -> Fault:
        """Why a head that has begun is waited for no longer."""
        if self._server.places.ending:
            return _ENDING
        self._server.places.note(SLOW_HEAD)
        return Fault(408, "The head did not arrive in time.", "Send it without pauses.")

    async def _head(self) -> tuple[h11.Request, Target] | Fault | None:
        judged = 0
        while True:
            coming = self._h11.trailing_data[0]
            if coming and (fault := fault_in(coming, judged)) is not None:
                return fault
            judged = len(coming)
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                return fault_from(error)
            if isinstance(event, h11.Request):
                self._method = event.method
                if (wrong := fault_of(event)) is not None:
                    return wrong
                target = target_of(event)
                return target if isinstance(target, Fault) else (event, target)
            if event is not h11.NEED_DATA:
                return None  # They closed.
            if not await self._read():
                self._gone = not self._h11.trailing_data[0]

    async def _read(self) -> bool:
        """Take what comes next; false at its end."""
        try:
            data = await self._stream.receive_some(limits.API_READ_MAX_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone = True
            data = b""
        self._h11.receive_data(bytes(data))
        self._came += len(data)
        return bool(data)

    # --- the answer -----------------------------------------------------------------------------

    async def _answer(self, request: h11.Request, target: Target) -> None:
        """Have a request answered; a failure, too, is an answer."""
        self._place.work()
        self._start, self._fault, self._body_over, self._came = None, None, False, 0
        self._is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        self._ahead = self._ahead + 1 if self._is_ahead else 0
        scope = self._scope(request, target)
        with trio.CancelScope() as self._answering:
            if self._is_ahead:
                async with self._server.turns.next():
                    await self._run_app(scope)
            else:
                await self._run_app(scope)
        if self._h11.our_state is h11.SEND_RESPONSE:
            await self._refuse(self._fault or self._unanswered())

    def _unanswered(self) -> Fault:
        """Why an application said nothing. At the end streams stop, begun or not."""
        if self._server.places.ending:
            return _ENDING
        return Fault(500, "The agent failed to answer.", "Its log says more.")

    async def _run_app(self, scope: Any) -> None:
        try:
            await self._server.app(scope, self._receive, self._send)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001
            _log.error("api_answer_failed", path=scope["path"], exc_info=error)

    def _scope(self, request: h11.Request, target: Target) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "https" if self._tls else "http",
            "path": target.path,
            "raw_path": target.raw_path,
            "query_string": target.query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._client,
            "server": None,
            "state": {},
            "extensions": {PLACE: self._place},
        }

    async def _receive(self) -> Message:
        """The next piece of the body; after it, that the client is gone."""
        if self._body_over:
            await self._until_gone()
            return {"type": "http.disconnect"}
        if self._h11.they_are_waiting_for_100_continue:
            await self._write(
                self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))
            )
        body = bytearray()
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                await self._give_up(fault_from(error))
            if isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA and body:
                return {"type": "http.request", "body": bytes(body), "more_body": True}
            elif event is h11.NEED_DATA:
                await self._read()
                if self._came > limits.API_CHUNKS_MAX_BYTES:
                    await self._give_up(Fault(413, "The body is too long."))
            else:
                if isinstance(event, h11.EndOfMessage) and event.headers:
                    await self._give_up(Fault(400, "Nobody reads trailers.", "Send none."))
                self._body_over = True
                return {"type": "http.request", "body": bytes(body), "more_body": False}

    async def _until_gone(self) -> None:
        """Return when the client has closed. What it sends meanwhile is kept up to a bound."""
        held = len(self._h11.trailing_data[0])
        while held < limits.API_AHEAD_MAX_BYTES:
            before = self._came
            if not await self._read():
                return
            held += self._came - before
        await trio.sleep_forever()

    async def _give_up(self, fault: Fault | None) -> None:
        """End the application from within; a fault is answered if nothing was so far."""
        self._fault = fault
        self._gone = fault is None
        self._answering.cancel()
        await trio.sleep_forever()

    async def _send(self, message: Message) -> None:
        """The head of an answer waits for the first piece of its body, and goes out with it."""
        if message["type"] == "http.response.start":
            if self._h11.our_state is not h11.SEND_RESPONSE:
                raise RuntimeError("an answer has begun already")
            self._start = self._response(int(message["status"]), message.get("headers", ()))
            return
        data = b""
        if self._start is not None:
            # A client that waits for its answers has sent nothing more by now.
            self._is_ahead = self._has_more()
            data = self._h11.send(self._start) or b""
            self._start = None
        body = message.get("body", b"")
        if body and not self._bodiless:
            data += self._h11.send(h11.Data(data=bytes(body))) or b""
        if not message.get("more_body", False):
            data += self._h11.send(h11.EndOfMessage()) or b""
        if data:
            await self._write(data)

    def _response(self, status: int, headers: Any) -> h11.Response:
        told = [*headers, (b"date", email.utils.formatdate(usegmt=True).encode())]
        # A body that is too long, or waits for a word from us, is not read to its end; nor are a
        # stranger's chunks, of which many small ones cost much.
        coming = self._h11.their_state is h11.SEND_BODY
        costly = coming and self._is_chunked and not self._place.known
        waits = self._h11.they_are_waiting_for_100_continue
        self._unread = status == 413 or waits or costly
        last = self._refused or self._ahead >= limits.API_AHEAD_MAX or self._server.places.ending
        if self._unread or last:
            told.append((b"connection", b"close"))
        self._bodiless = self._method == b"HEAD" or status in _BODILESS
        return h11.Response(status_code=status, headers=told)

    def _has_more(self) -> bool:
        """Whether more was sent than the request."""
        if self._h11.trailing_data[0]:
            return True
        unread = fcntl.ioctl(self._raw.fileno(), termios.FIONREAD, bytes(4))
        return any(unread)

    async def _write(self, data: bytes | None) -> None:
        """Send; who takes nothing for too long is gone. A long piece goes out in parts, so that who
        takes it slowly is not."""
        most = limits.API_SEND_MAX_BYTES
        parts = memoryview(data or b"")
        try:
            for at in range(0, len(parts), most):
                with trio.fail_after(limits.API_SEND_TIMEOUT_MS / 1000):
                    await self._stream.send_all(parts[at : at + most])
        except (trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            await self._give_up(None)

    # --- the end --------------------------------------------------------------------------------

    async def _again(self) -> bool:
        """Make ready for another request; false where there can be none."""
        if self._gone or self._refused:
            return False
        if not self._unread:
            await self._skip_body()
        if (self._h11.our_state, self._h11.their_state) != (h11.DONE, h11.DONE):
            return False
        self._h11.start_next_cycle()
        return True

    async def _skip_body(self) -> None:
        """Drop a body that nobody read, in the time that it has: it may come after its answer, and
        its client may read nothing before it is sent."""
        within = trio.move_on_after(limits.API_BODY_TIMEOUT_MS / 1000)
        with within as self._place.waiting, suppress(h11.RemoteProtocolError):
            if self._server.places.ending:
                within.cancel()
            while self._h11.their_state is h11.SEND_BODY:
                if self._h11.next_event() is not h11.NEED_DATA:
                    continue
                self._place.rest()
                if self._came > limits.API_CHUNKS_MAX_BYTES or not await self._read():
                    return

    async def _refuse(self, fault: Fault) -> None:
        """Say what was wrong, and that nothing more is answered here."""
        self._refused = True
        if self._gone or self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        code = _CODES.get(fault.status, "malformed")
        document = problem(code, fault.status, fault.detail, fault.hint)
        body = body_of(document)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
        headers |= headers_of(document)
        told = [(name.encode(), value.encode()) for name, value in headers.items()]
        data = self._h11.send(self._response(fault.status, told)) or b""
        if not self._bodiless:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        with trio.move_on_after(limits.API_LINGER_MS / 1000):
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._gone = True

    async def _linger(self) -> None:
        """Drop what still comes, for a moment: closed over unread bytes, a connection takes its
        last answer with it."""
        self._place.rest()
        with trio.move_on_after(limits.API_LINGER_MS / 1000):
            try:
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                if not self._tls or self._has_more():
                    await self._drop()
                if self._tls:
                    await self._stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # They closed first.

    async def _drop(self) -> None:
        left = limits.API_BODY_MAX_BYTES
        while left > 0 and (data := await self._stream.receive_some(limits.API_READ_MAX_BYTES)):
            left -= len(data)


def _peer(raw: trio.socket.SocketType) -> tuple[str, int] | None:
    """Address and port of the other side; None if it has none, or is gone already."""
    try:
        return raw.getpeername()[:2] if raw.family != socket.AF_UNIX else None
    except OSError:
        return None
