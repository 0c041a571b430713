"""A proxy between an agent and its engine's socket that fails in the ways engines and sockets do.

It reads one request per connection, asks the engine with `Connection: close`, and hands the answer
on, or does what the fault says. Which requests are met is a pattern over "METHOD path". Threads,
since it must go on when the loop under test does not; `close` ends each of them.
"""

import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import attrs

CHUNK_BYTES = 64 * 1024
POLL_S = 0.02


class Kind(StrEnum):
    """What goes wrong."""

    ERROR = "error"  # The engine's own answer: status 500 and a sentence.
    STALL = "stall"  # Nothing comes, for as long as the fault lasts.
    HALF = "half"  # The answer ends in the middle.
    RESET = "reset"  # The connection is reset before the engine is asked.
    LOST = "lost"  # The engine does what it was asked, and its answer gets lost.
    DRIP = "drip"  # The answer comes a byte at a time.
    TORN = "torn"  # A whole answer of HTTP, with half a JSON in it.
    GARBAGE = "garbage"  # The answer is not HTTP.


@attrs.define
class Fault:
    """A kind of failure for the requests that match; `times` -1: until it is mended."""

    kind: Kind
    pattern: str = ""
    text: str = "something broke"
    times: int = -1


class FaultProxy:
    """Listens at `path` and asks the engine at `engine_path`."""

    def __init__(self, path: Path, engine_path: Path) -> None:
        """Listens at once; nothing fails before `fail`."""
        self.url = f"unix://{path}"
        self.met: Counter[str] = Counter()
        self._engine_path = str(engine_path)
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._threads = [threading.Thread(target=self._accept, name="faultproxy")]
        self._threads[0].start()

    # --- what the test does -----------------------------------------------------------------------

    def fail(self, fault: Fault) -> None:
        """From now on, requests that match fail so."""
        self._fault = fault

    def mend(self) -> None:
        """All is well again; what was stalled is cut off."""
        self._fault = None

    def cut(self) -> None:
        """Reset every connection that is open now: streams of events and of log lines too."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End all of it, and wait for its threads."""
        self._closed = True
        self.mend()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    # --- threads ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [t for t in self._threads if t.is_alive() or t.ident is None]
            thread = threading.Thread(target=self._serve, args=(connection,), name="faultproxy")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._lock:
            self._open |= {connection: None, engine: None}
        try:
            with connection, engine, suppress(OSError):
                request = _read_request(connection)
                if request:
                    self._answer(connection, engine, request)
        finally:
            with self._lock:
                del self._open[connection], self._open[engine]

    def _meets(self, request: bytes) -> Fault | None:
        words = request.split(b" ", 2)
        line = b" ".join(words[:2]).decode("latin-1")
        fault = self._fault
        with self._lock:
            if fault is None or fault.times == 0 or not re.search(fault.pattern, line):
                return None
            fault.times -= 1
            self.met[fault.kind] += 1
        return fault

    def _answer(self, connection: socket.socket, engine: socket.socket, request: bytes) -> None:
        fault = self._meets(request)
        if fault is not None and self._failed_alone(connection, fault):
            return
        engine.connect(self._engine_path)
        engine.sendall(request)
        if fault is None:
            watcher = threading.Thread(target=_close_after, args=(connection, engine))
            watcher.start()
            try:
                while data := engine.recv(CHUNK_BYTES):
                    connection.sendall(data)
            finally:
                # Also after an engine that was killed: a close alone wakes no other thread.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                watcher.join()
            return
        whole = b""
        while data := engine.recv(CHUNK_BYTES):
            whole += data
            if b"/events" in request.split(b"\r\n", 1)[0] and b"{" in whole:
                break  # That answer has no end of its own.
        if fault.kind is Kind.HALF:
            connection.sendall(whole[: max(1, len(whole) - max(1, len(whole) // 3))])
        elif fault.kind is Kind.DRIP:
            for at in range(len(whole)):
                if self._fault is not fault:
                    return
                connection.sendall(whole[at : at + 1])
                time.sleep(POLL_S * 5)

    def _failed_alone(self, connection: socket.socket, fault: Fault) -> bool:
        """Fail without asking the engine, where the fault is of that kind."""
        match fault.kind:
            case Kind.ERROR:
                body = f'{{"message":"{fault.text}"}}'.encode()
                head = (
                    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                connection.sendall(head.encode() + body)
            case Kind.STALL:
                while self._fault is fault and not self._closed:
                    time.sleep(POLL_S)
            case Kind.RESET:
                pass
            case Kind.TORN:
                head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                head += "Transfer-Encoding: chunked\r\n\r\n"
                connection.sendall(head.encode() + b'b\r\n{"Id":"0123\r\n0\r\n\r\n')
            case Kind.GARBAGE:
                connection.sendall(b"\x00\xff nothing that anybody knows\r\n\r\n")
            case _:
                return False
        return True


def _close_after(connection: socket.socket, engine: socket.socket) -> None:
    """Let the engine know when whoever asked has gone away, as it would see it by itself."""
    with suppress(OSError):
        while connection.recv(CHUNK_BYTES):
            pass
    with suppress(OSError):
        engine.shutdown(socket.SHUT_RDWR)


def _read_request(connection: socket.socket) -> bytes:
    """One request, told to be the last on its connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(CHUNK_BYTES)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    pieces, size = [body], len(body)
    while length and size < int(length[1]):
        if not (more := connection.recv(CHUNK_BYTES)):
            return b""  # Cut off in the middle.
        pieces.append(more)
        size += len(more)
    body = b"".join(pieces)
    head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nConnection: close"
    return head + b"\r\n\r\n" + body
