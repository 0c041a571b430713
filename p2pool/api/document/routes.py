"""What the document says of each route beyond its parameters: its name, its body, its refusals."""

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Route:
    """`refusals`: status codes that this route has beside those of all; `body`: the schema of what
    it reads, "" for nothing; `tag`: whom it is about."""

    name: str
    tag: str
    refusals: tuple[int, ...] = ()
    body: str = ""


_READS = (400, 401, 403, 406, 421, 500, 503)
_WRITES = (404, 409, 413, 415)

ROUTES: Mapping[tuple[str, str], Route] = {
    ("/v1/nodes", "get"): Route("listNodes", "nodes"),
    ("/v1/nodes/{node_id}", "get"): Route("getNode", "nodes", (404, 409)),
    ("/v1/bindings", "get"): Route("listBindings", "nodes"),
    ("/v1/invites", "post"): Route("offerInvite", "nodes", (*_WRITES, 422, 429), "Invite"),
    ("/v1/tasks", "get"): Route("listTasks", "tasks"),
    ("/v1/tasks/{task_id}", "get"): Route("getTask", "tasks", (404, 409)),
    ("/v1/tasks/{task_id}/metrics", "get"): Route("getTaskMetrics", "tasks", (404, 409)),
    ("/v1/tasks/{task_id}/reasons", "get"): Route("getTaskReasons", "tasks", (404, 409)),
    ("/v1/requests", "post"): Route("sendRequest", "tasks", (*_WRITES, 422, 429), "SignedRequest"),
    ("/v1/allocations", "get"): Route("listAllocations", "tasks"),
    ("/v1/allocations/{allocation_id}", "get"): Route("getAllocation", "tasks", (404,)),
    ("/v1/allocations/{allocation_id}/logs", "post"): Route(
        "readLogs", "tasks", (*_WRITES, 429), "LogRequest"
    ),
    ("/v1/leader", "get"): Route("getLeader", "pool"),
    ("/v1/evidence", "get"): Route("listEvidence", "pool"),
    ("/v1/validations", "get"): Route("listValidations", "nodes"),
    ("/v1/validations/{digest}", "get"): Route("getValidation", "nodes", (404, 429)),
    ("/v1/committee", "get"): Route("getCommittee", "pool"),
    ("/v1/roster", "get"): Route("getRoster", "pool"),
    ("/v1/pool", "get"): Route("getPool", "pool"),
    ("/v1/access", "get"): Route("listAccess", "pool"),
    ("/v1/logs-held", "get"): Route("getLogsHeld", "pool"),
    ("/v1/events", "get"): Route("readEvents", "pool", (409,)),
    ("/v1/agent", "get"): Route("getAgent", "agent"),
    ("/v1/health", "get"): Route("getHealth", "agent"),
    ("/v1/readiness", "get"): Route("getReadiness", "agent"),
    ("/metrics", "get"): Route("getMetrics", "agent", (404,)),
    ("/v1/volumes", "get"): Route("listVolumes", "machine"),
    ("/v1/volumes", "delete"): Route("removeVolume", "machine", (404, 409)),
    ("/v1/volumes/export", "get"): Route("exportVolume", "machine", (404,)),
    ("/v1/runtime", "get"): Route("getRuntime", "machine"),
    ("/v1/tokens", "get"): Route("listTokens", "access"),
    ("/v1/tokens", "post"): Route("createToken", "access", (409, 413, 415, 429), "TokenRequest"),
    ("/v1/tokens/{name}", "delete"): Route("revokeToken", "access", (404, 409)),
}

TAGS = {
    "nodes": "The machines of the pool, as this agent knows them.",
    "tasks": "What runs in the pool, and the signed requests that change it.",
    "pool": "The pool as a whole: its members, its committee, its events, its proofs, and who may"
    " act for its keepers.",
    "agent": "This agent itself.",
    "access": "The tokens that open this agent's API.",
    "machine": "The machine that this agent runs on: answered for its owner, never forwarded.",
}

REFUSALS = {
    400: "The request means nothing here: a parameter, a path or a body that cannot be read.",
    401: "The token is missing, wrong, or over: `WWW-Authenticate` says which.",
    403: "The account has no right to this, the signature is not good, or the token does not open"
    " this route.",
    404: "There is no such thing.",
    406: "The Accept header rules out what the route gives.",
    409: "It does not fit what is so now, or names several things.",
    413: "The body is too long.",
    415: "The body is not plain JSON.",
    421: "The Host header names another machine.",
    422: "The specification cannot be carried out; `problems` lists why.",
    429: "The account, or the pool, has too many.",
    500: "A defect of the agent; its log says more.",
    503: "It may work later: there is no leader, or the agent is busy. `Retry-After` says when.",
}


def refusals_of(path: str, route: Route) -> tuple[int, ...]:
    """The status codes of all refusals of a route."""
    common = (400, 406, 421, 500) if path == "/v1/health" else _READS
    return tuple(sorted({*common, *route.refusals}))


def refusal(status: int) -> dict[str, Any]:
    """A refusal as the document tells it: one shape for all of them."""
    told: dict[str, Any] = {
        "description": REFUSALS[status],
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }
    header = {401: "WWW-Authenticate", 503: "Retry-After"}.get(status)
    if header is not None:
        words = "How to authorize." if status == 401 else "Seconds to wait."
        told["headers"] = {header: {"description": words, "schema": {"type": "string"}}}
    return told


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
