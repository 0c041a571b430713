"""Load by many clients over HTTP connections that are kept: the same code for both sides.

A request is bytes made beforehand, an answer is read to its end and looked at no further than it
takes to know that the write was accepted: what the clients cost is small and the same for both.
"""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import attrs

TIMEOUT_S = 15.0
PROBE_S = 0.05


@attrs.frozen
class Write:
    """One write: where to, and the whole request as bytes. Each is sent once."""

    url: str
    request: bytes


def http_post(url: str, path: str, body: bytes, *headers: str) -> Write:
    """A POST as it travels."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        "",
        "",
    ]
    return Write(url, "\r\n".join(lines).encode() + body)


class Refused(Exception):
    """The write was not accepted."""


class Client:
    """One connection, opened again when the other side closed it."""

    def __init__(self) -> None:
        """Connects when it has something to send."""
        self._socket: socket.socket | None = None
        self._url = ""

    def send(self, write: Write) -> None:
        """Send a write and wait until it is accepted. Raises Refused, OSError."""
        if self._socket is None or self._url != write.url:
            self.close()
            at = urlsplit(write.url)
            assert at.hostname is not None
            self._socket = socket.create_connection((at.hostname, at.port), TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._url = write.url
        self._socket.sendall(write.request)
        head, body = self._answer(self._socket)
        if b"connection: close" in head:
            self.close()
        if not head.startswith(b"http/1.1 200"):
            raise Refused((head + body).decode(errors="replace")[:300])

    def _answer(self, connected: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(connected)
        head, _, body = data.partition(b"\r\n\r\n")
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._receive(connected)
        return head, body

    def _receive(self, connected: socket.socket) -> bytes:
        data = connected.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def latencies(writes: Sequence[Write]) -> list[float]:
    """Seconds of each of these writes by one client, one after the other."""
    client, taken = Client(), []
    for write in writes:
        began = time.perf_counter()
        client.send(write)
        taken.append(time.perf_counter() - began)
    client.close()
    return taken


def together(shares: Sequence[Sequence[Write]]) -> tuple[list[float], float]:
    """All shares at the same time, one client each: (seconds of each write, writes per second)."""
    taken: list[float] = []
    failed: list[BaseException] = []

    def run(writes: Sequence[Write]) -> None:
        try:
            taken.extend(latencies(writes))
        except (Refused, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(writes,)) for writes in shares]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failed:
        raise failed[0]
    return taken, len(taken) / seconds


def first_accepted(make: Callable[[int], Write], began: float, within_s: float) -> float:
    """Seconds from `began` until a write is accepted, a new one sent every 50 ms whatever became
    of the others: how patient a client is makes no difference."""
    accepted = threading.Event()
    at: list[float] = []

    def attempt(write: Write) -> None:
        client = Client()
        with contextlib.suppress(Refused, OSError, ValueError):
            client.send(write)
            at.append(time.perf_counter())
            accepted.set()
        client.close()

    for number in itertools.count():
        threading.Thread(target=attempt, args=(make(number),), daemon=True).start()
        if accepted.wait(PROBE_S):
            return min(at) - began
        if time.perf_counter() - began > within_s:
            raise TimeoutError(f"no write was accepted within {within_s:g} s")
    raise AssertionError("it counts for ever")
