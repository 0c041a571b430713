"""One question over HTTP/1.1 on a connection that is spent then, and the whole answer.

Intuition: Python's own client reads headers as e-mail does, and costs more to import than a command
that reads has to spend. An agent answers with a length, in chunks, or until it closes; nothing else
is taken. Streams are a matter for `http.client`.

Invariants: of a head, and of a body, no more is kept than a bound; half an answer is none.
Source: RFC 9112.
"""

import socket
from collections.abc import Mapping
from io import BufferedReader

LINE_MAX_BYTES = 64 * 1024
HEADERS_MAX = 100
_HEX = frozenset(b"0123456789abcdefABCDEF")


class NoHttp(Exception):
    """What answers does not speak HTTP."""


class BrokeOff(Exception):
    """An answer without its end."""


def ask(
    opened: socket.socket,
    host: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
    most: int,
) -> tuple[int, bytes]:
    """Send a request: status and body, of which no more than `most` + 1 bytes are read. Raises
    OSError, `NoHttp`, `BrokeOff`."""
    named = {"Host": host, "Connection": "close", "Accept-Encoding": "identity", **headers}
    if body is not None:
        named["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    if not all(line.isprintable() for line in lines) or path.count(" "):
        raise ValueError("a line of the request is two")
    opened.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
    with opened.makefile("rb") as stream:
        while True:
            status, told = _head(stream)
            if status >= 200:
                return status, _body(stream, status, told, most)


def _line(stream: BufferedReader) -> bytes:
    """A line without its end."""
    line = stream.readline(LINE_MAX_BYTES + 1)
    if not line.endswith(b"\n"):
        raise NoHttp if len(line) > LINE_MAX_BYTES else BrokeOff
    return line.rstrip(b"\r\n")


def _head(stream: BufferedReader) -> tuple[int, dict[bytes, bytes]]:
    first = stream.readline(LINE_MAX_BYTES + 1)
    if not first:
        raise ConnectionResetError("it closed without an answer")
    words = first.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not first.endswith(b"\n"):
        raise NoHttp
    if len(words[1]) != 3 or not words[1].isdigit():
        raise NoHttp
    told: dict[bytes, bytes] = {}
    for _ in range(HEADERS_MAX + 1):
        if not (line := _line(stream)):
            return int(words[1]), told
        name, _, value = line.partition(b":")
        told.setdefault(name.strip().lower(), value.strip())
    raise NoHttp


def _body(stream: BufferedReader, status: int, told: Mapping[bytes, bytes], most: int) -> bytes:
    if status in (204, 304):
        return b""
    if told.get(b"transfer-encoding", b"").lower() == b"chunked":
        return _chunks(stream, most)
    if (length := told.get(b"content-length")) is None:
        return stream.read(most + 1)
    if not length.isdigit() or len(length) > len(str(2**64)):
        raise NoHttp
    return _exactly(stream, int(length), most)


def _exactly(stream: BufferedReader, count: int, most: int) -> bytes:
    """So many bytes; of more than `most`, one more than that."""
    found = stream.read(min(count, most + 1))
    if len(found) < min(count, most + 1):
        raise BrokeOff
    return found


def _chunks(stream: BufferedReader, most: int) -> bytes:
    found = bytearray()
    while True:
        digits = _line(stream).partition(b";")[0].strip()
        if not 0 < len(digits) <= 16 or not _HEX.issuperset(digits):
            raise NoHttp
        size = int(digits, 16)
        if not size:
            return bytes(found)
        found += _exactly(stream, size, most - len(found))
        if len(found) > most:
            return bytes(found)
        if _line(stream):
            raise NoHttp
