"""Posts messages to one receiver over HTTP/1.1, and keeps the connection for the next one.

Intuition: h11 over trio's own sockets, no HTTP library: only so the address that was judged is the
one that is connected to, a deadline ends whatever is under way, and nothing follows a redirection
or reads a proxy from the environment behind our back.

Invariants: an attempt has one deadline over all of it; no more of an answer is read than a bound; a
name is looked up for each connection, and each of its addresses judged; a connection that the
receiver closed meanwhile costs no attempt. Nothing of an answer is used but its status and when to
come back.
"""

import os
import ssl
from contextlib import suppress

import attrs
import h11
import trio

from p2pool import __version__
from p2pool.drivers.redaction import safe_text
from p2pool.drivers.webhooks.addresses import is_private
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.model import limits

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
ALLOW = "set allow_private = true if it is meant"


@attrs.frozen
class Outcome:
    """What became of an attempt. `status` None: no answer came, and `why` says what did; else
    `why` is empty for an answer of success. `retry_after_ms`: when the receiver asks to come
    back."""

    status: int | None
    why: str
    retry_after_ms: int = 0


class _Failed(Exception):
    """No answer; the text says why."""


class _Closed(Exception):
    """The receiver had closed a connection that was kept."""


class WebhookClient:
    """One receiver. Only one message is under way at a time."""

    def __init__(self, receiver: Receiver) -> None:
        """Nothing is connected."""
        self.receiver = receiver
        self._stream: trio.abc.Stream | None = None
        self._h11: h11.Connection | None = None
        self._used_s = 0.0
        self._busy = False

    async def post(self, headers: tuple[tuple[str, str], ...], body: bytes) -> Outcome:
        """Send a message; what became of it. Raises nothing."""
        self._busy = True
        outcome: Outcome | None = None
        try:
            with trio.move_on_after(limits.WEBHOOK_TIMEOUT_MS / 1000):
                try:
                    outcome = await self._post(headers, body)
                except _Failed as error:
                    outcome = Outcome(None, str(error))
        finally:
            self._busy, self._used_s = False, trio.current_time()
            if outcome is None or outcome.status is None:
                await self.close()
        return outcome or Outcome(None, f"no answer within {limits.WEBHOOK_TIMEOUT_MS // 1000} s")

    async def close(self) -> None:
        """End the connection, if there is one."""
        stream, self._stream, self._h11 = self._stream, None, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def close_when_idle(self) -> None:
        """Close a connection that nothing was sent over for a while, until cancelled."""
        while True:
            await trio.sleep(limits.WEBHOOK_IDLE_MS / 1000)
            idle_s = trio.current_time() - self._used_s
            if not self._busy and idle_s >= limits.WEBHOOK_IDLE_MS / 1000:
                await self.close()

    # --- one message ----------------------------------------------------------------------------

    async def _post(self, headers: tuple[tuple[str, str], ...], body: bytes) -> Outcome:
        if self._stream is not None:
            with suppress(_Closed):
                return await self._exchange(headers, body, kept=True)
            await self.close()
        self._stream = await self._connect()
        self._h11 = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=limits.WEBHOOK_HEAD_MAX_BYTES
        )
        return await self._exchange(headers, body, kept=False)

    async def _exchange(
        self, headers: tuple[tuple[str, str], ...], body: bytes, *, kept: bool
    ) -> Outcome:
        """`_Closed`: a connection that was kept had ended, before anything was answered."""
        stream, conn = self._stream, self._h11
        assert stream is not None
        assert conn is not None
        request = h11.Request(
            method="POST",
            target=self.receiver.target,
            headers=[
                ("Host", self.receiver.host_header),
                ("User-Agent", f"p2pool/{__version__}"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                *headers,
            ],
        )
        data = conn.send(request) or b""
        data += conn.send(h11.Data(data=body)) or b""
        data += conn.send(h11.EndOfMessage()) or b""
        came = 0
        response: h11.Response | None = None
        try:
            await stream.send_all(data)
            while True:
                event = conn.next_event()
                if isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif event is h11.NEED_DATA:
                    if response is not None and came > limits.WEBHOOK_ANSWER_MAX_BYTES:
                        break  # Its status is all that counts.
                    piece = await stream.receive_some(limits.WEBHOOK_HEAD_MAX_BYTES)
                    if not piece and not came:
                        raise trio.BrokenResourceError("it closed the connection")
                    came += len(piece)
                    if came > limits.WEBHOOK_READ_MAX_BYTES:
                        raise _Failed("its answer has no end")
                    conn.receive_data(bytes(piece))
        except _BROKEN as error:
            if kept and not came:
                raise _Closed from error
            if response is None:
                raise _Failed(_broken(error)) from error
        except h11.RemoteProtocolError as error:
            if response is None:
                raise _Failed(f"its answer is no HTTP: {safe_text(str(error))}") from error
        await self._settle(conn)
        assert response is not None
        return _outcome(response)

    async def _settle(self, conn: h11.Connection) -> None:
        """Make ready for the next message, or close."""
        if (conn.our_state, conn.their_state) == (h11.DONE, h11.DONE):
            conn.start_next_cycle()
        else:
            await self.close()

    # --- a connection ---------------------------------------------------------------------------

    async def _connect(self) -> trio.abc.Stream:
        tried, why = 0, ""
        for family, where in await self._allowed():
            if tried >= limits.WEBHOOK_ADDRESSES_TRIED_MAX:
                break
            tried += 1
            try:
                # A name may have addresses of a family that this machine does not speak.
                sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
            except OSError as error:
                why = _broken(error)
                continue
            try:
                with trio.fail_after(limits.WEBHOOK_CONNECT_MS / 1000):
                    await sock.connect(where)
            except (OSError, trio.TooSlowError) as error:
                sock.close()
                why = _broken(error)
                continue
            except BaseException:
                sock.close()
                raise
            return await self._secured(trio.SocketStream(sock))
        raise _Failed(f"no connection: {why}")

    async def _allowed(self) -> list[tuple[int, tuple[str, int]]]:
        """The addresses of the receiver that a message may go to, as sockets take them."""
        host, port = self.receiver.host, self.receiver.port
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            text = error.strerror if isinstance(error, OSError) else None
            raise _Failed(f"its name cannot be looked up: {text or 'it is none'}") from error
        places = {(int(family), where): str(where[0]) for family, _, _, _, where in found}
        problems = {place: self._problem(address) for place, address in places.items()}
        allowed = [place for place, problem in problems.items() if problem is None]
        if not allowed:
            raise _Failed(next(filter(None, problems.values()), "its name leads nowhere"))
        return allowed  # type: ignore[return-value]

    def _problem(self, address: str) -> str | None:
        """Why a message may not go to an address."""
        private = is_private(address)
        if private and not self.receiver.allow_private:
            return f"it is at {address}, a private address: {ALLOW}"
        if not private and self.receiver.tls is None:
            return f"it is at {address}, in public, without TLS: use https://"
        return None

    async def _secured(self, stream: trio.SocketStream) -> trio.abc.Stream:
        if self.receiver.tls is None:
            return stream
        spoken = trio.SSLStream(
            stream, self.receiver.tls, server_hostname=self.receiver.host, https_compatible=True
        )
        try:
            await spoken.do_handshake()
        except _BROKEN as error:
            await trio.aclose_forcefully(stream)
            raise _Failed(_broken(error)) from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return spoken

    async def check(self) -> str | None:
        """What keeps messages from the receiver's addresses, without connecting; None: nothing."""
        try:
            with trio.fail_after(limits.WEBHOOK_TIMEOUT_MS / 1000):
                await self._allowed()
        except _Failed as error:
            return str(error)
        except trio.TooSlowError:
            return "its name is not looked up in time"
        return None


def _outcome(response: h11.Response) -> Outcome:
    status = response.status_code
    if 200 <= status < 300:
        return Outcome(status, "")
    after_s = 0
    for name, value in response.headers:
        if name == b"retry-after" and value.isdigit() and len(value) < 10:
            after_s = int(value)
    moved = ", a redirection, which is not followed" if 300 <= status < 400 else ""
    return Outcome(status, f"it answered with status {status}{moved}", after_s * 1000)


def _broken(error: BaseException) -> str:
    """What a failure of a connection says."""
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        told = safe_text(cause.verify_message.removesuffix("."))  # It quotes the receiver's host.
        return f"its certificate cannot be trusted: {told}"
    if isinstance(cause, ssl.SSLError):
        return f"it does not speak TLS as we do: {cause.reason or cause}"
    if isinstance(cause, trio.TooSlowError):
        return f"it does not answer within {limits.WEBHOOK_CONNECT_MS // 1000} s"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)  # Without the library's words around it.
    return safe_text(str(cause)) or "the connection broke"
