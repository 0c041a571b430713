"""The small HTTP client takes what servers may send, and nothing that only looks like it."""

import socket
import threading
from contextlib import suppress

import pytest

from p2pool.client import plain_http
from p2pool.client.agent_client import AgentClient
from p2pool.model.errors import Unavailable

MOST = 1000


def _answer(sent: bytes) -> tuple[int, bytes]:
    """What a question gets where the other side sends these bytes and closes."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            while b"\r\n\r\n" not in theirs.recv(65536):
                pass
            with suppress(BrokenPipeError):  # The reader may have seen enough.
                for at in range(0, len(sent), 7):  # Pieces never keep to lines.
                    theirs.sendall(sent[at : at + 7])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with ours:
        ours.settimeout(10)
        return plain_http.ask(ours, "localhost", "GET", "/", {}, None, MOST)


@pytest.mark.parametrize(
    ("sent", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length:2\r\n\r\n{}", 404, b"{}"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n"
            b"0123456789\r\n0\r\n\r\n",
            200,
            b"hello0123456789",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"x" * 2000, 200, b"x" * 1001),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, 200, b"x" * 1001),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"3e8\r\n"
            + b"x" * 1000
            + b"\r\n"
            + b"3e8\r\n"
            + b"x" * 1000,
            200,
            b"x" * 1001,
        ),
    ],
)
def test_an_answer_is_read_to_its_end(sent: bytes, status: int, body: bytes) -> None:
    """By its length, in chunks, or until the other side closes; and one byte beyond the bound."""
    assert _answer(sent) == (status, body)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 fine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
    ],
)
def test_half_an_answer_is_none(sent: bytes) -> None:
    """Nothing is made of what broke off, has no bound, or is no HTTP."""
    with pytest.raises((plain_http.NoHttp, plain_http.BrokeOff, ConnectionError)):
        _answer(sent)


def test_a_path_cannot_hold_another_request() -> None:
    """A line end in it would begin one."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match="is two"):
        plain_http.ask(ours, "localhost", "GET", "/ HTTP/1.1\r\nX: y", {}, None, MOST)


def test_what_is_no_agent_is_told_so() -> None:
    """As an outage, with the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unavailable, match=url):
            AgentClient(url, "x" * 40).nodes()
