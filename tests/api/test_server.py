"""No client takes the API down, reads it without the token, or holds up its end: real sockets."""

import base64
import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest
import trio
import trio.testing

from p2pool.api.server import ApiSettings, bind, serve_api
from p2pool.client.agent_client import AgentClient
from p2pool.codec.json import requests
from p2pool.model import limits
from p2pool.model.access.grants import LogGrant, SignedGrant
from p2pool.model.errors import Misconfigured, NotAllowed, PortTaken, StoreFailed
from p2pool.model.messages.task_streams import LogChunk
from p2pool.model.ports.agent import Accepted, Ask, LogOptions
from p2pool.model.ports.view import Event
from p2pool.wire import typed_data
from tests.api.conftest import Served, exchange
from tests.api.fakes import ALLOCATION, NOT_YOURS, FakePort
from tests.wire.samples import ACCOUNT, POOL

thread = trio.to_thread.run_sync
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UPGRADE = (
    b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: %b\r\nHTTP2-Settings: %b\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: %b\r\n\r\n"
)
TOKEN = "t" * 43
KEY = base64.b64encode(b"k" * 16)


# HTTP/2 with prior knowledge: settings, then the headers of a request.
H2 = PREFACE + bytes.fromhex(
    "00002a04000000000000010000100000020000000100040000ffff00050000400000080000000000030000006400060001"
    "0000"
)


def grant() -> SignedGrant:
    """A grant for any task."""
    now_s = int(time.time())
    return typed_data.sign_grant(POOL, ACCOUNT, LogGrant(1, "", now_s - 5, now_s + 60))


HOSTILE = {
    "websocket and a trailing byte": UPGRADE % (b"websocket", b"", KEY) + b"x",
    "h2c with bad base64": UPGRADE % (b"h2c", b"!!!not-base64!!!", KEY),
    "h2c with settings that are none": UPGRADE % (b"h2c", b"AAA", KEY) + PREFACE,
    "h2 CONNECT without a path": H2
    + bytes.fromhex("0000110105000000014287bdab4e9c17b7ff4186a0e41d139d09"),
    "h2 path that is not ASCII": H2
    + bytes.fromhex("00001201050000000182864186a0e41d139d09448663fff8fffff0"),
    "path that is not ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no HTTP": bytes(range(256)) * 8,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "endless header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000,
    "bad chunk": b"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "half a request": b"GET /v1/health HT",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
async def test_no_payload_takes_the_server_down(served: Served, payload: bytes) -> None:
    """Whatever one connection sends, it ends, and the next one is served."""
    stream = await trio.open_tcp_stream(*served.address)
    async with stream:
        try:
            await stream.send_all(payload)
            await stream.send_eof()
            with trio.fail_after(10):
                while await stream.receive_some():
                    pass
        except trio.BrokenResourceError:
            pass  # closed on us, which is as good
    assert len(await thread(served.client.nodes)) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: localhost\nAuthorization: Bearer {token}", 200),
        ("Host: 127.0.0.1:8650\nAuthorization: bearer {token}", 200),
        ("Host: [::1]\nAuthorization: Bearer {token}", 200),
        ("Host: localhost", 401),
        ("Host: localhost\nAuthorization: Bearer {token}x", 401),
        ("Host: localhost\nAuthorization: Basic {token}", 401),
        ("Host: localhost\nAuthorization: Bearer", 401),
        ("Host: localhost\nAuthorization: Bearer x\nAuthorization: Bearer {token}", 401),
        ("Host: rebound.example\nAuthorization: Bearer {token}", 421),
        ("Host: 10.0.0.1\nAuthorization: Bearer {token}", 421),
        ("Host: localhost\nAuthorization: Bearer {token}\nContent-Length: 99999999", 413),
    ],
)
async def test_who_may_speak_to_the_agent(served: Served, headers: str, status: int) -> None:
    """The token, and a Host header that names this machine; no CORS for anybody."""
    head = headers.format(token=served.token)
    text = f"GET /v1/nodes HTTP/1.1\nConnection: close\nOrigin: http://evil.example\n{head}\n\n"
    code, found, body = await exchange(served, text)
    assert code == status
    assert not [name for name in found if name.startswith("access-control")]
    if status != 200:
        assert found["content-type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
        assert served.token.encode() not in body


async def test_only_health_needs_no_token(served: Served) -> None:
    """A probe learns that the process answers, and nothing else; the client's error is clear."""
    text = "GET {} HTTP/1.1\nHost: localhost\nConnection: close\n\n"
    code, _, body = await exchange(served, text.format("/v1/health"))
    assert (code, json.loads(body)) == (200, {"status": "ok"})
    for path in ("/v1/readiness", "/metrics", "/v1/openapi.json", "/v1/nothing"):
        assert (await exchange(served, text.format(path)))[0] == 401
    with pytest.raises(NotAllowed, match=r"api\.token"):
        await thread(AgentClient(served.url, "x" * 40).nodes)


async def test_a_body_without_a_length_is_bounded_too(served: Served) -> None:
    """Chunks add up: too much is refused with 413 while it arrives."""
    head = (
        f"POST /v1/requests HTTP/1.1\nHost: localhost\nAuthorization: Bearer {served.token}\n"
        "Transfer-Encoding: chunked\nConnection: close\n\n"
    ).replace("\n", "\r\n")
    raw = b""
    async with await trio.open_tcp_stream(*served.address) as stream:
        try:
            await stream.send_all(head.encode())
            for _ in range(2 + limits.API_BODY_MAX_BYTES // 0x8000):
                await stream.send_all(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await stream.send_all(b"0\r\n\r\n")
        except trio.BrokenResourceError:
            pass
        with trio.fail_after(10):
            raw = await stream.receive_some()
    assert b" 413 " in raw.split(b"\r\n")[0]


# --- streams ------------------------------------------------------------------------------------


async def test_log_lines_arrive_in_order_and_whole(served: Served) -> None:
    """Text as text, other bytes as base64, with options and grant as they were sent."""
    served.port.logs.chunks = [LogChunk(1, 5, b"one\n"), LogChunk(2, 6, b"\xff\x00")]
    options = LogOptions(follow=True, tail_lines=3, since_ms=9)
    signed = grant()
    lines = await thread(lambda: list(served.client.logs(str(ALLOCATION), signed, options)))
    assert lines == [
        [
            {"stream": "stdout", "at_ms": 5, "text": "one\n"},
            {"stream": "stderr", "at_ms": 6, "base64": "/wA="},
        ]
    ]
    assert served.port.logs.opened == [(ALLOCATION, options, signed)]


async def test_a_log_that_is_refused_or_breaks_says_why(served: Served) -> None:
    """Before the first line as a problem document, later as the last line."""
    ask = lambda: list(served.client.logs(str(ALLOCATION), grant(), LogOptions()))  # noqa: E731
    served.port.logs.refuse = NOT_YOURS
    with pytest.raises(NotAllowed, match="Ask the manager"):
        await thread(ask)
    served.port.logs.refuse = None
    served.port.logs.chunks = [LogChunk(1, 5, b"one\n")]
    served.port.logs.then = StoreFailed("The disk is gone.")
    with pytest.raises(StoreFailed, match=r"The disk is gone\."):
        await thread(ask)


async def test_events_resume_after_an_id(served: Served) -> None:
    """Ids go on from `Last-Event-ID`, and a reader who leaves is noticed."""
    named = (("state", "failed"), ("exit_code", 3), ("node_id", None))
    served.port.happened = [Event(1, 2, n, 7, "task", "t", f"event {n}", named) for n in range(3)]
    events = served.client.events("1.2.0")
    first = await thread(next, events)
    second = await thread(next, events)
    assert [first["id"], second["id"]] == ["1.2.1", "1.2.2"]
    assert second["text"] == "event 2"
    assert second["details"] == {"state": "failed", "exit_code": 3, "node_id": None}
    await served.port.listening.wait()
    await thread(events.close)  # type: ignore[attr-defined]
    with trio.fail_after(10):
        await served.port.unlistened.wait()


async def test_a_browser_resumes_by_header(served: Served) -> None:
    """`Last-Event-ID`, as `EventSource` sends it, and each event with the id to resume after."""
    served.port.happened = [Event(1, 2, n, 7, "task", "t", f"event {n}") for n in range(3)]
    async with await trio.open_tcp_stream(*served.address) as stream:
        head = f"GET /v1/events HTTP/1.1\nHost: localhost\nAuthorization: Bearer {served.token}\n"
        await stream.send_all(f"{head}Last-Event-ID: 1.2.1\n\n".replace("\n", "\r\n").encode())
        raw = b""
        with trio.fail_after(10):
            while b"event 2" not in raw:
                raw += await stream.receive_some()
    assert b"text/event-stream" in raw
    assert b"id: 1.2.2\nevent: task\n" in raw
    assert b"event 1" not in raw


async def test_what_is_being_answered_at_the_end_is_answered(tmp_path: Path) -> None:
    """A request in flight when the server stops gets its answer, within the grace."""
    port = FakePort()
    asked, answer = trio.Event(), trio.Event()

    async def ask(request: Ask, deadline_ms: int) -> Accepted:
        asked.set()
        await answer.wait()
        return Accepted(ALLOCATION.task_id, 1, None)

    port.ask = ask  # type: ignore[method-assign]
    (tmp_path / "api.token").write_text(TOKEN)
    answers = []
    async with trio.open_nursery() as outer:
        serving = trio.CancelScope()

        async def serve(*, task_status: trio.TaskStatus[str]) -> None:
            with serving:
                settings = ApiSettings("127.0.0.1:0")
                await serve_api(port, settings, tmp_path, TOKEN, task_status=task_status)

        client = AgentClient(await outer.start(serve), TOKEN, timeout_s=20)

        async def read() -> None:
            answers.append(await thread(lambda: client.nodes(consistent=True)))

        outer.start_soon(read)
        await asked.wait()
        serving.cancel()
        await trio.testing.wait_all_tasks_blocked()
        answer.set()
    assert len(answers[0]) == 2


async def test_a_client_that_reads_nothing_holds_nothing_up(tmp_path: Path) -> None:
    """With a log that never ends and a reader that never reads, the server still stops."""
    port = FakePort()
    port.logs.endless = True
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(
                lambda task_status: serve_api(
                    port, ApiSettings("127.0.0.1:0"), tmp_path, TOKEN, task_status=task_status
                )
            )
            stream = await _deaf_reader(url, TOKEN)
            await _wait_full(port)
            nursery.cancel_scope.cancel()
        await port.logs.closed.wait()
        await stream.aclose()


async def test_a_send_that_is_not_read_is_given_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream behind it is closed, so a deaf reader costs memory for a bounded time only."""
    monkeypatch.setattr(limits, "API_SEND_TIMEOUT_MS", 100)
    served.port.logs.endless = True
    stream = await _deaf_reader(served.url, served.token)
    with trio.fail_after(10):
        await served.port.logs.closed.wait()
    await stream.aclose()


async def _deaf_reader(url: str, token: str) -> trio.SocketStream:
    body = json.dumps(requests.logs_json(grant(), LogOptions(follow=True))).encode()
    host, _, number = url.removeprefix("http://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(number))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = (
        f"POST /v1/allocations/{ALLOCATION}/logs HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await stream.send_all(head.encode() + body)
    return stream


async def _wait_full(port: FakePort) -> None:
    """Until the log has been opened and nothing more of it fits into the connection."""
    while not port.logs.opened:
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked(0.2)


async def test_streams_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is told to come back later."""
    monkeypatch.setattr(limits, "API_STREAMS_MAX", 0)
    text = "GET /v1/events HTTP/1.1\nHost: localhost\nConnection: close\nAuthorization: Bearer "
    code, found, body = await exchange(served, f"{text}{served.token}\n\n")
    assert (code, json.loads(body)["code"], found["retry-after"]) == (503, "overloaded", "1")


# --- listening ----------------------------------------------------------------------------------


async def test_the_url_goes_with_the_agent(tmp_path: Path) -> None:
    """Commands find it while it answers, and are told that none runs afterwards."""
    path = tmp_path / "api.url"
    async with trio.open_nursery() as nursery:
        url = await nursery.start(
            lambda task_status: serve_api(
                FakePort(), ApiSettings("127.0.0.1:0"), tmp_path, TOKEN, task_status=task_status
            )
        )
        assert path.read_text() == url + "\n"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        nursery.cancel_scope.cancel()
    assert not path.exists()


def test_a_port_that_is_taken_is_said_so() -> None:
    """With what to do."""
    with bind(ApiSettings("127.0.0.1:0")) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortTaken, match="ss -ltnp"):
            bind(ApiSettings(f"127.0.0.1:{number}"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ApiSettings("0.0.0.0:0"), "without TLS"),
        (ApiSettings("[::]:0"), "without TLS"),
        (ApiSettings("127.0.0.1"), "HOST:PORT"),
        (ApiSettings("127.0.0.1:99999"), "HOST:PORT"),
        (ApiSettings("[::1]evil:0"), "HOST:PORT"),
        (ApiSettings("::1:0"), "HOST:PORT"),
        (ApiSettings("a@127.0.0.1:0"), "HOST:PORT"),
        (ApiSettings("127.0.0.1:0", certificate=Path("c.pem")), "private key"),
    ],
)
def test_listening_unsafely_is_refused(settings: ApiSettings, said: str) -> None:
    """Everything but loopback wants TLS."""
    with pytest.raises(Misconfigured, match=said):
        bind(settings).close()


async def test_who_acknowledges_nothing_is_ended_by_the_system(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that vanished without a word keeps its stream no longer than the bound, though what
    is sent to it still fits into the system's memory."""
    monkeypatch.setattr(limits, "API_UNACKNOWLEDGED_MAX_MS", 500)
    served.port.logs.endless = True
    began_s = trio.current_time()
    stream = await _deaf_reader(served.url, served.token)
    with trio.fail_after(limits.API_SEND_TIMEOUT_MS / 1000 / 2):
        await served.port.logs.closed.wait()
    assert trio.current_time() - began_s >= 0.4
    await stream.aclose()
