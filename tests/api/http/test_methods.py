"""Each path answers to the methods that its routes take, and says so to the others: all routes."""

import json
import re
from collections import defaultdict

import trio

from p2pool.api.app import ROUTES, openapi
from p2pool.api.http.negotiation import media_of
from tests.api.conftest import Served
from tests.api.fakes import ALLOCATION, OTHER_NODE, TASK_ID
from tests.api.http.strangers import answer

thread = trio.to_thread.run_sync

PROBLEM = "application/problem+json"
KNOWN = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "FOO")
IDS = {
    "node": f"0x{OTHER_NODE.hex()}",
    "task": TASK_ID.hex(),
    "allocation": str(ALLOCATION),
    "name": "none",
    "digest": "00" * 32,
}


def _paths() -> dict[str, dict[str, str]]:
    """The media type of each method of each path, with ids of things that there are."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for handler in (*ROUTES, openapi):
        for path in handler.paths:
            whole = re.sub(r"\{(\w+?)(?:_id)?:[^}]*\}", lambda name: IDS[name[1]], path)
            for method in handler.http_methods:
                found[whole][str(getattr(method, "value", method))] = media_of(handler)
    return dict(found)


PATHS = _paths()


async def _ask(
    served: Served, method: str, path: str, more: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """`more`: headers, and a body after an empty line."""
    text = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {served.token}\r\n{more}"
    )
    text += "" if "\r\n\r\n" in more else "\r\n"
    with trio.fail_after(20):
        found = await thread(answer, served.address, text.encode())
    head, _, body = found.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in rest), body


async def test_each_path_says_what_it_takes(served: Served) -> None:
    """OPTIONS names the methods of the routes, with HEAD where there is GET; a 405 names the same,
    to each of the others."""
    for path, known in PATHS.items():
        takes = {*known, "OPTIONS"} | ({"HEAD"} if "GET" in known else set())
        told = ", ".join(sorted(takes)).lower()
        code, headers, body = await _ask(served, "OPTIONS", path)
        assert (code, headers["allow"], body) == (204, told, b""), path
        for method in set(KNOWN) - takes:
            code, headers, body = await _ask(served, method, path)
            assert (code, headers["allow"]) == (405, told), (method, path)
            assert method == "HEAD" or json.loads(body)["status"] == 405, (method, path)


async def test_head_has_the_headers_of_get(served: Served) -> None:
    """And no body. A stream is compared by its kind: it has no length, and no end to wait for."""
    for path, known in PATHS.items():
        if "GET" not in known:
            continue
        code, headers, body = await _ask(served, "HEAD", path)
        assert body == b"", path
        if known["GET"] == "text/event-stream":
            assert (code, headers["content-type"]) == (200, "text/event-stream")
            continue
        shown, same, body = await _ask(served, "GET", path)
        headers.pop("date")
        same.pop("date")
        assert (code, headers) == (shown, same), path
        assert len(body) == int(same["content-length"]), path


async def test_a_body_of_another_kind_is_refused(served: Served) -> None:
    """415 for what is not JSON, said with what is; a body without a kind is taken for it."""
    for path in (path for path, known in PATHS.items() if "POST" in known):
        for kind in ("text/plain", "application/xml", "application/jsonp", "json", "text/json"):
            more = f"Content-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"
            code, headers, body = await _ask(served, "POST", path, more)
            assert (code, headers["content-type"]) == (415, PROBLEM), (kind, path)
            assert b"application/json" in body
        code, _, body = await _ask(served, "POST", path, "Content-Length: 2\r\n\r\n{}")
        assert code in (400, 422), body
    assert served.port.asked == []


async def test_an_answer_of_another_kind_is_not_given(served: Served) -> None:
    """406 where Accept rules out what a route gives."""
    for path, known in PATHS.items():
        for method in known:
            body = "Content-Length: 2\r\n\r\n{}" if method == "POST" else ""
            code, _, told = await _ask(served, method, path, f"Accept: image/png\r\n{body}")
            assert code == 406, (method, path, told)


async def test_where_no_route_is_nothing_is_allowed(served: Served) -> None:
    """404 to every method, OPTIONS too, with a problem document."""
    for path in ("/", "/v1", "/v1/nothing", "/v2/nodes", "/v1/nodes/0x12/more", "/v1/../metrics"):
        for method in ("GET", "POST", "OPTIONS", "FOO"):
            code, headers, body = await _ask(served, method, path)
            assert (code, headers["content-type"]) == (404, PROBLEM), (method, path)
            assert json.loads(body)["status"] == 404
