"""From the error tree to exit codes and to what is printed, in one place.

A refusal is not an outage, and a script can tell by the exit code alone. What the world fails at
(disks, rights, ports, other programs) is told in a sentence, too, wherever it comes up. Our own
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
INTERRUPTED = 130

# The nearest class of an error's own line of descent counts.
EXIT_CODES: dict[type[P2poolError], int] = {
    P2poolError: FAILED,
    Refusal: REFUSED,
    NotFound: NOT_FOUND,
    Unavailable: UNAVAILABLE,
    Misconfigured: MISCONFIGURED,
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
  130  interrupted
"""


def exit_code(error: P2poolError) -> int:
    """The exit code of an error."""
    return next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)


def print_error(error: P2poolError, as_json: bool) -> None:
    """The sentence and what to do next, on standard error; with --json one JSON document."""
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
    """One JSON document on standard error, so that standard output stays what was asked for."""
    say(json.dumps({"error": told}, ensure_ascii=is_narrow(sys.stderr)))


def say(text: str) -> None:
    """A line on standard error, if it can be written to: an error has its exit code anyway."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def is_narrow(stream: Any) -> bool:
    """Whether a stream cannot take every character."""
    return not str(getattr(stream, "encoding", "") or "").lower().startswith("utf")


def _shown(text: str) -> str:
    """What peers say may be in a message: it does not write to the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
