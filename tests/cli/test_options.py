"""No option of a command is accepted and then read by nobody."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest

import p2pool.cli
from p2pool.cli.shared.chain import Sender
from p2pool.cli.shared.signer import Signer
from p2pool.cli.validator.run import Files
from tests.cli.command_tree import every_leaf

SOURCES = [
    ast.parse(path.read_text(encoding="utf-8"))
    for path in Path(p2pool.cli.__file__).resolve().parent.rglob("*.py")
]
KEYS = {
    node.slice.value
    for source in SOURCES
    for node in ast.walk(source)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
}
"""What is read of mappings, as `given["image"]`."""
ATTRIBUTES = {n.attr for s in SOURCES for n in ast.walk(s) if isinstance(n, ast.Attribute)}
SHARED = {"client", "config"} | {
    f.name for kind in (Sender, Signer, Files) for f in attrs.fields(kind)
}
"""Options that a command is given as one record."""


def unread(command: click.Command) -> Iterator[str]:
    """Parameters of a command that its function does not look at."""
    assert command.callback is not None
    function = inspect.unwrap(command.callback)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    read = {n.id for part in tree.body for n in ast.walk(part) if isinstance(n, ast.Name)}
    signature = inspect.signature(function).parameters
    takes_record = {"sender", "signer", "files"} & set(signature)
    for parameter in command.params:
        name = parameter.name or ""
        if name in signature:
            seen = name in read
        elif takes_record and name in SHARED:
            seen = bool(takes_record & read) and (name in ATTRIBUTES or name == "config")
        else:
            seen = name in KEYS
        if not seen and not isinstance(parameter, click.Argument):
            yield name


@pytest.mark.parametrize(("name", "command"), list(every_leaf()), ids=lambda part: str(part)[:40])
def test_every_option_is_read(name: str, command: click.Command) -> None:
    """An option that changes nothing is a promise that nobody keeps: read it, or drop it."""
    assert list(unread(command)) == [], f"p2pool {name} takes options that it does not read"


def test_an_option_that_nobody_reads_is_found() -> None:
    """By the test above."""

    @click.command()
    @click.option("--used")
    @click.option("--unused-here")
    def command(used: str, unused_here: str) -> None:
        click.echo(used)

    assert list(unread(command)) == ["unused_here"]
