"""One question to an agent over plain HTTP/1.1, and the whole answer.

Python's own client reads headers as e-mail does, and costs more to import than a command that reads
has to spend. An agent answers with a length, in chunks, or until it closes; nothing else is taken.
A stream, or TLS, is a matter for `http.client`.
"""

import socket
from collections.abc import Mapping

HEAD_MAX_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024


class BadAnswer(OSError):
    """What answers does not speak HTTP, or broke off."""


class _Reader:
    """Bytes of a socket, by length or to a mark."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream, self._kept = stream, b""

    def _more(self) -> bool:
        piece = self._stream.recv(_PIECE_BYTES)
        self._kept += piece
        return bool(piece)

    def until(self, mark: bytes) -> bytes:
        """Up to a mark, which is dropped."""
        while mark not in self._kept:
            if len(self._kept) > HEAD_MAX_BYTES or not self._more():
                raise BadAnswer("it is no HTTP")
        found, _, self._kept = self._kept.partition(mark)
        return found

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        pieces, missing = [self._kept[:count]], count - len(self._kept)
        self._kept = self._kept[count:]
        while missing > 0:
            piece = self._stream.recv(min(missing, _PIECE_BYTES))
            if not piece:
                raise BadAnswer("it broke off")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def rest(self) -> bytes:
        """All until the other side closes."""
        pieces = [self._kept]
        while piece := self._stream.recv(_PIECE_BYTES):
            pieces.append(piece)
        return b"".join(pieces)


def ask(
    stream: socket.socket,
    host: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> tuple[int, bytes]:
    """Send a request over a connection, which is spent then: (status, body). Raises OSError."""
    named = {"Host": host, "Connection": "close", **headers}
    if body is not None:
        named["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise BadAnswer("a line of the request has two")
    stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
    reader = _Reader(stream)
    while True:
        status, told = _head(reader)
        if status >= 200:
            return status, _body(reader, status, told)


def _head(reader: _Reader) -> tuple[int, dict[str, str]]:
    first, *lines = reader.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise BadAnswer("it is no HTTP")
    pairs = (line.partition(":") for line in lines)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _body(reader: _Reader, status: int, headers: Mapping[str, str]) -> bytes:
    if status in (204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return b"".join(_chunks(reader))
    if (length := headers.get("content-length")) is None:
        return reader.rest()
    if not length.isdigit():
        raise BadAnswer("its length is no number")
    return reader.exactly(int(length))


def _chunks(reader: _Reader) -> list[bytes]:
    found: list[bytes] = []
    while True:
        text = reader.until(b"\r\n").partition(b";")[0].strip()
        try:
            size = int(text, 16)
        except ValueError as error:
            raise BadAnswer("a chunk has no length") from error
        if size <= 0:
            return found
        found.append(reader.exactly(size))
        reader.exactly(2)
