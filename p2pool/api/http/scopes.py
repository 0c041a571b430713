"""Which token opens which route: one table, and it is what runs.

Intuition: three kinds of people hold tokens of an agent. Prometheus may see its numbers. Who works
with the pool, or watches it, may see what every member sees, and hand over what an account signed:
there the signature gives the right and the token none, so a token of its own for that would keep
nobody out. Who owns the machine may also touch what lies on it.

Invariants: a route without a row needs `operate`, and fails a test. What a route is, the framework
says, after it found the route: no second reading of a path could disagree with the first.
Source: RFC 6750, section 3.1.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from p2pool.api.http.negotiation import Unsuited
from p2pool.api.http.tokens import SHOWN, Shown
from p2pool.model.access.tokens import TokenScope

METRICS, READ, OPERATE = TokenScope.METRICS, TokenScope.READ, TokenScope.OPERATE
OPEN = None
"""No token is needed."""

SCOPES: Mapping[tuple[str, str], TokenScope | None] = {
    ("/v1/health", "get"): OPEN,
    ("/metrics", "get"): METRICS,
    # What every member of the pool sees.
    ("/v1/nodes", "get"): READ,
    ("/v1/nodes/{node_id}", "get"): READ,
    ("/v1/bindings", "get"): READ,
    ("/v1/access", "get"): READ,
    ("/v1/tasks", "get"): READ,
    ("/v1/tasks/{task_id}", "get"): READ,
    ("/v1/tasks/{task_id}/metrics", "get"): READ,
    ("/v1/tasks/{task_id}/reasons", "get"): READ,
    ("/v1/allocations", "get"): READ,
    ("/v1/allocations/{allocation_id}", "get"): READ,
    ("/v1/leader", "get"): READ,
    ("/v1/evidence", "get"): READ,
    ("/v1/validations", "get"): READ,
    ("/v1/validations/{digest}", "get"): READ,
    ("/v1/committee", "get"): READ,
    ("/v1/roster", "get"): READ,
    ("/v1/pool", "get"): READ,
    ("/v1/logs-held", "get"): READ,
    ("/v1/events", "get"): READ,
    ("/v1/agent", "get"): READ,
    ("/v1/readiness", "get"): READ,
    ("/v1/openapi.json", "get"): READ,
    # A signature decides.
    ("/v1/requests", "post"): READ,
    ("/v1/invites", "post"): READ,
    ("/v1/allocations/{allocation_id}/logs", "post"): READ,
    # The machine: what it has is shown, what lies on it belongs to its owner.
    ("/v1/runtime", "get"): READ,
    ("/v1/volumes", "get"): READ,
    ("/v1/volumes", "delete"): OPERATE,
    ("/v1/volumes/export", "get"): OPERATE,
    ("/v1/tokens", "get"): OPERATE,
    ("/v1/tokens", "post"): OPERATE,
    ("/v1/tokens/{name}", "delete"): OPERATE,
}


class TooNarrow(Unsuited):
    """The token is good, and does not open this."""

    def __init__(self, shown: Shown, needed: TokenScope) -> None:
        """`needed`: the least scope that does."""
        token = shown.token
        super().__init__(
            403,
            f"The token {token.name!r} has the scope {token.scope}, and this needs {needed}.",
            f"Make one that does: p2pool agent token create NAME --scope {needed}",
        )
        self.headers = {"www-authenticate": challenge("insufficient_scope", scope=needed)}


def needed_scope(path: str, method: str) -> TokenScope | None:
    """The scope of a route, by its path as the OpenAPI document writes it."""
    return SCOPES.get((path, method), OPERATE)


def check_scope(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raise unless the token that the request showed opens its route."""
    assert isinstance(handler, HTTPRouteHandler)
    scope: Mapping[str, Any] = connection.scope
    needed = _needed(next(iter(handler.paths)), scope["method"].lower())
    if needed is None:
        return
    shown = (scope.get("extensions") or {}).get(SHOWN)
    # Access control lets nobody in who showed none; should that ever change, nothing opens.
    if not isinstance(shown, Shown):
        raise Unsuited(401, "The token is missing or wrong.", "Show a token of this agent.")
    if not shown.scope.reaches(needed):
        raise TooNarrow(shown, needed)


@cache
def _needed(path: str, method: str) -> TokenScope | None:
    """The same by the path as the framework has it: `/v1/nodes/{node_id:str}`."""
    parts = [f"{p.partition(':')[0]}}}" if p.startswith("{") else p for p in path.split("/")]
    return needed_scope("/".join(parts).replace("}}", "}"), method)


def challenge(error: str = "", words: str = "", scope: str = "") -> str:
    """The value of WWW-Authenticate (RFC 6750, 3). `words` hold no quote."""
    told = {"realm": "p2pool", "error": error, "error_description": words, "scope": scope}
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in told.items() if value)
