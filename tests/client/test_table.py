"""A table that fits is written as the table library writes it; another is left to that library."""

import io
import sys
from collections.abc import Sequence

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from p2pool.cli.shared.table import plain_table

COLUMNS = ("NODE", "STATE", "WHY")
ROWS = (("0x12345678", "up", "-"), ("0x1", "", "it was not heard of [bold]late[/bold]"))


def _by_library(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    out = io.StringIO()
    Console(width=width, file=out, highlight=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], (("a", "b", "c" * 60),)])
def test_a_table_that_fits_is_as_the_library_writes_it(rows: Sequence[Sequence[str]]) -> None:
    """The same columns at the same places."""
    text = plain_table(COLUMNS, rows, 400)
    assert text is not None
    assert [line.rstrip() for line in text.splitlines()] == _by_library(COLUMNS, rows, 400)


def test_what_needs_folding_or_wide_letters_is_left_to_the_library() -> None:
    """One letter too few, or one of two places."""
    text = plain_table(COLUMNS, ROWS, 400)
    assert text is not None
    exact = max(len(line) for line in text.splitlines())
    assert plain_table(COLUMNS, ROWS, exact) is not None
    assert plain_table(COLUMNS, ROWS, exact - 1) is None
    assert plain_table(COLUMNS, [("日", "up", "-")], 400) is None


def test_only_a_terminal_gets_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file holds letters alone."""
    assert "\x1b" not in str(plain_table(COLUMNS, ROWS, 400))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    assert str(plain_table(COLUMNS, ROWS, 10)).startswith("\x1b[1mNODE")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in str(plain_table(COLUMNS, ROWS, 10))
