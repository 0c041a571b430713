"""Transcripts: files of prose, commands and expected output, in the manner of etcd/raft's testdata.

A file is made of blocks with blank lines between them. A block that begins with `#` is prose. Any
other has commands, one a line, then `----`, then what they print. Commands may be followed by a
comment behind ` #`. A command that is refused prints `error: ...`, and one that has nothing to tell
prints nothing; a block in which nothing is told prints `ok`.

`pytest tests/scenarios` compares; with `--rewrite` it writes the output anew, and what changed is
then read in the diff. A transcript shows what happens; what must hold in every run is the
simulator's business (`tests.raft.harness.checks`, `tests.sim`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from p2pool.model.errors import P2poolError

RULE = "----"
Command = Callable[[list[str]], list[str]]
"""What a command does with the words behind its name, and what it tells."""


class BadTranscript(Exception):
    """A file that cannot be read, or a command that there is not."""


@attrs.frozen
class Block:
    """Some lines of a file: prose, or commands with their output."""

    lines: tuple[str, ...]
    commands: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()


def read_blocks(text: str) -> Iterator[Block]:
    """The blocks of a file."""
    for part in text.strip("\n").split("\n\n"):
        lines = part.strip("\n").split("\n")
        if all(line.startswith("#") for line in lines):
            yield Block(tuple(lines))
        elif lines.count(RULE) != 1:
            raise BadTranscript(f"one line of {RULE} is wanted in the block of {lines[0]!r}")
        else:
            at = lines.index(RULE)
            yield Block(tuple(lines[:at]), tuple(lines[:at]), tuple(lines[at + 1 :]))


def run_block(block: Block, table: dict[str, Command]) -> tuple[str, ...]:
    """Carry out the commands of a block; what they print."""
    told: list[str] = []
    for line in block.commands:
        words = line.partition(" #")[0].split()
        command = table.get(words[0])
        if command is None:
            raise BadTranscript(f"there is no command {words[0]!r}; known are {sorted(table)}")
        try:
            told += command(words[1:])
        except P2poolError as error:
            hint = f" {error.hint}" if error.hint else ""
            told.append(f"error: {type(error).__name__}: {error.message}{hint}")
    return tuple(line.rstrip() for line in told) or ("ok",)


def play(text: str, table: dict[str, Command]) -> str:
    """A whole file with the output that its commands have now."""
    parts: list[str] = []
    for block in read_blocks(text):
        lines = block.lines
        if block.commands:
            lines = (*lines, RULE, *run_block(block, table))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def check(path: Path, table: dict[str, Command], *, rewrite: bool) -> None:
    """Compare a file with what happens, or write down what happens."""
    text = path.read_text()
    played = play(text, table)
    if rewrite:
        path.write_text(played)
        return
    assert played == text, f"{path.name}: read the difference; --rewrite takes it over"
