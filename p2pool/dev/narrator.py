"""Tells on standard error what happens while it happens.

Intuition: people who wait want to know what for. On a terminal the last line shows that work goes
on; in a file each step is a line with its time.

Invariants: telling never fails and never waits: a departed reader does not end a pool halfway. Any
thread may call it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

Say = Callable[[str], None]


class _Console(Console):
    """A console that ends no program because its reader has gone."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True


class Narrator:
    """Called with what happens now, as in "starting agent-1"; `step` is the latest."""

    def __init__(self, *, quiet: bool = False) -> None:
        """Starts the clock. `quiet`: say nothing, but know the step."""
        self._console = _Console(stderr=True, quiet=quiet, highlight=False)
        self._began_s = time.monotonic()
        self._status: Status | None = None
        self.step = "starting"

    @property
    def passed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began_s

    def __call__(self, text: str) -> None:
        """The next step."""
        self.step = text
        self.tell(text)

    def tell(self, text: str) -> None:
        """A remark on the way, not a step of its own."""
        if self._status is not None:
            self._status.update(Text(f"{self.step} ..."))
        self.show(Text.assemble((f"{self.passed_s:5.1f} s", "dim"), f"  {text}"))

    def show(self, what: RenderableType) -> None:
        """A line, or a table."""
        try:
            self._console.print(what, soft_wrap=isinstance(what, Text))
        except OSError:
            self._console.quiet = True

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show on a terminal that work goes on."""
        # A spinner of plain characters: any terminal has them.
        self._status = self._console.status(f"{self.step} ...", spinner="line")
        try:
            self._status.start()
            yield
        finally:
            with suppress(OSError):
                self._status.stop()
            self._status = None
