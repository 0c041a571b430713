"""Turns errors into RFC 9457 problem documents, with their HTTP status in one table.

    {"type": "urn:p2pool:error:no-leader", "title": "No leader", "status": 503, "code": "no-leader",
     "detail": "No leader is known.", "hint": "...", "problems": [...]}

`code` is stable and names the error of the tree (`client.errors` turns it back). The document of a
failure of our own hides its insides: the agent's log has them.
"""

import json
from collections.abc import Mapping
from typing import Any

from p2pool.model import limits
from p2pool.model.errors import (
    BadSignature,
    BadSpec,
    CannotStart,
    Conflict,
    Misconfigured,
    NotAllowed,
    NotFound,
    P2poolError,
    Refusal,
    Stale,
    TooMany,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"

# The first class that fits counts, so a class stands before its bases.
STATUS: tuple[tuple[type[P2poolError], int], ...] = (
    (BadSignature, 403),
    (NotAllowed, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Stale, 409),
    (BadSpec, 422),
    (TooMany, 429),
    (CannotStart, 422),
    (Refusal, 400),
    (Unavailable, 503),
    (Misconfigured, 500),
    (P2poolError, 500),
)

Problem = dict[str, Any]


def status_of(error: P2poolError) -> int:
    """HTTP status of an error of the tree."""
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem_of(error: P2poolError) -> Problem:
    """The problem document of an error of the tree."""
    problems = getattr(error, "problems", ())
    return problem(error.code, status_of(error), error.message, error.hint, problems)


def problem(
    code: str, status: int, detail: str, hint: str = "", problems: tuple[str, ...] = ()
) -> Problem:
    """A problem document; `problems` lists everything wrong with the request."""
    document: Problem = {
        "type": f"urn:p2pool:error:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "hint": hint,
    }
    if problems:
        document["problems"] = list(problems)
    return document


def headers_of(document: Problem) -> Mapping[str, str]:
    """Headers that go with a problem document."""
    if document["status"] == 401:
        return {"www-authenticate": 'Bearer realm="p2pool"'}
    if document["status"] == 503:
        return {"retry-after": str(limits.API_RETRY_AFTER_S)}
    return {}


def body_of(document: Problem) -> bytes:
    """The document as it is sent."""
    return json.dumps(document).encode()  # ASCII, so that any text survives.
