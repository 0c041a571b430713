"""Turns errors of the tree into exit codes and sentences, in one place.

A refusal is not an outage, and a script can tell them apart by the exit code alone. Failures of the
world (disks, rights, ports, other programs) end in a sentence too, wherever they come up. Our own
bugs are not caught: they end with a traceback.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from p2pool.cli.documents import envelope, json_text, visible
from p2pool.model.errors import (
    Misconfigured,
    NotFound,
    P2poolError,
    Refusal,
    Superseded,
    TransactionFailed,
    Unavailable,
)

_LINES = "\n"
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
        print_json_error(error.code, error.message, exit_code(error), error.hint, problems)
        return
    say(f"error: {visible(error.message, keep=_LINES)}")
    for problem in problems:
        if problem not in error.message:
            say(f"  {visible(problem, keep=_LINES)}")
    if error.hint:
        say(f"hint: {visible(error.hint, keep=_LINES)}")


def print_json_error(
    code: str, message: str, exit_code: int, hint: str = "", problems: Sequence[str] = ()
) -> None:
    """Write one document, as a line, to standard error: standard output holds only answers."""
    told = {"code": code, "message": message, "hint": hint, "problems": list(problems)}
    document = envelope("error", {**told, "exit_code": exit_code})
    say(json_text(document, ascii_only=is_narrow(sys.stderr)))


def print_usage_error(error: click.ClickException) -> None:
    """Write what is wrong with the words that were typed, which may come from a peer."""
    text = io.StringIO()
    error.show(text)
    say(visible(text.getvalue().rstrip("\n"), keep=_LINES))


def say(text: str) -> None:
    """Write a line to standard error where possible: the exit code tells of the error anyway."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def is_narrow(stream: Any) -> bool:
    """Whether a stream lacks some characters."""
    return not str(getattr(stream, "encoding", "") or "").lower().startswith("utf")
