"""One question of JSON-RPC 2.0 to another program on this machine or beside it, one answer.

Over a unix socket as geth's programs speak it: one JSON object after the other, each read to its
end. Over HTTP: a POST. Each call opens a connection of its own, so that one that waits for a person
holds up no other, and ends by its deadline. What comes back is bounded and of this call.
"""

import http.client
import json
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from p2pool.codec.json.depth import too_deep
from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.model.errors import NotAllowed, Unavailable

_ID = 1
_PIECE_BYTES = 65536


def ask(endpoint: str, shown: str, method: str, params: list[Any], patience_ms: int) -> Any:
    """The result of a call. `shown`: what errors call the endpoint. Raises `Unavailable` (nobody
    answers, or with something that is no answer) and `NotAllowed` (it refuses)."""
    question = {"jsonrpc": "2.0", "id": _ID, "method": method, "params": params}
    body = json.dumps(question).encode()
    try:
        if endpoint.startswith(("http://", "https://")):
            answer = _over_http(endpoint, body, patience_ms / 1000)
        else:
            answer = _over_socket(endpoint, body, patience_ms / 1000)
        told = _object(answer)
    except TimeoutError as error:
        raise Unavailable(
            f"The signer at {shown} did not answer within {patience_ms // 1000} s.",
            hint="Look at its window: it may wait for you to approve.",
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unavailable(
            f"The signer at {shown} does not answer: {safe_text(why)}.",
            hint="Start it, or correct its address: clef:PATH or clef:http://HOST:PORT.",
        ) from error
    if told.get("error") is not None:
        raise _refused(shown, method, told["error"])
    return told["result"]


def _refused(shown: str, method: str, error: Any) -> NotAllowed:
    said = error.get("message") if isinstance(error, dict) else error
    return NotAllowed(
        f"The signer at {shown} refused {method}: {safe_text(str(said))}.",
        hint="Approve it there, or let a rule of the signer do so; then try again.",
    )


def _object(data: bytes) -> dict[str, Any]:
    text = data.decode()
    if too_deep(text):
        raise ValueError("its answer is nested too deeply")
    told = json.loads(text)
    # Many programs write `"error": null` beside a result, as JSON-RPC 1.0 had it.
    if (
        not isinstance(told, dict)
        or told.get("id") != _ID
        or not ("result" in told or told.get("error") is not None)
    ):
        raise ValueError("what it says is no answer in JSON-RPC")
    return told


def _over_socket(path: str, body: bytes, patience_s: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limits.SIGNER_CONNECT_MS / 1000)
        connection.connect(path)
        end_s = time.monotonic() + patience_s
        connection.settimeout(patience_s)
        connection.sendall(body + b"\n")
        kept = bytearray()
        while True:
            connection.settimeout(_left_s(end_s))
            piece = connection.recv(_PIECE_BYTES)
            kept += piece
            if len(kept) > limits.SIGNER_ANSWER_MAX_BYTES:
                raise ValueError("its answer is too long")
            if (whole := _whole(kept)) is not None:
                return whole
            if not piece:
                raise ConnectionError("it ended the connection before it answered")


def _left_s(end_s: float) -> float:
    """What is left of the patience; TimeoutError if nothing is."""
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _whole(kept: bytearray) -> bytes | None:
    """The first JSON value, once it is complete. A program may end it with a new line, or not."""
    try:
        text = kept.decode().lstrip()
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[:end].encode()


def _over_http(url: str, body: bytes, patience_s: float) -> bytes:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=patience_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=patience_s)
    try:
        connection.timeout = limits.SIGNER_CONNECT_MS / 1000
        connection.connect()
        end_s = time.monotonic() + patience_s
        connection.sock.settimeout(patience_s)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = b""
        while piece := answer.read1(_PIECE_BYTES):
            data += piece
            if len(data) > limits.SIGNER_ANSWER_MAX_BYTES:
                raise ValueError("its answer is too long")
            if connection.sock is not None:
                connection.sock.settimeout(_left_s(end_s))
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise ValueError(f"HTTP status {answer.status}")
    return data
