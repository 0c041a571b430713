"""How commands write: tables for people, JSON for programs, warnings aside.

Peers' words lose their control characters, so that no node can write to the terminal of a person
who lists it. Only a table that does not fit its line imports the table library.
"""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from p2pool.cli.errors import is_narrow
from p2pool.cli.shared.table import plain_table

_WIDE = 400
_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SPANS = ((86400, "d"), (3600, "h"), (60, "m"))


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=is_narrow(sys.stdout)))


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str, whole: Sequence[str] = ()
) -> None:
    """Write a table, or the sentence `empty` where it has no rows. A narrow terminal folds cells;
    those of the columns in `whole` stay in one piece as long as there is room."""
    listed = [[clean(cell) for cell in row] for row in rows]
    if not listed:
        click.echo(empty, err=True)
        return
    if (text := plain_table(columns, listed, _WIDE)) is not None:
        click.echo(text)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in listed:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(table)


def write_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one pair a line."""
    listed = [(name, clean(value)) for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        click.echo(f"{name:<{width}}  {value}".rstrip())


def warn(text: str) -> None:
    """Warn on standard error, and go on."""
    click.echo(f"warning: {clean(text)}", err=True)


def clean(text: str) -> str:
    """Text without characters that a terminal would obey."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def size(count: int) -> str:
    """Bytes for people."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count} B"


def age(at_ms: int, now_ms: int | None = None) -> str:
    """How long ago a time was, for people; a dash means never."""
    if not at_ms:
        return "-"
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    seconds = max(0, (now_ms - at_ms) // 1000)
    for span, name in _SPANS:
        if seconds >= span:
            return f"{seconds // span}{name}"
    return f"{seconds}s"


def short(name: str | None) -> str:
    """The beginning of an id, long enough to tell a pool's apart."""
    if name is None:
        return "-"
    return name[:12] if name.startswith("0x") else name[:10]


def write_dry(said: list[str], as_json: bool) -> None:
    """Write the transactions of a dry run."""
    if as_json:
        write_json({"dry_run": True, "would_send": said})
    else:
        click.echo("\n".join(said) if said else "Nothing to send.")
