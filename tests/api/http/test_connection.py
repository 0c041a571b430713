"""A connection is closed when nothing is asked on it, never while something is answered."""

import time
from contextlib import ExitStack, closing

import pytest
import trio

from p2pool.model import limits
from p2pool.model.ports.view import View
from tests.api.conftest import Served
from tests.api.http.strangers import answer, connect, until_closed

IDLE_MS = 1_500


@pytest.fixture
def short_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with who asks nothing."""
    monkeypatch.setattr(limits, "API_IDLE_TIMEOUT_MS", IDLE_MS)
    monkeypatch.setattr(limits, "API_HEAD_TIMEOUT_MS", IDLE_MS)


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


async def test_what_is_answered_ahead_of_what_is_read_is_bounded(served: Served) -> None:
    """Of a thousand requests in one breath a few are answered, and the last answer says that it is
    the last; who waits for each answer is not cut."""

    def ask() -> tuple[bytes, int]:
        with closing(connect(served.address)) as opened:
            opened.sendall(request(served) * 400)
            ahead = until_closed(opened)
        with closing(connect(served.address)) as opened:
            answered = 0
            for _ in range(3 * limits.API_AHEAD_MAX):
                opened.sendall(request(served))
                answered += opened.recv(1 << 16).startswith(b"HTTP/1.1 200")
        return ahead, answered

    with trio.fail_after(30):
        ahead, answered = await trio.to_thread.run_sync(ask)
    answers = ahead.split(b"HTTP/1.1 200")[1:]
    assert len(answers) == limits.API_AHEAD_MAX + 1
    assert [b"connection: close" in one for one in answers] == [False] * limits.API_AHEAD_MAX + [
        True
    ]
    assert answered == 3 * limits.API_AHEAD_MAX


async def test_requests_ahead_of_answers_do_not_hold_up_others(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While twenty clients pipeline what is costly and read nothing, a probe waits for one or two
    of their answers, not for one of each."""
    made, seen = 0, served.port.seen

    def view() -> View:
        nonlocal made
        made += 1
        time.sleep(0.02)
        return seen

    monkeypatch.setattr(served.port, "view", view)
    costly = request(served).replace(b"/v1/health", b"/v1/pool")
    meanwhile = []

    def attack() -> None:
        with ExitStack() as held:
            for _ in range(20):
                held.enter_context(opened := connect(served.address))
                opened.sendall(costly * limits.API_AHEAD_MAX)
            while made < 22:  # The first of each came ahead of nothing.
                time.sleep(0.01)
            for _ in range(5):
                before = made
                probe = request(served, rest="Connection: close\r\n\r\n")
                assert answer(served.address, probe).startswith(b"HTTP/1.1 200")
                meanwhile.append(made - before)

    with trio.fail_after(30):
        await trio.to_thread.run_sync(attack)
    assert sorted(meanwhile)[2] <= 8, meanwhile
