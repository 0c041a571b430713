"""Tables and pages of names and values, as wide as the terminal is.

Intuition: an id in two pieces is no id, and half a word is no word. Where a table does not fit,
prose folds between words; then columns are left out, the least needed first, and that is said; and
where not even the needed ones fit, each row becomes a page of names and values.

Invariants: a word is never split. In a pipe, and with `--wide`, everything is there, a row a line;
in a pipe nothing is coloured. A character takes the cells that a terminal gives it.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from p2pool.cli.documents import visible

F = TypeVar("F")

PROSE_MIN = 24
"""Prose is not folded narrower than that: then columns are left out first."""
_GAP = 2
_NARROWEST, _WIDEST = 10, 10_000
_COLOURS = {"green": 32, "yellow": 33, "red": 31, "bold": 1}


class Column(NamedTuple):
    """`rank`: 0 stays; of the others the highest goes first. `prose` may fold between words."""

    name: str
    rank: int = 0
    prose: bool = False


class Look(NamedTuple):
    """The terminal that is written to: `width` 0 for none, where nothing folds."""

    width: int = 0
    colours: bool = False


def wide_option(command: F) -> F:
    """`--wide`, for a command that writes a table."""

    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.meta["wide"] = value

    option = click.option(
        "--wide",
        is_flag=True,
        expose_value=False,
        callback=note,
        help="Show every column, however narrow the terminal is.",
    )
    made: Any = option(command)  # type: ignore[type-var]
    return made  # type: ignore[no-any-return]


def look_of(stream: Any) -> Look:
    """What a stream leads to: COLUMNS and NO_COLOR count, on a terminal."""
    if not stream.isatty():
        return Look()
    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    context = click.get_current_context(silent=True)
    if context is not None and "wide" in context.meta and context.meta["wide"]:
        return Look(0, colours)
    return Look(_width(stream), colours)


def _width(stream: Any) -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and 0 < len(given) < 6 and int(given):
        found = int(given)
    else:
        try:
            found = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            found = 0
    return min(max(found or 80, _NARROWEST), _WIDEST)


# --- writing ------------------------------------------------------------------------------------


def write_table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[str]],
    empty: str,
    *,
    marks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write a table, or the sentence `empty` where it has no rows. `marks`: the colour of each
    row's first cell; `notes`: a line below each row, "" for none."""
    listed = [[visible(cell) for cell in row] for row in rows]
    if not listed:
        click.echo(empty, err=True)
        return
    known = [one if isinstance(one, Column) else Column(one) for one in columns]
    look = look_of(sys.stdout)
    lines, left_out = table_lines(known, listed, look, marks, [visible(note) for note in notes])
    click.echo("\n".join(lines), color=look.colours)
    if left_out:
        named = ", ".join(column.name for column in left_out)
        said = fold(f"left out for want of room: {named}; --wide shows all", look.width)
        click.echo("\n".join(said), err=True)


def write_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Write names and values, one pair a line."""
    listed = [(name, visible(value)) for name, value in pairs]
    for line in pair_lines(listed, look_of(sys.stdout).width):
        click.echo(line)


# --- layout -------------------------------------------------------------------------------------


def table_lines(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    look: Look,
    marks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> tuple[list[str], list[Column]]:
    """The lines of a table, and the columns that are left out of it."""
    natural = [
        max(cells(text) for text in (column.name, *(row[at] for row in rows)))
        for at, column in enumerate(columns)
    ]
    shown = _chosen(columns, rows, natural, look.width)
    left_out = [column for at, column in enumerate(columns) if at not in shown]
    widths = {at: natural[at] for at in shown}
    over = _total(widths.values()) - look.width
    if look.width and over > 0:
        _squeeze(columns, rows, widths, over)
        if _total(widths.values()) > look.width:
            return _pages(columns, rows, look.width, notes), []
    head = _bold(_line([(columns[at].name, widths[at]) for at in shown]), look)
    lines = [head] if head.strip() else []
    for number, row in enumerate(rows):
        folded = [fold(row[at], widths[at]) for at in shown]
        for part in range(max(len(texts) for texts in folded)):
            texts = [texts[part] if part < len(texts) else "" for texts in folded]
            line = _line(list(zip(texts, (widths[at] for at in shown), strict=True)))
            colour = marks[number] if marks and not part else ""
            lines.append(_marked(line, texts[0], colour, look))
        if number < len(notes) and notes[number]:
            indent = widths[shown[0]] + _GAP
            room = look.width - indent if look.width else 0
            lines += [" " * indent + text for text in fold(notes[number], room)]
    return lines, left_out


def _chosen(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int]:
    """The columns that fit, with prose folded as far as it may be. A wide one that goes late makes
    room again for some of those that went before it."""
    least = [_least(column, rows, at, natural[at]) for at, column in enumerate(columns)]
    shown, gone = list(range(len(columns))), []
    while width and _total(least[at] for at in shown) > width:
        ranked = [at for at in shown if columns[at].rank]
        if not ranked:
            break
        gone.append(max(ranked, key=lambda at: (columns[at].rank, at)))
        shown.remove(gone[-1])
    for at in reversed(gone):
        if _total(least[one] for one in (*shown, at)) <= width:
            shown = sorted((*shown, at))
    return shown


def _least(column: Column, rows: Sequence[Sequence[str]], at: int, natural: int) -> int:
    if not column.prose:
        return natural
    longest = max(cells(word) for row in rows for word in (*row[at].split(" "), column.name))
    return min(natural, max(PROSE_MIN, longest))


def _squeeze(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], widths: dict[int, int], over: int
) -> None:
    """Take from columns of prose, the widest first, what is over."""
    for at in sorted(widths, key=lambda at: -widths[at]):
        spare = widths[at] - _least(columns[at], rows, at, widths[at])
        widths[at] -= min(spare, max(over, 0))
        over -= min(spare, max(over, 0))


def _pages(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, notes: Sequence[str]
) -> list[str]:
    """Each row as names and values, which fits anywhere; what is empty is left out."""
    lines: list[str] = []
    for number, row in enumerate(rows):
        named = zip(columns, row, strict=True)
        pairs = [(column.name, text) for column, text in named if text not in ("", "-")]
        if number < len(notes) and notes[number]:
            pairs.append(("", notes[number]))
        lines += ([""] if lines else []) + list(pair_lines(pairs, width))
    return lines


def pair_lines(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Names and values. A value folds between words, beside its name or, where there is little
    room, below it."""
    beside = max((cells(name) for name, _ in pairs), default=0) + _GAP
    for name, value in pairs:
        head = name + " " * (beside - cells(name))
        if not width or cells(head + value) <= width:
            yield (head + value).rstrip()
        elif width - beside >= PROSE_MIN and _longest(value) <= width - beside:
            for number, text in enumerate(fold(value, width - beside)):
                yield (head if not number else " " * beside) + text
        else:
            if name:
                yield name
            yield from ("  " + text for text in fold(value, max(1, width - 2)))


def _longest(text: str) -> int:
    return max((cells(word) for word in text.split(" ")), default=0)


def fold(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` cells, broken at spaces alone; 0: one line."""
    if not width or cells(text) <= width:
        return [text]
    line, *words = text.split(" ")
    lines = []
    for word in words:
        if cells(longer := f"{line} {word}") > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def cells(text: str) -> int:
    """How many cells a terminal gives a text: two for wide characters, none for marks."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def _total(widths: Iterable[int]) -> int:
    listed = list(widths)
    return sum(listed) + _GAP * max(0, len(listed) - 1)


def _line(parts: Sequence[tuple[str, int]]) -> str:
    padded = (text + " " * max(0, width - cells(text)) for text, width in parts)
    return (" " * _GAP).join(padded).rstrip()


def _bold(text: str, look: Look) -> str:
    return _coloured(text, "bold") if look.colours and text.strip() else text


def _marked(line: str, first: str, colour: str, look: Look) -> str:
    if not (look.colours and colour and first):
        return line
    return _coloured(first, colour) + line[len(first) :]


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
