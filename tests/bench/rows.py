"""Rows of the table: what, how much, against what, and whether the aim is met."""

import json
import statistics
from collections.abc import Iterable, Sequence

import attrs
from rich.console import Console
from rich.table import Table


@attrs.frozen
class Row:
    """One line. `aim` None: a figure without an aim; `more`: the aim is a least, not a most."""

    suite: str
    what: str
    figure: float
    unit: str
    against: str = ""
    aim: float | None = None
    more: bool = False

    @property
    def verdict(self) -> str:
        """Whether the aim is met."""
        if self.aim is None:
            return ""
        good = self.figure >= self.aim if self.more else self.figure <= self.aim
        return "ok" if good else "falls short"

    @property
    def aim_text(self) -> str:
        """The aim for people."""
        if self.aim is None:
            return ""
        return f"{'at least' if self.more else 'at most'} {plain(self.aim)} {self.unit}"


def plain(number: float) -> str:
    """A number with as many digits as mean something."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def p95(values: Sequence[float]) -> float:
    """The 95th of a hundred."""
    return statistics.quantiles(values, n=20)[-1]


def show(rows: Iterable[Row], as_json: bool) -> None:
    """The table, or JSON."""
    if as_json:
        lines = [{**attrs.asdict(row), "verdict": row.verdict} for row in rows]
        print(json.dumps(lines, indent=1))
        return
    table = Table("suite", "what", "figure", "against", "aim", "verdict")
    for row in rows:
        figure = f"{plain(row.figure)} {row.unit}"
        table.add_row(row.suite, row.what, figure, row.against, row.aim_text, row.verdict)
    Console(width=140).print(table)
