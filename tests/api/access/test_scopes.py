"""Each token opens the routes of its scope and no others, on a real socket, route by route."""

from collections.abc import Iterator

import pytest
import trio

from p2pool.api.app import ROUTES
from p2pool.api.document.document import make_document
from p2pool.api.http.scopes import OPEN, SCOPES, needed_scope
from p2pool.model.access.tokens import TokenScope
from tests.api.access.requests import ask
from tests.api.conftest import Served
from tests.api.fakes import ALLOCATION, TASK_ID
from tests.wire.samples import NODE_ID, POOL

METRICS, READ, OPERATE = TokenScope.METRICS, TokenScope.READ, TokenScope.OPERATE
DOCUMENT = "/v1/openapi.json"
thread = trio.to_thread.run_sync
HELD = {
    "{node_id}": "0x" + NODE_ID.hex(),
    "{task_id}": TASK_ID.hex(),
    "{allocation_id}": str(ALLOCATION),
    "{name}": "none",
    "{digest}": "00" * 32,
}
"""What stands for a parameter of a path."""


def operations() -> Iterator[tuple[str, str]]:
    """Every route of the document, and the document's own."""
    paths = make_document(ROUTES, POOL, "1")["paths"]
    yield from ((path, method) for path, item in paths.items() for method in item)
    yield DOCUMENT, "get"


def concrete(path: str) -> str:
    """A path that the route finds something for, or nothing, but is found itself."""
    for name, value in HELD.items():
        path = path.replace(name, value)
    return path + ("?id=none" if path.startswith("/v1/volumes") and path != "/v1/volumes" else "")


def test_every_route_has_a_scope_of_its_own() -> None:
    """A new route without a row fails here, and a row without a route; what has none would need
    the most."""
    assert set(SCOPES) == set(operations())
    assert needed_scope("/v1/new", "post") is OPERATE


def test_what_touches_the_machine_needs_the_most() -> None:
    """Said once more by hand: what is not here shows, or passes on what an account signed."""
    of = {
        needed: {key for key, one in SCOPES.items() if one is needed} for needed in SCOPES.values()
    }
    assert of[OPEN] == {("/v1/health", "get")}
    assert of[METRICS] == {("/metrics", "get")}
    assert of[OPERATE] == {
        ("/v1/volumes", "delete"),
        ("/v1/volumes/export", "get"),
        ("/v1/tokens", "get"),
        ("/v1/tokens", "post"),
        ("/v1/tokens/{name}", "delete"),
    }
    signed = {"/v1/requests", "/v1/invites", "/v1/allocations/{allocation_id}/logs"}
    assert {path for path, method in of[READ] if method != "get"} == signed


def test_the_document_says_which_scope_opens_a_route() -> None:
    """By the same table."""
    for path, item in make_document(ROUTES, POOL, "1")["paths"].items():
        for method, operation in item.items():
            needed = SCOPES[path, method]
            assert operation["security"] == ([{"token": [needed.value]}] if needed else [])


def test_scopes_lie_in_each_other() -> None:
    """Who may operate may read, and who may read may see metrics."""
    reached = {scope: [one for one in TokenScope if scope.reaches(one)] for scope in TokenScope}
    assert reached == {METRICS: [METRICS], READ: [METRICS, READ], OPERATE: [METRICS, READ, OPERATE]}


async def test_every_route_against_every_scope(served: Served) -> None:
    """No token: 401 with how to authorize. One that is too narrow: 403, which says what it would
    take. One that reaches: whatever the route says, but never one of the two."""
    held = {OPERATE: served.token}
    for scope in (METRICS, READ):
        made = served.client.create_token
        held[scope] = (await thread(made, scope.value, scope.value))["token"]
    for path, method in operations():
        needed, where = SCOPES[path, method], concrete(path)
        none = await ask(served, None, method, where)
        assert (none.status == 401) is (needed is not OPEN), (path, method, none)
        if none.status == 401:
            assert none.headers["www-authenticate"] == 'bearer realm="p2pool"'
        for scope, token in held.items():
            found = await ask(served, token, method, where)
            if needed is OPEN or scope.reaches(needed):
                assert found.status not in (401, 403, 405), (path, method, scope, found)
                continue
            assert found.status == 403, (path, method, scope, found)
            assert found.told["code"] == "not-allowed"
            assert f"has the scope {scope}, and this needs {needed}" in found.told["detail"]
            assert f"--scope {needed}" in found.told["hint"]
            told = found.headers["www-authenticate"]
            assert f'error="insufficient_scope", scope="{needed}"' in told


@pytest.mark.parametrize("method", ["head", "get"])
@pytest.mark.parametrize("path", ["/v1/volumes/export?id=x", "/v1/volumes/export/?id=x"])
async def test_no_other_spelling_opens_a_route(served: Served, path: str, method: str) -> None:
    """Neither HEAD, which is GET without a body, nor a slash at the end, goes round the table."""
    token = (await thread(served.client.create_token, "reader", "read"))["token"]
    assert (await ask(served, token, method, path)).status == 403
    assert (await ask(served, served.token, method, path)).status == 404


async def test_a_reader_learns_no_token(served: Served) -> None:
    """Nothing that it may see holds a token of another, or the digest of one."""
    reader = (await thread(served.client.create_token, "reader", "read"))["token"]
    other = (await thread(served.client.create_token, "other", "operate"))["token"]
    kept = (served.directory / "tokens.json").read_text()
    secrets = [served.token, other, *(p for p in kept.split('"') if len(p) == 64)]
    assert len(secrets) == 4
    for path, method in operations():
        if method != "get" or path == "/v1/events":
            continue
        found = await ask(served, reader, method, concrete(path))
        for secret in secrets:
            assert secret.encode() not in found.body, path
    wanted = '{"name": "mine", "scope": "operate"}'
    assert (await ask(served, reader, "post", "/v1/tokens", wanted)).status == 403
