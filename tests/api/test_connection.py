"""A connection is closed when nothing is asked on it, never while something is answered."""

import pytest
import trio

from p2pool.model import limits
from tests.api.conftest import Served

IDLE_MS = 1_500


@pytest.fixture
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with who asks nothing."""
    monkeypatch.setattr(limits, "API_IDLE_TIMEOUT_MS", IDLE_MS)


def request(served: Served, method: str = "GET", rest: str = "\r\n") -> bytes:
    """A request on a connection that is to be kept."""
    return (
        f"{method} /v1/health HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {served.token}\r\n{rest}"
    ).encode()


async def test_a_connection_that_asks_nothing_is_closed(short_idle: None, served: Served) -> None:
    """At first, and after an answer; each request begins the time anew."""
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(*served.address) as stream:
            assert await stream.receive_some() == b""
        async with await trio.open_tcp_stream(*served.address) as stream:
            for _ in range(6):
                await trio.sleep(IDLE_MS / 4 / 1000)
                await stream.send_all(request(served))
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            assert await stream.receive_some() == b""


async def test_a_request_that_is_under_way_is_waited_for(short_idle: None, served: Served) -> None:
    """Its body comes late, but within its own time."""
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(*served.address) as stream:
            head = request(served, "POST", "Content-Length: 2\r\n\r\n")
            await stream.send_all(head.replace(b"/v1/health", b"/v1/requests"))
            await trio.sleep(1.5 * IDLE_MS / 1000)
            await stream.send_all(b"{}")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400")


async def test_a_small_answer_is_one_segment(served: Served) -> None:
    """Head and body go out together."""
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(*served.address) as stream:
            for _ in range(20):
                await stream.send_all(request(served))
                answer = await stream.receive_some()
                head, _, body = answer.partition(b"\r\n\r\n")
                assert f"content-length: {len(body)}".encode() in head.lower()
                assert body
