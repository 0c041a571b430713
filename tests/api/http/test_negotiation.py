"""A request holds only what its route reads, and gets only what it asked for: nothing is passed
over in silence, and every refusal is a problem document."""

import json

import pytest
import trio

from tests.api.conftest import Served, exchange
from tests.api.fakes import TASK_ID

thread = trio.to_thread.run_sync


async def _ask(
    served: Served, method: str, path: str, headers: str = "", body: str = ""
) -> tuple[int, dict[str, str], bytes]:
    length = f"Content-Length: {len(body)}\n" if body else ""
    return await exchange(
        served,
        f"{method} {path} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {served.token}\n"
        f"Connection: close\n{headers}{length}\n{body}",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nodes?consistant=true",
        "/v1/tasks?stat=running",
        "/v1/tasks?state=walking",
        "/v1/tasks?limit=0",
        "/v1/tasks?limit=1001",
        "/v1/tasks?limit=+1",
        "/v1/tasks?limit=1&limit=2",
        "/v1/tasks?after=yesterday",
        "/v1/tasks?node=me",
        "/v1/tasks?label=%3Dteam",
        "/v1/nodes?consistent=1",
        "/v1/nodes?consistent",
        "/v1/nodes?after=0x12",
        "/v1/pool?pretty=true",
        "/v1/roster?x=",
        "/v1/events?from=1.2.3",
        "/v1/health?verbose=1",
        "/v1/readiness?x=1",
        "/v1/agent?x=1",
        "/v1/leader?x=1",
        "/v1/evidence?limit=-1",
        "/v1/volumes?limit=a",
        "/v1/runtime?x=1",
        "/v1/logs-held?x=1",
        "/v1/openapi.json?x=1",
        "/metrics?name=up",
        f"/v1/tasks/{TASK_ID.hex()}?verbose=true",
        f"/v1/tasks/{TASK_ID.hex()}/metrics?x=1",
        f"/v1/allocations/{TASK_ID.hex()}.0?x=1",
    ],
)
async def test_a_parameter_that_the_route_does_not_read_is_refused(
    served: Served, path: str
) -> None:
    """400, with the name: a caller who misspells one must not take the answer for what it asked."""
    code, headers, body = await _ask(served, "GET", path)
    assert (code, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["code"] == "malformed"
    name = path.partition("?")[2].partition("=")[0].encode()
    assert name in body


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/v1/nodes", "Accept: text/html\n", "", 406),
        ("GET", "/v1/nodes", "Accept: application/json;q=0, */*\n", "", 406),
        ("GET", "/v1/nodes", "Accept: text/html, application/*;q=0.1\n", "", 200),
        ("GET", "/v1/nodes", "Accept: nonsense\n", "", 200),
        ("GET", "/metrics", "Accept: application/json\n", "", 406),
        ("GET", "/metrics", "Accept: text/plain;version=0.0.4;q=0.3\n", "", 200),
        ("GET", "/v1/events", "Accept: application/json\n", "", 406),
        ("POST", "/v1/requests", "Content-Type: text/plain\n", "{}", 415),
        ("POST", "/v1/requests", "Content-Type: application/x-www-form-urlencoded\n", "{}", 415),
        ("POST", "/v1/requests", "Content-Type: application/json; charset=utf-8\n", "{}", 400),
        (
            "POST",
            "/v1/invites",
            "Content-Type: application/json\nContent-Encoding: gzip\n",
            "x",
            415,
        ),
        ("GET", "/v1/nodes", "", "{}", 400),
        ("PUT", "/v1/nodes", "", "", 405),
        ("FOO", "/v1/nodes", "", "", 405),
        ("DELETE", "/v1/requests", "", "", 405),
        ("GET", "/v1/requests", "", "", 405),
        ("GET", "/v2/nodes", "", "", 404),
    ],
)
async def test_what_http_refuses_is_a_problem_too(
    served: Served, method: str, path: str, headers: str, body: str, status: int
) -> None:
    """405 says what is allowed, 406 what the route gives, 415 what it reads."""
    code, found, told = await _ask(served, method, path, headers, body)
    assert code == status, told
    if status == 200:
        return
    assert found["content-type"] == "application/problem+json"
    assert json.loads(told)["status"] == status
    if status == 405:
        assert found["allow"]


@pytest.mark.parametrize("path", ["/v1/tasks?state=idle", "/v1/allocations?state=lost&state="])
async def test_a_word_that_the_route_does_not_know_is_told_with_those_it_does(
    served: Served, path: str
) -> None:
    """By the name that the caller wrote, not by one of ours."""
    code, _, body = await _ask(served, "GET", path)
    assert code == 400
    (problem,) = json.loads(body)["problems"]
    assert problem.startswith("state is not one of pending, ")


async def test_metrics_name_their_form_once(served: Served) -> None:
    """Scrapers refuse a media type with the same parameter twice."""
    _, headers, _ = await _ask(served, "GET", "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize("path", ["/v1/nodes", "/v1/health", "/v1/events", "/metrics"])
async def test_head_is_get_without_the_body(served: Served, path: str) -> None:
    """Of a stream, too: it ends after its head."""
    code, headers, body = await _ask(served, "HEAD", path)
    assert (code, body) == (200, b"")
    assert "content-type" in headers
    code, _, body = await _ask(served, "HEAD", "/v1/nothing")
    assert (code, body) == (404, b"")
    assert (await _ask(served, "HEAD", "/v1/requests"))[0] == 405


async def test_options_says_what_a_path_takes(served: Served) -> None:
    """And gives no body."""
    code, headers, _ = await _ask(served, "OPTIONS", "/v1/volumes")
    assert code == 204
    assert headers["allow"] == "delete, get, head, options"
    _, headers, _ = await _ask(served, "OPTIONS", "/v1/requests")
    assert headers["allow"] == "options, post"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"request": {}, "request": {}}', b"the key 'request' twice"),
        ('{"request": {"pool_id": 1, "pool_id": 2}}', b"the key 'pool_id' twice"),
        ('{"request": NaN}', b"NaN is no value"),
        ('{"request": -Infinity}', b"-Infinity is no value"),
    ],
)
async def test_a_body_of_two_meanings_is_refused(served: Served, body: str, told: bytes) -> None:
    """Of two values of a key one would be passed over; and what is not JSON is not read as it."""
    headers = "Content-Type: application/json\n"
    code, _, answer = await _ask(served, "POST", "/v1/requests", headers, body)
    assert (code, told in answer) == (400, True), answer
