"""Answers `GET /metrics` on an address of its own, and nothing else.

Invariants: each request is bounded in bytes and in time, and so is how many there are at once; what
is asked for changes nothing.
"""

from collections.abc import Callable
from functools import partial

import trio

from p2pool.model import limits
from p2pool.model.errors import Misconfigured, PortTaken

HEAD_END = b"\r\n\r\n"
_KINDS = "text/plain; version=0.0.4; charset=utf-8"


def bind_of(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9470" or "[::1]:9470"; `Misconfigured` for anything else."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) >= 2**16:
        raise Misconfigured(
            f"{text!r} is no address to serve metrics on.", hint="Such as 127.0.0.1:9470."
        )
    return host, int(port)


async def serve_metrics(
    bind: str,
    render: Callable[[], bytes],
    *,
    task_status: "trio.TaskStatus[str]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until cancelled; starts with the address. `PortTaken`: somebody else listens there."""
    host, port = bind_of(bind)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on {bind}: {error.strerror or error}.",
            hint="Name another address with --metrics-bind, or leave it out.",
        ) from error
    room = trio.CapacityLimiter(limits.VALIDATOR_SCRAPES_MAX)
    shown, at = listeners[0].socket.getsockname()[:2]
    task_status.started(f"{shown}:{at}")
    await trio.serve_listeners(partial(_serve, room, render), listeners)


async def _serve(
    room: trio.CapacityLimiter, render: Callable[[], bytes], stream: trio.SocketStream
) -> None:
    try:
        with trio.move_on_after(limits.VALIDATOR_SCRAPE_MS / 1000):
            async with stream:
                room.acquire_on_behalf_of_nowait(stream)
                try:
                    await stream.send_all(_answer(await _head(stream), render))
                finally:
                    room.release_on_behalf_of(stream)
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def _head(stream: trio.SocketStream) -> bytes:
    head = b""
    while HEAD_END not in head and len(head) < limits.VALIDATOR_SCRAPE_MAX_BYTES:
        more = await stream.receive_some(1024)
        if not more:
            break
        head += more
    return head


def _answer(head: bytes, render: Callable[[], bytes]) -> bytes:
    asked = head.split(b"\r\n", 1)[0].split(b" ")
    if HEAD_END not in head or len(asked) != 3:
        return _response("400 Bad Request", b"That is no request.\n")
    if asked[0] != b"GET":
        return _response("405 Method Not Allowed", b"Only GET.\n")
    if asked[1].split(b"?", 1)[0] != b"/metrics":
        return _response("404 Not Found", b"Only /metrics.\n")
    return _response("200 OK", render())


def _response(status: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: {_KINDS}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
