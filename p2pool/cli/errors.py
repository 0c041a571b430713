"""Turns errors of the tree into exit codes and sentences, in one place.

A refusal is not an outage, and a script can tell them apart by the exit code alone. Failures of the
world (disks, rights, ports, other programs) end in a sentence too, wherever they come up. Our own
bugs are not caught: they end with a traceback.
"""

import json
import sys
from contextlib import suppress
from typing import Any

from p2pool.model.errors import (
    Misconfigured,
    NotFound,
    P2poolError,
    Refusal,
    Superseded,
    TransactionFailed,
    Unavailable,
)

OK = 0
FAILED = 1
USAGE = 2
REFUSED = 3
NOT_FOUND = 4
UNAVAILABLE = 5
MISCONFIGURED = 6
SUPERSEDED = 7
INTERRUPTED = 130

# The class nearest to the error in its own ancestry decides.
EXIT_CODES: dict[type[P2poolError], int] = {
    P2poolError: FAILED,
    Refusal: REFUSED,
    NotFound: NOT_FOUND,
    Unavailable: UNAVAILABLE,
    Misconfigured: MISCONFIGURED,
    Superseded: SUPERSEDED,
    TransactionFailed: REFUSED,
}

EXIT_CODES_HELP = """\b
Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    refused or not allowed
  4    not found
  5    unavailable, may work later
  6    misconfigured, or a bad key
  7    superseded by an agent with the same keys: do not start it again
  130  interrupted
"""


def exit_code(error: P2poolError) -> int:
    """The exit code of an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def print_error(error: P2poolError, as_json: bool) -> None:
    """Write the sentence and the hint to standard error; with --json one JSON document."""
    problems = list(getattr(error, "problems", ()))
    if as_json:
        told: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
        if problems:
            told["problems"] = problems
        print_json_error(told)
        return
    say(f"error: {_shown(error.message)}")
    for problem in problems:
        if problem not in error.message:
            say(f"  {_shown(problem)}")
    if error.hint:
        say(f"hint: {_shown(error.hint)}")


def print_json_error(told: dict[str, Any]) -> None:
    """Write one JSON document to standard error, so that standard output holds only the answer."""
    say(json.dumps({"error": told}, ensure_ascii=is_narrow(sys.stderr)))


def say(text: str) -> None:
    """Write a line to standard error where possible: the exit code tells of the error anyway."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def is_narrow(stream: Any) -> bool:
    """Whether a stream lacks some characters."""
    return not str(getattr(stream, "encoding", "") or "").lower().startswith("utf")


def _shown(text: str) -> str:
    """The text without control characters: peers' words must not control the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
