"""HTTP to one agent on trio, so that whoever is cancelled stops at once.

Intuition: `client.transport` decides what an address may be, which certificate is good, and what a
failure is called; here the same is carried out without a thread, with h11 as the parser. One
connection for each request, as there.

Invariants: as there: an answer has a bound in bytes and in time, the token is sent only after the
certificate was checked, no redirect is followed. What is cancelled closes its connection without
waiting for anybody.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from p2pool.client import plain_http
from p2pool.client.errors import not_an_agent
from p2pool.client.library.documents import document
from p2pool.client.transport import Transport, reached
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, Overloaded, P2poolError

_PIECE_BYTES = 64 * 1024


class TrioTransport(Transport):
    """Requests to one agent; connects for each."""

    async def ask(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Status of an answer, and the object in its body."""
        with trio.move_on_after(limits.CLIENT_ANSWER_MAX_MS / 1000):
            async with self.opened(method, path, body) as answer:
                found = bytearray()
                while piece := await answer.piece():
                    found += piece
                    if len(found) > limits.CLIENT_ANSWER_MAX_BYTES:
                        most = limits.CLIENT_ANSWER_MAX_BYTES >> 20
                        raise not_an_agent(f"its answer is longer than {most} MiB", self.url)
                return answer.status, document(bytes(found))
        raise self.endless()

    async def stream(self, method: str, path: str, body: Any, kind: str) -> "Answer":
        """The begun answer of a stream of lines of a media type; the caller closes it."""
        with trio.move_on_after(limits.CLIENT_ANSWER_MAX_MS / 1000):
            answer = await self._begun(method, path, body)
            try:
                if answer.status != 200:
                    text = b""
                    while len(text) < limits.CLIENT_LINE_MAX_BYTES and (
                        piece := await answer.piece()
                    ):
                        text += piece
                    raise self.refused(answer.status, self.document(text))
                if answer.kind != kind:
                    said = answer.kind or "something"
                    raise not_an_agent(f"it answers with {said}, not {kind}", self.url)
            except BaseException:
                await answer.aclose()
                raise
            return answer
        raise self.endless()

    @asynccontextmanager
    async def opened(self, method: str, path: str, body: Any) -> AsyncIterator["Answer"]:
        """An answer whose headers were read, until the block ends."""
        answer = await self._begun(method, path, body)
        try:
            yield answer
        finally:
            await answer.aclose()

    async def _begun(self, method: str, path: str, body: Any) -> "Answer":
        sent, headers = self._request(body)
        connection = await self._dialled()
        answer = Answer(self, connection, self._timeout_s)
        try:
            await answer.begin(
                method, self.target(path), {"Host": self._name(), **headers}, sent or b""
            )
        except BaseException:
            await answer.aclose()
            raise
        return answer

    # --- connecting -------------------------------------------------------------------------------

    async def _dialled(self) -> trio.abc.Stream:
        """A connection whose certificate was checked, before anything is sent."""
        with trio.move_on_after(self._timeout_s):
            local = await self._dialled_socket() if self._socket is not None else None
            if local is not None:
                return local
            port = (443 if self._tls else 80) if self._port is None else self._port
            try:
                stream = await trio.open_tcp_stream(self._host, port)
            except (OSError, UnicodeError) as error:
                raise self._no_agent(error) from error
            if self._tls:
                return await self._in_tls(stream)
            try:
                self.check_peer(stream.socket)
            except Misconfigured:
                await trio.aclose_forcefully(stream)
                raise
            return stream
        raise self._no_agent(TimeoutError("timed out"))

    async def _dialled_socket(self) -> trio.abc.Stream | None:
        """The unix socket, which needs no TLS; None where the URL says where else to go."""
        assert self._socket is not None
        try:
            with reached(self._socket) as name:
                return await trio.open_unix_socket(name)
        except OSError as error:
            if (failed := self.socket_error(self._socket, error)) is not None:
                raise failed from error
            return None

    async def _in_tls(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        secured = trio.SSLStream(
            stream, self.tls_context(), server_hostname=self._host, https_compatible=True
        )
        try:
            await secured.do_handshake()
            self.check_certificate(secured.getpeercert(binary_form=True))
        except (trio.BrokenResourceError, ValueError) as error:
            await trio.aclose_forcefully(stream)
            why = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise self.tls_error(why) from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured

    def broke(self, error: Exception) -> P2poolError:
        """What a failure of a connection is called."""
        if isinstance(error, h11.RemoteProtocolError):
            return self.failure(plain_http.NoHttp())
        if isinstance(error, trio.TooSlowError):
            return self.failure(TimeoutError())
        if isinstance(error, trio.BrokenResourceError):
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
                return self.failure(cause)
            return self.failure(ConnectionResetError("it was closed"))
        return self.failure(error)


class Answer:
    """An answer as it comes. `lines` and `piece` fail where nothing comes for a while."""

    def __init__(self, transport: TrioTransport, stream: trio.abc.Stream, timeout_s: float) -> None:
        self._transport, self._stream, self._timeout_s = transport, stream, timeout_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=plain_http.LINE_MAX_BYTES)
        self._rest = b""
        self._over = False
        self.status = 0
        self.kind = ""

    async def begin(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Send a request, and read the head of its answer."""
        given = {**headers, "Connection": "close", "Accept-Encoding": "identity"}
        if body:
            given["Content-Length"] = str(len(body))
        request = h11.Request(method=method, target=path, headers=list(given.items()))
        try:
            with trio.fail_after(self._timeout_s):
                out = (self._http.send(one) for one in (request, h11.Data(body)))
                await self._stream.send_all(b"".join(filter(None, out)))
                await self._stream.send_all(self._http.send(h11.EndOfMessage()) or b"")
        except (trio.BrokenResourceError, trio.TooSlowError, OSError) as error:
            raise self._transport.broke(error) from error
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        if not isinstance(event, h11.Response):
            raise self._transport.failure(ConnectionResetError("it closed without an answer"))
        self.status = event.status_code
        kinds = [value for name, value in event.headers if name == b"content-type"]
        self.kind = kinds[0].decode("latin-1").partition(";")[0].strip().lower() if kinds else ""

    async def piece(self) -> bytes:
        """The next bytes of the body, empty at its end."""
        while not self._over:
            event = await self._event()
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._over = True
            else:
                raise self._transport.failure(plain_http.BrokeOff())
        return b""

    async def lines(self) -> list[bytes] | None:
        """The next whole lines, with their ends; None after the last."""
        while not self._over:
            piece = await self.piece()
            *whole, self._rest = (self._rest + piece).split(b"\n")
            if len(self._rest) >= limits.CLIENT_LINE_MAX_BYTES:
                raise Overloaded(
                    f"The agent sent a line of more than {limits.CLIENT_LINE_MAX_BYTES} bytes."
                )
            if whole:
                return [line + b"\n" for line in whole]
        rest, self._rest = self._rest, b""
        return [rest] if rest else None

    async def aclose(self) -> None:
        """End the connection, without waiting for the other side."""
        await trio.aclose_forcefully(self._stream)

    async def _event(self) -> Any:
        """What the connection says next."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                with trio.fail_after(self._timeout_s):
                    self._http.receive_data(bytes(await self._stream.receive_some(_PIECE_BYTES)))
        except h11.RemoteProtocolError as error:
            if self._http.trailing_data[1]:  # It closed within an answer.
                raise self._transport.failure(plain_http.BrokeOff()) from error
            raise self._transport.broke(error) from error
        except (trio.BrokenResourceError, trio.TooSlowError, OSError) as error:
            raise self._transport.broke(error) from error
        return event
