"""Turns what an agent answers, or something that is none, into errors of the tree."""

from pathlib import PurePath
from typing import Any

from p2pool.model.errors import (
    Misconfigured,
    NotFound,
    P2poolError,
    Refusal,
    Unavailable,
    error_for_code,
)

MISREAD = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
"""What becomes of code that is given values of other kinds than an agent sends."""

heard: list[str] = []
"""The URL that answered last in this process, if any did."""


def not_an_agent(why: str, url: str = "") -> Misconfigured:
    """The error for an answer that no agent gives."""
    place = f"What listens at {url}" if url else "What answers"
    return Misconfigured(
        f"{place} is no agent, or one of another version: {why}.",
        hint="Name an agent: --agent URL|DIR. Its API's URL is in its data directory, in api.url.",
    )


def misread(error: BaseException) -> P2poolError | None:
    """The error for an answer whose values are of other kinds than an agent sends; None if nothing
    answered, or it is none of that."""
    if not heard or not isinstance(error, MISREAD):
        return None
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "somewhere"
    return not_an_agent(f"its answer cannot be read ({type(error).__name__} at {where})", heard[0])


def error_of(status: int, document: Any) -> P2poolError:
    """The error that a problem document describes; by status for any other document."""
    if not isinstance(document, dict):
        document = {}
    problems, code = document.get("problems"), document.get("code")
    return error_for_code(
        code if isinstance(code, str) else None,
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
