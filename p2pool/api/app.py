"""Makes the application: routes over an agent's port, every error a problem document.

`create_app` gives the bare application; `server.serve_api` puts access control before it, without
which no route but health opens, and listens.
"""

from typing import Any

import structlog
from litestar import Litestar, Request, Response, get
from litestar.config.response_cache import ResponseCacheConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from p2pool.api.certificates import Certificate
from p2pool.api.document.document import make_document
from p2pool.api.http.methods import allowed
from p2pool.api.http.negotiation import check
from p2pool.api.http.places import Places
from p2pool.api.http.problems import MEDIA_TYPE, Problem, body_of, headers_of, problem, problem_of
from p2pool.api.http.scopes import check_scope
from p2pool.api.http.streams import Streams
from p2pool.api.http.tokens import TokenTable
from p2pool.api.resources import access, agent, nodes, pool, reasons, tasks, tokens, volumes
from p2pool.api.resources.context import port_of
from p2pool.api.resources.proofs import validations, voters
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ports.agent import AgentPort

_log = structlog.get_logger("p2pool.api")

_HTTP_CODES = {
    400: "malformed",
    401: "not-allowed",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    413: "malformed",
    415: "unsupported-media-type",
}

# In the order of the OpenAPI document.
ROUTES: tuple[HTTPRouteHandler, ...] = (
    *(nodes.nodes, nodes.node, nodes.bindings),
    *(tasks.tasks, tasks.task, tasks.task_metrics, reasons.task_reasons, tasks.requests),
    nodes.invites,
    *(tasks.allocations, tasks.allocation, tasks.logs),
    *(voters.leader, voters.evidence, validations.validations, validations.validation),
    *(pool.committee, pool.roster, pool.pool),
    access.access,
    agent.agent,
    *(pool.logs_held, pool.events),
    *(agent.health, agent.readiness, agent.metrics),
    *(volumes.volumes, volumes.remove, volumes.export),
    agent.runtime,
    *(tokens.tokens, tokens.create, tokens.revoke),
)


@get("/v1/openapi.json", summary="This document", include_in_schema=False)
async def openapi(state: State) -> dict[str, Any]:
    """Made when somebody reads it first."""
    if "document" not in state:
        state.document = make_document(
            ROUTES, port_of(state).pool, state.version, state.path_prefix
        )
    found: dict[str, Any] = state.document
    return found


def create_app(
    port: AgentPort,
    tokens: TokenTable,
    *,
    version: str = "",
    metrics: bool = True,
    places: Places | None = None,
    certificate: Certificate | None = None,
    path_prefix: str = "",
) -> Litestar:
    """The application over a port; it knows no sockets, and takes the word of access control for
    which token a request showed. `metrics`: whether `/metrics` answers; `places`: what connections
    have, and `certificate`: what they are shown, for what the agent says of itself; `path_prefix`:
    below it clients find the routes."""
    known = {
        "port": port,
        "tokens": tokens,
        "streams": Streams(),
        "metrics": metrics,
        "version": version,
        "certificate": certificate,
        "path_prefix": path_prefix,
    }
    return Litestar(
        route_handlers=(*ROUTES, openapi),
        state=State({**known, "places": Places() if places is None else places}),
        guards=[check_scope, check],
        exception_handlers={
            P2poolError: _on_error,
            HTTPException: _on_http_error,
            Exception: _on_bug,
        },
        openapi_config=None,
        request_max_body_size=limits.API_BODY_MAX_BYTES,
        response_cache_config=ResponseCacheConfig(default_expiration=None),
        logging_config=None,
        debug=False,
    )


def _answer(document: Problem) -> Response[bytes]:
    return Response(
        body_of(document),
        status_code=document["status"],
        media_type=MEDIA_TYPE,
        headers=dict(headers_of(document)),
    )


def _on_error(_: Request[Any, Any, Any], error: P2poolError) -> Response[bytes]:
    return _answer(problem_of(error))


def _on_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The framework's refusals: no such route, or a query that the route does not take."""
    status = error.status_code
    if status >= 500:
        return _on_bug(_, error)
    wrong = error.extra if isinstance(error.extra, list) else []
    found = tuple(
        f"{one.get('key', 'query')}: {one.get('message', '')}"
        for one in wrong
        if isinstance(one, dict)
    )
    detail = "; ".join(found) or error.detail or "The API cannot answer this request."
    hint = "See the routes at /v1/openapi.json." if status in (400, 404, 405) else ""
    hint = getattr(error, "hint", hint)
    answer = _answer(problem(_HTTP_CODES.get(status, "refused"), status, detail, hint, found))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = allowed(value) if name == "allow" else value
    return answer


def _on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A failure of our own: the answer hides its insides, the log has them."""
    _log.error("api_route_failed", path=request.scope["path"], exc_info=error)
    hint = "This is a bug in the agent; its log says more."
    return _answer(problem("internal", 500, "The agent failed to answer this request.", hint))
