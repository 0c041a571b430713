"""Tables fit the terminal without splitting a word, say what they leave out, and are whole in a
pipe."""

import io
import os
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from p2pool.cli.shared import tables
from p2pool.cli.shared.tables import Column, Look, cells, fold, look_of, pair_lines, table_lines

NODE = "0x" + "ab" * 5
WHY = "it was not heard since Tuesday, say three of five witnesses"
COLUMNS = (
    *(Column("NODE"), Column("STATE"), Column("VERSION", rank=2), Column("MEMORY", rank=1)),
    Column("WHY", prose=True),
)
ROWS = ((NODE, "unreachable", "0.12.34", "1.5 GiB", WHY), (NODE, "healthy", "0.3.0", "2 GiB", "-"))


def lines(width: int, rows: Any = ROWS) -> tuple[list[str], list[str]]:
    made, left_out = table_lines(COLUMNS, rows, Look(width))
    return made, [column.name for column in left_out]


def test_in_a_pipe_a_row_is_a_line() -> None:
    """Nothing folds, nothing is left out, nothing is coloured."""
    made, left_out = lines(0)
    assert (len(made), left_out) == (3, [])
    assert made[1].endswith(WHY)
    assert "\x1b" not in "".join(made)


def test_prose_folds_before_a_column_goes() -> None:
    """And the least needed column goes first."""
    assert (len(lines(200)[0]), lines(200)[1]) == (3, [])
    made, left_out = lines(76)
    assert (len(made) > 3, left_out) == (True, [])
    assert lines(60)[1] == ["VERSION"]
    assert lines(52)[1] == ["VERSION", "MEMORY"]


def test_what_a_wide_column_made_room_for_comes_back() -> None:
    """A long word of the last column to go takes no narrow column along; the order stays."""
    columns = (Column("ID", rank=3), "NAME", Column("WHY", rank=1, prose=True), Column("AGE", 2))
    listed = [column if isinstance(column, Column) else Column(column) for column in columns]
    made, left_out = table_lines(listed, [("a1", "hello", "by 0x" + 40 * "7", "5m")], Look(30))
    assert [column.name for column in left_out] == ["WHY"]
    assert [line.split() for line in made] == [["ID", "NAME", "AGE"], ["a1", "hello", "5m"]]


def test_where_nothing_fits_each_row_is_a_page() -> None:
    """Of names and values; a dash says nothing there."""
    made, left_out = lines(24)
    assert left_out == []
    assert made[0].split() == ["NODE", NODE]
    assert "" in made
    assert not any(line.endswith("-") for line in made)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS, TEXTS), min_size=1, max_size=4),
       st.integers(10, 200))  # fmt: skip
def test_no_width_splits_a_word(rows: list[tuple[str, ...]], width: int) -> None:
    """Each word of what is shown is there whole; a line is too long only for a word that is."""
    made, left_out = lines(width, rows)
    shown = " ".join(made).split(" ")
    for row in rows:
        for column, text in zip(COLUMNS, row, strict=True):
            if column.name in left_out or text == "-":
                continue
            assert all(word in shown for word in text.split(" ") if word)
    for line in made:
        longest = max((cells(word) for word in line.split(" ")), default=0)
        assert cells(line) <= max(width, longest + 2)


@given(TEXTS, st.integers(1, 60))
def test_a_fold_loses_nothing(text: str, width: int) -> None:
    """Joined again it is the text."""
    assert " ".join(fold(text, width)) == text


def test_wide_characters_take_two_cells() -> None:
    """And marks none, so that columns stay under each other."""
    assert [cells(text) for text in ("abc", "日本", "e\u0301", "한")] == [3, 4, 1, 2]
    made, _ = table_lines((Column("A"), Column("B")), (("日本", "x"), ("abc", "x")), Look())
    assert {cells(line[: line.index("x")]) for line in made[1:]} == {6}


def test_a_page_folds_beside_or_below_its_names() -> None:
    """An id stays whole however narrow it is."""
    pairs = [("node", "0x" + "ab" * 20), ("why", WHY)]
    assert list(pair_lines(pairs, 0)) == [f"node  {pairs[0][1]}", f"why   {WHY}"]
    beside = list(pair_lines(pairs, 50))
    assert beside[1].startswith("why   it was")
    assert beside[2].startswith("      ")
    below = list(pair_lines(pairs, 20))
    assert below[:3] == ["node", f"  {pairs[0][1]}", "why"]
    assert max(cells(line) for line in below[3:]) <= 20


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("columns", "width"), [("100", 100), ("1", 10), ("0", 80), ("x", 80), ("9" * 9, 80), ("", 80)]
)
def test_the_width_is_what_columns_says(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    """Or the terminal, or eighty; in a pipe it says nothing."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert look_of(Terminal()) == Look(width, True)
    assert look_of(io.StringIO()) == Look()
    monkeypatch.setenv("NO_COLOR", "1")
    assert look_of(Terminal()) == Look(width, False)


def test_wide_shows_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that has no room for them."""
    seen = []

    @click.command()
    @tables.wide_option
    def show() -> None:
        seen.append(look_of(Terminal()).width)

    monkeypatch.setitem(os.environ, "COLUMNS", "40")
    for words in ([], ["--wide"]):
        assert CliRunner().invoke(show, words).exit_code == 0
    assert seen == [40, 0]


def test_marks_colour_the_first_cell_and_notes_stand_below() -> None:
    """As checks have them, on a terminal that takes colours."""
    columns = (Column(""), Column("CHECK"))
    made, _ = table_lines(
        columns, (("ok", "disk"), ("fail", "memory")), Look(30, True), ("green", "red"),
        ("", "-> buy some more of it, and soon"),
    )  # fmt: skip
    assert made[1] == "\x1b[32mok\x1b[0m    disk"
    assert made[3:] == ["      -> buy some more of it,", "      and soon"]
