"""Requests with a token of choice, of which only the head of the answer is waited for."""

import json
import time
from typing import Any

import attrs
import trio

from p2pool.model.access.grants import LogGrant, SignedGrant
from p2pool.wire import typed_data
from tests.api.conftest import Served
from tests.wire.samples import ACCOUNT, POOL


@attrs.frozen
class Head:
    """The beginning of an answer: a stream has no end to wait for."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The JSON in the body."""
        return json.loads(self.body)


async def ask(served: Served, token: str | None, method: str, path: str, body: str = "") -> Head:
    """The answer, whole if it has a length."""
    lines = [f"{method.upper()} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    with trio.fail_after(10):
        async with await trio.open_tcp_stream(*served.address) as stream:
            await stream.send_all("\r\n".join([*lines, "", body]).encode())
            raw = b""
            while b"\r\n\r\n" not in raw:
                raw += await _more(stream)
            head, _, rest = raw.partition(b"\r\n\r\n")
            first, *more = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in more)
            length = 0 if method == "head" else int(headers.get("content-length", "0"))
            while len(rest) < length:
                rest += await _more(stream)
    return Head(int(first.split()[1]), headers, rest)


def grant() -> SignedGrant:
    """A grant to read any log."""
    now_s = int(time.time())
    return typed_data.sign_grant(POOL, ACCOUNT, LogGrant(1, "", now_s - 5, now_s + 60))


async def _more(stream: trio.SocketStream) -> bytes:
    piece = bytes(await stream.receive_some())
    assert piece, "it broke off"
    return piece
