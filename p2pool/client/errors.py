"""Problem documents back into the error tree, by their code."""

from collections.abc import Iterator
from typing import Any

from p2pool.model.errors import BadSpec, Malformed, NotFound, P2poolError, Refusal, Unavailable


def _all(kind: type[P2poolError]) -> Iterator[type[P2poolError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _all(derived)


def error_of(status: int, document: Any) -> P2poolError:
    """The error that a problem document tells of; one by status where it is no such document."""
    if not isinstance(document, dict):
        document = {}
    message = str(document.get("detail") or f"The agent answered with HTTP status {status}.")
    hint = str(document.get("hint") or "")
    kind = next((k for k in _all(P2poolError) if k.code == document.get("code")), None)
    if kind is None:
        kind = _by_status(status)
    if issubclass(kind, BadSpec | Malformed):
        problems = document.get("problems")
        listed = tuple(str(one) for one in problems) if isinstance(problems, list) else ()
        return kind(message, hint=hint, problems=listed)
    return kind(message, hint=hint)


def _by_status(status: int) -> type[P2poolError]:
    if status == 404:
        return NotFound
    if status in (502, 503, 504):
        return Unavailable
    return Refusal if status < 500 else P2poolError
