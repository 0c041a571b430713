"""A receiver of webhooks that does what a test tells it: real sockets, real TLS, real HTTP."""

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import h11
import trio

from p2pool.drivers.config.schema import WebhookConfig

OPERATING = Path(__file__).resolve().parents[3] / "docs" / "operating.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The one of the specification's examples."""


@attrs.frozen
class Got:
    """One request."""

    target: str
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class StandIn:
    """`answers`: what the next requests are answered with, a status or bytes to send as they are;
    then 204. `connections`: how many came."""

    port: int
    answers: list[int | bytes | None] = attrs.field(factory=list)
    extra: list[tuple[str, str]] = attrs.field(factory=list)
    got: list[Got] = attrs.field(factory=list)
    connections: int = 0
    on_request: Callable[[Got], None] = lambda _: None
    closes: bool = False
    _came: trio.Event = attrs.field(factory=trio.Event)

    async def wait(self, count: int) -> list[Got]:
        """So many requests, from the first on."""
        with trio.fail_after(20):
            while len(self.got) < count:
                await self._came.wait()
        return self.got[:count]

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer on one connection. None in `answers`: never answer."""
        self.connections += 1
        conn = h11.Connection(h11.SERVER)
        try:
            while (got := await self._request(conn, stream)) is not None:
                answer = self.answers.pop(0) if self.answers else 204
                self.got.append(got)
                self.on_request(got)
                came, self._came = self._came, trio.Event()
                came.set()
                if answer is None:
                    await trio.sleep_forever()
                if isinstance(answer, bytes):
                    await stream.send_all(answer)
                    return
                response = h11.Response(status_code=answer or 204, headers=self.extra)
                await stream.send_all(conn.send(response) or b"")
                await stream.send_all(conn.send(h11.EndOfMessage()) or b"")
                if self.closes or conn.our_state is not h11.DONE:
                    return
                conn.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _request(self, conn: h11.Connection, stream: trio.abc.Stream) -> Got | None:
        target, headers, body = "", dict[str, str](), b""
        while True:
            event = conn.next_event()
            if isinstance(event, h11.Request):
                target = event.target.decode()
                headers = {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Got(target, headers, body)
            elif event is h11.NEED_DATA:
                data = await stream.receive_some(65536)
                conn.receive_data(bytes(data))
            else:
                return None


@asynccontextmanager
async def receiving(certificate: tuple[Path, Path] | None = None) -> AsyncIterator[StandIn]:
    """A receiver on a free port of 127.0.0.1, with TLS where it has a certificate."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        stand_in = StandIn(listener.socket.getsockname()[1])
        context = None
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*certificate)

        async def serve(stream: trio.SocketStream) -> None:
            if context is None:
                await stand_in.serve(stream)
                return
            spoken = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            try:
                await spoken.do_handshake()
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(stream)
                return
            await stand_in.serve(spoken)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        try:
            yield stand_in
        finally:
            nursery.cancel_scope.cancel()


def secret_in(directory: Path, text: str = SECRET) -> Path:
    """A file with a secret that only its owner reads."""
    path = directory / "secret"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def webhook(directory: Path, url: str, **more: object) -> WebhookConfig:
    """A section for a receiver."""
    given: dict[str, object] = {"name": "test", "secret_file": secret_in(directory), **more}
    return WebhookConfig(url=url, **given)  # type: ignore[arg-type]


def published_verification() -> Callable[[str, dict[str, str], bytes], bool]:
    """What the snippet in docs/operating.md defines."""
    found = re.search(r"```python\n(.*?def verified.*?)```", OPERATING.read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    return cast(Callable[[str, dict[str, str], bytes], bool], names["verified"])
