"""Reads a file that a flag names; `-` is standard input.

Invariants: of one command line standard input is one file: whoever names it twice is told, instead
of getting nothing the second time.
"""

import os
import sys
from pathlib import Path

from p2pool.drivers.paths import absolute_path
from p2pool.model.errors import Misconfigured

STDIN = Path("-")

_read: dict[str, bytes] = {}
"""What standard input held, by what it was read as."""
_descriptors: dict[int, bytes] = {}
"""What each file descriptor held: a pipe gives it once."""


def is_stdin(path: Path) -> bool:
    """Whether a path stands for standard input."""
    return str(path) == "-"


def input_path(given: str | Path) -> Path:
    """The absolute form of a path that somebody wrote; `-` stays as it is."""
    return STDIN if str(given) == "-" else absolute_path(given)


def read_input(path: Path, most: int, what: str) -> bytes:
    """At most `most` + 1 bytes of a file; `what` it is read as. Raises OSError, and `Misconfigured`
    if standard input was read as something else."""
    if not is_stdin(path):
        with path.open("rb") as file:
            return file.read(most + 1)
    if what not in _read:
        if _read:
            raise Misconfigured(
                f"Standard input is the {next(iter(_read))} already, so it cannot be the {what}.",
                hint="Name a file for one of them.",
            )
        _read[what] = sys.stdin.buffer.read(most + 1)
    return _read[what]


def read_descriptor(number: int, most: int) -> bytes:
    """At most `most` + 1 bytes of a file descriptor that the process was given, read once and then
    closed: no child has it. Raises OSError."""
    if number not in _descriptors:
        with os.fdopen(number, "rb") as file:
            _descriptors[number] = file.read(most + 1)
    return _descriptors[number]


def forget_input() -> None:
    """Another command line begins."""
    _read.clear()
    _descriptors.clear()
