"""Refuses, before a route runs, what the route would otherwise pass over in silence.

A misspelt parameter that nobody reads changes the answer's meaning without a word: the caller takes
the whole list for a part of it. So a query may hold only what the route reads, once each, in one
spelling; a body only where the route reads one, as JSON; and an `Accept` header that rules out all
that the route gives gets no answer of another kind.
"""

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, get_args

import attrs
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import QueryParameter

from p2pool.model.errors import Malformed

JSON = "application/json"
Connection = ASGIConnection[Any, Any, Any, Any]

_TRUTHS = ("true", "false")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_RANGE = re.compile(r"([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)")


class Unsuited(HTTPException):
    """A refusal by HTTP's own rules, with what to do."""

    def __init__(self, status: int, sentence: str, hint: str) -> None:
        """`status`: what HTTP calls it."""
        super().__init__(status_code=status, detail=sentence)
        self.hint = hint


@attrs.frozen
class Parameter:
    """A query parameter that a route reads."""

    kind: Any
    many: bool


def check(connection: Connection, handler: BaseRouteHandler) -> None:
    """Raise unless the route reads all that the request holds, and gives what it asks for."""
    assert isinstance(handler, HTTPRouteHandler)
    headers = [(name.lower(), value) for name, value in connection.scope["headers"]]
    _check_query(connection.query_params.multi_items(), query_of(handler))
    _check_accept([v for name, v in headers if name == b"accept"], media_of(handler))
    _check_body(headers, "POST" in handler.http_methods)


# --- the query ----------------------------------------------------------------------------------


def query_of(handler: HTTPRouteHandler) -> dict[str, Parameter]:
    """The query parameters that a route reads."""
    fields = handler.parsed_fn_signature.parameters.values()
    return {
        field.kwarg_definition.name or field.name: Parameter(
            field.annotation, field.is_non_string_sequence
        )
        for field in fields
        if isinstance(field.kwarg_definition, QueryParameter)
    }


def _words(kind: Any) -> list[str]:
    """The words that a parameter takes, where it takes only some."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(one.value) for one in kind]
    return [word for inner in get_args(kind) for word in _words(inner)]


def _check_query(given: Iterable[tuple[str, Any]], known: dict[str, Parameter]) -> None:
    seen: set[str] = set()
    problems: list[str] = []
    for name, value in given:
        if (parameter := known.get(name)) is None:
            problems.append(f"there is no parameter {name[:64]!r} here")
        elif name in seen and not parameter.many:
            problems.append(f"{name} is given twice")
        elif parameter.kind is bool and value not in _TRUTHS:
            problems.append(f"{name} is neither true nor false")
        elif parameter.kind is int and not _NUMBER.fullmatch(str(value)):
            problems.append(f"{name} is not a whole number")
        elif (words := _words(parameter.kind)) and value not in words:
            problems.append(f"{name} is not one of {', '.join(words)}")
        seen.add(name)
    if problems:
        has = f"It takes {', '.join(known)}." if known else "It takes no parameter."
        told = tuple(dict.fromkeys(problems))
        raise Malformed(f"The query is not good: {'; '.join(told)}.", hint=has, problems=told)


# --- what is answered ---------------------------------------------------------------------------


def media_of(handler: HTTPRouteHandler) -> str:
    """The media type that a route answers with, when it succeeds."""
    told = handler.responses or {}
    if 200 in told:
        return str(told[200].media_type)
    return str(getattr(handler.media_type, "value", handler.media_type) or JSON)


def _check_accept(given: Sequence[bytes], offered: str) -> None:
    """What cannot be read says nothing; a range with `q=0` rules out."""
    ranges = [_weighted(part) for value in given for part in value.decode("latin-1").split(",")]
    known = [one for one in ranges if one is not None]
    if not known or _accepts(known, offered):
        return
    raise Unsuited(
        406,
        f"The answer would be {offered}, which the Accept header rules out.",
        "Leave Accept out, or send it with what the route gives.",
    )


def _weighted(part: str) -> tuple[str, str, float] | None:
    """A media range with its weight, or None if it is none."""
    text, *parameters = (piece.strip().lower() for piece in part.split(";"))
    if (found := _RANGE.fullmatch(text)) is None:
        return None
    weight = next((one[2:] for one in parameters if one.startswith("q=")), "1")
    try:
        return found[1], found[2], float(weight)
    except ValueError:
        return None


def _accepts(ranges: Sequence[tuple[str, str, float]], media: str) -> bool:
    """The range that fits most closely decides."""
    kind, _, sub = media.partition(";")[0].partition("/")
    fitting = [
        ((main != "*") + (part != "*"), weight)
        for main, part, weight in ranges
        if main in (kind, "*") and part in (sub, "*")
    ]
    return bool(fitting) and max(fitting)[1] > 0


# --- the body -----------------------------------------------------------------------------------


def _check_body(headers: Sequence[tuple[bytes, bytes]], reads: bool) -> None:
    """A body is JSON, plainly encoded, and only where somebody reads it. One of no stated kind is
    taken for JSON (RFC 9110, 8.3)."""
    lengths = [value for name, value in headers if name == b"content-length"]
    comes = any(name == b"transfer-encoding" for name, _ in headers) or any(
        value.strip() not in (b"0", b"") for value in lengths
    )
    if not comes:
        return
    if not reads:
        raise Malformed("This route reads no body, and one came.", hint="Send none.")
    kinds = [value.decode("latin-1") for name, value in headers if name == b"content-type"]
    kind = kinds[0].partition(";")[0].strip().lower() if len(kinds) == 1 else ""
    if kinds and kind != JSON:
        raise Unsuited(
            415,
            f"The body is {kind[:64] or 'of several kinds'}, and this route reads JSON.",
            f"Send it with 'Content-Type: {JSON}'.",
        )
    encoded = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    if any(one not in (b"", b"identity") for one in encoded):
        raise Unsuited(
            415,
            "The body is compressed, and this agent reads it as it is.",
            "Send it without Content-Encoding.",
        )
