"""A head that two readers could take for two things is refused, with a problem document, and ends
its connection; on real sockets."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import trio

from p2pool.api.http.head import fault_in, split_host
from p2pool.api.server import ApiSettings
from p2pool.model import limits
from tests.api.conftest import Served, serving
from tests.api.http.strangers import answer, connect, until_closed

thread = trio.to_thread.run_sync
TE = b"Transfer-Encoding: chunked\r\n"
JSON = b"Content-Type: application/json\r\n"
# `%t` stands for the Host header and the token.
G, P = b"GET /v1/nodes HTTP/1.1\r\n%t", b"POST /v1/requests HTTP/1.1\r\n%t"
PJ = P + JSON

# What is sent, and the status of the answer.
HEADS: dict[str, tuple[bytes, int]] = {
    "length and chunks": (P + b"Content-Length: 2\r\n" + TE + b"\r\n0\r\n\r\n", 400),
    "chunks and length": (P + TE + b"Content-Length: 2\r\n\r\n0\r\n\r\n", 400),
    "one length twice": (P + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "two lengths in one": (P + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "two lengths": (P + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a length with a sign": (P + b"Content-Length: +2\r\n\r\n{}", 400),
    "a negative length": (P + b"Content-Length: -2\r\n\r\n{}", 400),
    "a length in hex": (P + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "a length of nothing": (P + b"Content-Length: \r\n\r\n{}", 400),
    "a length too long to count": (P + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}", 400),
    "a length with an underscore": (P + b"Content-Length: 1_0\r\n\r\n{}", 400),
    "a space before the colon": (G + b"Content-Length : 0\r\n\r\n", 400),
    "a header with no name": (G + b": x\r\n\r\n", 400),
    "a header with no colon": (G + b"nonsense\r\n\r\n", 400),
    "a folded header": (G + b"X-A: b\r\n c\r\n\r\n", 400),
    "a fold at the beginning": (b"GET /v1/nodes HTTP/1.1\r\n Host: localhost\r\n%t\r\n", 400),
    "bare LF": (b"GET /v1/nodes HTTP/1.1\n%t\n", 400),
    "one bare LF": (G + b"X-A: b\nX-C: d\r\n\r\n", 400),
    "bare CR": (G + b"X-A: b\rX-C: d\r\n\r\n", 400),
    "NUL": (G + b"X-A: b\x00c\r\n\r\n", 400),
    "a control character": (G + b"X-A: b\x01c\r\n\r\n", 400),
    "an empty line first": (b"\r\nGET /v1/nodes HTTP/1.1\r\n%t\r\n", 400),
    "two coding headers": (P + TE + TE + b"\r\n0\r\n\r\n", 501),
    "another coding": (P + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "a coding with a tail": (P + b"Transfer-Encoding: chunked, identity\r\n\r\n", 501),
    "chunks in HTTP/1.0": (b"POST /v1/requests HTTP/1.0\r\n%t" + TE + b"\r\n0\r\n\r\n", 400),
    "a chunk of no size": (PJ + TE + b"\r\nzz\r\n", 400),
    "a chunk of a huge size": (PJ + TE + b"\r\n" + b"f" * 21 + b"\r\n", 400),
    "a chunk ended by LF": (PJ + TE + b"\r\n2\n{}\r\n0\r\n\r\n", 400),
    "a chunk that is longer": (PJ + TE + b"\r\n1\r\n{}\r\n0\r\n\r\n", 400),
    "trailers": (PJ + TE + b"\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n", 400),
    "half a body": (PJ + b"Content-Length: 9\r\n\r\n{}", 400),
    "two hosts": (G + b"Host: localhost\r\n\r\n", 400),
    "no host": (b"GET /v1/health HTTP/1.1\r\n\r\n", 400),
    "no host in HTTP/1.0": (b"GET /v1/health HTTP/1.0\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /v1/health\r\n", 400),
    "HTTP/2": (b"GET /v1/nodes HTTP/2.0\r\n%t\r\n", 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "http in small letters": (b"GET /v1/nodes http/1.1\r\n%t\r\n", 400),
    "two spaces": (b"GET  /v1/nodes HTTP/1.1\r\n%t\r\n", 400),
    "a space in the path": (b"GET /v1/no des HTTP/1.1\r\n%t\r\n", 400),
    "a path that is none": (b"GET v1/nodes HTTP/1.1\r\n%t\r\n", 400),
    "a star for GET": (b"GET * HTTP/1.1\r\n%t\r\n", 400),
    "CONNECT": (b"CONNECT localhost:80 HTTP/1.1\r\n%t\r\n", 400),
    "a fragment": (b"GET /v1/nodes#x HTTP/1.1\r\n%t\r\n", 400),
    "half an escape": (b"GET /v1/nodes/%%4 HTTP/1.1\r\n%t\r\n", 400),
    "an escape that is not UTF-8": (b"GET /v1/nodes/%%ff HTTP/1.1\r\n%t\r\n", 400),
    "another host in the target": (b"GET http://evil.example/v1/nodes HTTP/1.1\r\n%t\r\n", 400),
    "our host with a user": (b"GET http://a@localhost/v1/nodes HTTP/1.1\r\n%t\r\n", 400),
    "another expectation": (P + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n", 417),
    "a long line": (b"GET /" + b"a" * limits.API_TARGET_MAX_BYTES + b" HTTP/1.1\r\n%t\r\n", 414),
    "a line without an end": (b"G" * (limits.API_TARGET_MAX_BYTES + 9), 414),
    "a long header": (G + b"X-A: " + b"b" * limits.API_HEAD_MAX_BYTES + b"\r\n\r\n", 431),
    "many headers": (G + b"X: y\r\n" * limits.API_HEADERS_MAX + b"\r\n", 431),
}  # fmt: skip


def _filled(served: Served, raw: bytes) -> bytes:
    token = f"Host: localhost\r\nAuthorization: Bearer {served.token}\r\n".encode()
    return raw.replace(b"%t", token).replace(b"%%", b"%")


async def test_a_head_of_two_meanings_is_refused(served: Served) -> None:
    """What follows it on the connection is not read as a request: one answer, then the end."""
    next_one = _filled(served, b"GET / HTTP/1.1\r\n%t\r\n")
    wrong = {}
    for name, (raw, status) in HEADS.items():
        sent = _filled(served, raw) + (b"" if raw.endswith((b"{}", b"G")) else next_one)
        with trio.fail_after(20):
            found = await thread(lambda: answer(served.address, sent, ends=True))  # noqa: B023
        head, _, body = found.partition(b"\r\n\r\n")
        first, *lines = head.lower().split(b"\r\n")
        good = (
            first.startswith(f"http/1.1 {status} ".encode())
            and b"content-type: application/problem+json" in lines
            and b"connection: close" in lines
            and b"\r\n" not in body
            and json.loads(body)["status"] == status
        )
        if not good:
            wrong[name] = found[:300]
    assert wrong == {}
    assert served.port.asked == []


async def test_a_refusal_after_head_has_its_body(served: Served) -> None:
    """The request before it says nothing of what is refused."""
    sent = _filled(served, b"HEAD /v1/nodes HTTP/1.1\r\n%t\r\nGET\r\n\r\n")
    found = await thread(lambda: answer(served.address, sent))
    first, second = found.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 ")
    assert json.loads(second.partition(b"\r\n\r\n")[2])["status"] == 400


ODD: tuple[tuple[bytes, int], ...] = (
    (b"GET /v1/health HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
    (b"GET http://localhost/v1/nodes HTTP/1.1\r\n%tConnection: close\r\n\r\n", 200),
    (b"GET HTTP://LOCALHOST?x=1 HTTP/1.1\r\n%tConnection: close\r\n\r\n", 404),
    (b"GET /v1/node%%73 HTTP/1.1\r\n%tConnection: close\r\n\r\n", 200),
    (b"GET //localhost/v1/nodes HTTP/1.1\r\n%tConnection: close\r\n\r\n", 404),
    (b"get /v1/nodes HTTP/1.1\r\n%tConnection: close\r\n\r\n", 405),
    (b"Get /v1/nodes HTTP/1.1\r\n%tConnection: close\r\n\r\n", 405),
    (b"OPTIONS * HTTP/1.1\r\n%tConnection: close\r\n\r\n", 204),
    (P + b"Connection: close\r\n" + JSON + TE
     + b"\r\n2;ext=1\r\n{}\r\n0\r\n\r\n", 400),
)  # fmt: skip


async def test_what_is_odd_and_has_one_meaning_is_read(served: Served) -> None:
    """HTTP/1.0, a target with our host in it, an extension of a chunk; methods are in capitals."""
    for raw, status in ODD:
        sent = _filled(served, raw)
        with trio.fail_after(20):
            found = await thread(lambda: answer(served.address, sent))  # noqa: B023
        assert found.startswith(f"HTTP/1.1 {status} ".encode()), (raw, found[:300])
        assert b"is no HTTP" not in found


async def test_a_body_is_asked_for_only_where_it_is_read(served: Served) -> None:
    """`Expect: 100-continue` gets the refusal where the token is missing, else first 100."""
    length = b"Expect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"

    def ask() -> tuple[bytes, bytes, bytes]:
        refused = answer(
            served.address, b"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\n" + length
        )
        with closing(connect(served.address)) as opened:
            opened.sendall(_filled(served, P) + b"Connection: close\r\n" + length)
            first = opened.recv(1 << 16)
            opened.sendall(b"{}")
            return refused, first, until_closed(opened)

    with trio.fail_after(20):
        refused, first, rest = await thread(ask)
    assert refused.startswith(b"HTTP/1.1 401 ")
    assert first == b"HTTP/1.1 100 \r\n\r\n"
    assert rest.startswith(b"HTTP/1.1 400 ")


async def test_chunks_are_bounded_with_what_is_around_them(served: Served) -> None:
    """Extensions hold nothing and cost as much to read as what is held."""
    head = _filled(served, PJ + TE + b"\r\n")
    piece = b"1;" + b"x" * 4096 + b"\r\n \r\n"
    sent = head + piece * (9 + limits.API_CHUNKS_MAX_BYTES // len(piece))
    with trio.fail_after(20):
        found = await thread(lambda: answer(served.address, sent))
    assert found.startswith(b"HTTP/1.1 413 ")


HOSTS = {
    "localhost": ("localhost", None),
    "LOCALHOST:8650": ("localhost", 8650),
    "127.0.0.1:1": ("127.0.0.1", 1),
    "[::1]": ("::1", None),
    "[::1]:65535": ("::1", 65535),
    "[0:0:0:0:0:0:0:1]": ("::1", None),
    "a-b.c_d.example.": ("a-b.c_d.example.", None),
}
NO_HOSTS = (
    *("", ":80", "[::1]evil", "[::1]:", "[::1", "::1", "[]", "[::1%lo]", "[::1%25lo]"),
    *("localhost:8650,evil", "localhost,evil", "localhost:99999", "localhost:0", "localhost:"),
    *("user@localhost", "localhost/", "a b", "localhost:+80", "localhost: 80", "localhost:80:80"),
    *("[127.0.0.1]", ".localhost", "local..host", "loc\u00e4lhost", "localhost:\u00b2", "*"),
)  # fmt: skip


@pytest.mark.parametrize("text", [*HOSTS, *NO_HOSTS])
def test_hosts_are_read_whole(text: str) -> None:
    """What follows a bracket or a port makes it none, as do zones, users and ports out of range."""
    assert split_host(text) == HOSTS.get(text)


async def test_a_number_in_the_settings_has_any_spelling(tmp_path: Path) -> None:
    """As the header may have another."""
    settings = ApiSettings("127.0.0.1:0", hosts=("2001:DB8:0::1", "Agent.Example"))
    async with serving(tmp_path, settings) as served:
        for host in ("[2001:db8::1]", "[2001:0DB8::0:1]:8470", "agent.EXAMPLE:1"):
            sent = f"GET /v1/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            found = await thread(answer, served.address, sent.encode())
            assert found.startswith(b"HTTP/1.1 200 "), host


async def test_a_host_header_names_one_host_of_ours(served: Served) -> None:
    """400 for what is no host, 421 for another machine's."""
    others = {"localhost.": 421, "evil.example": 421, "127.1": 421, "[::2]": 421, "2130706433": 421}
    for host, status in {**dict.fromkeys(NO_HOSTS, 400), **others, "LocalHost": 200}.items():
        sent = (
            f"GET /v1/nodes HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            f"Authorization: Bearer {served.token}\r\n\r\n"
        ).encode("latin-1")
        with trio.fail_after(20):
            found = await thread(lambda: answer(served.address, sent))  # noqa: B023
        assert found.startswith(f"HTTP/1.1 {status} ".encode()), (host, found[:200])


def test_a_head_is_judged_alike_in_whatever_pieces_it_comes() -> None:
    """Byte by byte, where each byte is looked at once, as in one piece."""
    for name, (raw, _) in HEADS.items():
        whole = fault_in(raw)
        judged = 0
        for end in range(1, len(raw) + 1):
            found = fault_in(raw[:end], judged)
            judged = end
            if found is not None or raw[:end].endswith(b"\r\n\r\n"):
                break
        assert (found is None) == (whole is None), name
