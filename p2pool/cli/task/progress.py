"""Shows a task while a command waits for it: copies that run, why others do not, images.

On a terminal each image that is being fetched has a bar; elsewhere every change writes a line, and
a pull one for each tenth, so that a log file stays short.
"""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.documents import visible
from p2pool.cli.shared.known import runs
from p2pool.cli.shared.output import short, size
from p2pool.cli.task.reasons import reasons_text
from p2pool.client.agent_client import Answer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BARS_MAX = 16


def copies_text(one: Answer) -> str:
    """How many copies run, of how many, and of how many nobody knows."""
    copies = one["allocations"]
    running, unknown = sum(map(runs, copies)), sum(not c.get("known", True) for c in copies)
    text = f"{running}/{max(len(copies), one['spec'].get('replicas', 1))}"
    return f"{text}, {unknown} unknown" if unknown else text


def pulls(one: Answer) -> list[Answer]:
    """The copies whose image is being fetched."""
    return [copy for copy in one["allocations"] if copy["pull_total_bytes"]]


class Waiting:
    """Shows a task again and again, on standard error."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._said = ""
        self._bars: dict[str, TaskID] = {}
        self._progress: Progress | None = None
        self._fancy = sys.stderr.isatty()

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()

    def show(self, one: Answer) -> None:
        """Say what is new since the last time."""
        said = reasons_text(one, pulls=False)
        why = f" ({said})" if said else ""
        now = visible(f"{one['state']}: {copies_text(one)} copies run{why}")
        fetched = pulls(one)
        if not self._fancy and fetched:
            now += "; " + ", ".join(_tenths(copy) for copy in fetched)
        if now != self._said:
            self._said = now
            self._write(now)
        if self._fancy:
            self._draw(fetched)

    def _write(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            click.echo(text, err=True)

    def _draw(self, fetched: list[Answer]) -> None:
        """Draw a bar for each image that is being fetched."""
        if self._progress is None:
            if not fetched:
                return
            self._progress = _bars()
        here = {copy["id"]: copy for copy in fetched[:_BARS_MAX]}
        for name, copy in here.items():
            if name not in self._bars:
                title = visible(f"{copy['replica']} on {short(copy['node_id'])}")
                self._bars[name] = self._progress.add_task(title)
            self._progress.update(
                self._bars[name], total=copy["pull_total_bytes"], completed=copy["pulled_bytes"]
            )
        for name in [name for name in self._bars if name not in here]:
            self._progress.remove_task(self._bars.pop(name))


def _tenths(copy: Answer) -> str:
    tenths = 10 * copy["pulled_bytes"] // max(1, copy["pull_total_bytes"])
    return f"image of copy {copy['replica']} {10 * tenths}% of {size(copy['pull_total_bytes'])}"


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
    )
    shown = Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True))
    shown.start()
    return shown
