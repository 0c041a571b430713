"""Makes the three standard streams usable: connected to a terminal, a file, or nothing.

Intuition: a sentence for people must not fail on the way to them. Closed streams lead to /dev/null
before an opened file gets their number; characters that a stream lacks become escapes.
"""

import os
import sys
from typing import Any, TextIO


def mend_streams() -> None:
    """Make standard input, output and error usable."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush_streams() -> str:
    """Flush both; why standard output failed, empty if it did not or its reader has seen enough.

    A stream that failed leads nowhere afterwards, so that the interpreter's own flush at its end
    does not complain again.
    """
    failed = ""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            drop(stream)
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                failed = error.strerror or str(error)
    return failed


def drop(stream: TextIO | Any) -> None:
    """Let a stream lead nowhere, quietly."""
    number = os.open(os.devnull, os.O_WRONLY)
    os.dup2(number, stream.fileno())
    os.close(number)
