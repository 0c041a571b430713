"""Questions that a command asks where a flag did not answer them.

Invariants: every question has a flag; with `--yes`, `--json`, or without a terminal nothing is
asked: what has a default gets it, and what has none is named with its flag. Questions go to
standard error, so that standard output is the answer alone.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TextIO, TypeVar

import attrs
import click

from p2pool.model.errors import P2poolError

T = TypeVar("T")


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is there; a process may have been started without the stream."""
    return stream is not None and not stream.closed and stream.isatty()


@attrs.frozen
class Questions:
    """Whether there is somebody to ask."""

    interactive: bool

    @classmethod
    def of(cls, quiet: bool) -> "Questions":
        """Of this process. `quiet`: nobody is asked."""
        return cls(not quiet and _is_terminal(sys.stdin) and _is_terminal(sys.stderr))

    def ask(
        self,
        flag: str,
        question: str,
        read: Callable[[str], T],
        default: str | None = None,
    ) -> T:
        """An answer that `read` takes; what it refuses is asked again."""
        if not self.interactive:
            if default is None:
                raise click.UsageError(f"{flag} is needed: {question[:1].lower()}{question[1:]}.")
            return read(default)
        while True:
            text = click.prompt(question, default=default, err=True)
            try:
                return read(str(text).strip())
            except (P2poolError, click.BadParameter) as error:
                hint = getattr(error, "hint", "")
                click.echo(f"  {getattr(error, 'message', error)} {hint}".rstrip(), err=True)

    def choose(self, flag: str, question: str, choices: Sequence[str], default: str) -> str:
        """One of several words."""

        def read(text: str) -> str:
            if text not in choices:
                raise click.BadParameter(f"{text!r} is none of {', '.join(choices)}.")
            return text

        return self.ask(flag, f"{question} ({', '.join(choices)})", read, default)

    def say(self, text: str) -> None:
        """A line between questions, for who is asked them."""
        if self.interactive:
            click.echo(text, err=True)
