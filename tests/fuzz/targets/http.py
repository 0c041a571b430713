"""What comes in at the API, and what answers a client: heads, hosts, queries, bodies, streams."""

import logging
from collections.abc import Iterator, Sequence
from io import BufferedReader, BytesIO
from typing import Any, cast

import h11
import trio

from p2pool.api.app import create_app
from p2pool.api.http.access_control import AccessControl
from p2pool.api.http.head import (
    Fault,
    Target,
    fault_in,
    fault_of,
    one_spelling,
    split_host,
    target_of,
)
from p2pool.api.http.methods import Methods
from p2pool.api.http.tokens import TokenTable
from p2pool.client.discovery import FoundAgent
from p2pool.client.plain_http import BrokeOff, NoHttp, _body, _head
from p2pool.client.transport import Transport
from p2pool.model.errors import P2poolError
from tests.api.fakes import FakePort
from tests.fuzz.target import target
from tests.fuzz.targets.documents import _grants, _requests
from tests.fuzz.targets.seeds import texts

logging.getLogger("p2pool.api").setLevel(logging.CRITICAL)

TOKEN = "t" * 32
TOKENS = TokenTable(TOKEN)
APP = AccessControl(
    Methods(create_app(FakePort(), TOKENS)), TOKENS, ("agent.example",), any_ip=True
)
TASK = bytes(range(16)).hex()
PATHS = (
    "/v1/nodes?limit=1&after=0x" + "00" * 20,
    "/v1/nodes/0xabab?consistent=true",
    f"/v1/tasks?state=running&state=failed&label=a=b&after=7-{TASK}&limit=5",
    f"/v1/tasks/{TASK}",
    "/v1/tasks/train/metrics",
    f"/v1/tasks/{TASK}/reasons",
    f"/v1/allocations?task={TASK}&after=7-{TASK}-0",
    f"/v1/allocations/{TASK}.0",
    "/v1/leader",
    "/v1/evidence?after=" + "0" * 20 + "-" + "0" * 64,
    "/v1/pool",
    "/v1/committee",
    "/v1/roster",
    "/v1/events?after=1.2.3",
    "/v1/health",
    "/v1/ready",
    "/metrics",
    "/v1/volumes?after=a",
    "/v1/openapi.json",
    "/v1/%ff/%00",
)


def _request(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    head = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:1", f"Authorization: Bearer {TOKEN}")
    return "\r\n".join((*head, *lines, "", "")).encode() + body


def _heads() -> Iterator[bytes]:
    for path in PATHS:
        yield _request("GET", path)
    yield _request("HEAD", "/v1/pool", "Accept: text/html;q=0.5, application/json;q=0")
    yield _request("OPTIONS", "/v1/tasks")
    yield _request("GET", "/v1/events", "Last-Event-ID: 1.2.0", "Accept: text/event-stream")
    yield b"GET /v1/pool HTTP/1.1\r\nHost: [::1]evil\r\n\r\n"
    yield b"GET /v1/pool HTTP/1.1\r\nHost: a,b\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n"
    for path, bodies in (
        ("/v1/requests", _requests()),
        (f"/v1/allocations/{TASK}.0/logs", _grants()),
        ("/v1/invites", iter([b"{}"])),
    ):
        for body in bodies:
            lines = (f"Content-Length: {len(body)}", "Content-Type: application/json")
            yield _request("POST", path, *lines, body=body)
    yield _request(
        "POST", "/v1/requests", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"
    )


def _parsed(data: bytes) -> tuple[h11.Request, Target, bytes] | None:
    """The request in some bytes, as the server reads it; None if it refuses them."""
    if fault_in(data) is not None:
        return None
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(data)
    parser.receive_data(b"")
    request, body = None, b""
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif request is not None and isinstance(event, h11.EndOfMessage):
                wanted = target_of(request)
                if fault_of(request) is not None or isinstance(wanted, Fault):
                    return None
                return request, wanted, body
            else:
                return None
    except h11.RemoteProtocolError:
        return None


@target("http-request", seeds=_heads, allowed=[], time_ms=1000)
def request(data: bytes) -> None:
    """A request is answered once, and never by a failure of ours, whatever it says."""
    found = _parsed(data)
    if found is None:
        return
    asked, wanted, body = found
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method.decode("ascii").upper(),
        "scheme": "http",
        "path": wanted.path,
        "raw_path": wanted.raw_path,
        "query_string": wanted.query,
        "root_path": "",
        "headers": list(asked.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
        "extensions": {},
    }
    answers = trio.run(_answered, scope, body)
    assert len(answers) == 1, "not one answer"
    assert answers[0] != 500, "a failure of ours"


async def _answered(scope: dict[str, Any], body: bytes) -> Sequence[int]:
    """The statuses that the application answers with; a stream without an end is cut off."""
    given = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []
    begun = trio.Event()

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        if given:
            return given.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            for name, value in message["headers"]:
                assert b"\n" not in name + value, "a header of two lines"
            begun.set()

    with trio.move_on_after(60):
        # A reader that goes as soon as the answer has begun ends a stream, too.
        await APP(cast(Any, scope), receive, send)
    return statuses


@target(
    "http-host",
    seeds=texts(
        "127.0.0.1:1", "[::1]:1", "localhost", "[::1]evil", "localhost:1,evil", "agent.example"
    ),
    allowed=[],
)
def host(data: bytes) -> None:
    """A host that is read is of one spelling, and read again it is the same; no other is ours."""
    found = split_host(data.decode("latin-1"))
    if found is None:
        return
    name, port = found
    assert name == one_spelling(name)
    again = f"[{name}]" if ":" in name else name
    assert split_host(again if port is None else f"{again}:{port}") == found
    assert not APP._is_ours(name) or not set(name) & set(" ,[]@/")


@target("http-head", seeds=_heads, allowed=[])
def head(data: bytes) -> None:
    """A head is judged alike whether it comes at once or byte by byte, up to its first fault."""
    judged = 0
    for end in range(1, min(len(data), 300) + 1):
        if fault_in(data[:end], judged) is not None:
            break
        assert fault_in(data[:end]) is None
        judged = end


def _answers() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\n\r\n"
    yield b'HTTP/1.1 100 C\r\n\r\nHTTP/1.0 404 N\r\n\r\n{"code":"not-found","detail":"x"}'
    yield b"HTTP/1.1 500 N\r\nContent-Length: 99999999999999999999\r\n\r\n"


@target(
    "http-answer", seeds=_answers, allowed=[NoHttp, BrokeOff, ConnectionResetError, P2poolError]
)
def answer(data: bytes) -> None:
    """What answers a command, which may be no agent at all."""
    stream, most = cast(BufferedReader, BytesIO(data)), 4096
    status, told = _head(stream)
    body = _body(stream, status, told, most)
    assert len(body) <= most + 1
    transport = Transport(FoundAgent("http://127.0.0.1:1", TOKEN), 1)
    document = transport.document(body)
    transport.refused(status, document)
