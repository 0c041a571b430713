"""Turns problem documents back into errors of the tree, by their code."""

from typing import Any

from p2pool.model.errors import NotFound, P2poolError, Refusal, Unavailable, error_for_code


def error_of(status: int, document: Any) -> P2poolError:
    """The error that a problem document describes; by status for any other document."""
    if not isinstance(document, dict):
        document = {}
    problems = document.get("problems")
    return error_for_code(
        document.get("code"),
        str(document.get("detail") or f"The agent answered with HTTP status {status}."),
        hint=str(document.get("hint") or ""),
        problems=tuple(str(one) for one in problems) if isinstance(problems, list) else (),
        unknown=_by_status(status),
    )


def _by_status(status: int) -> type[P2poolError]:
    if status == 404:
        return NotFound
    if status in (502, 503, 504):
        return Unavailable
    return Refusal if status < 500 else P2poolError
