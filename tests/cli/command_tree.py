"""The commands of `p2pool`, as a tree that tests and generated pages walk.

click keeps a command's `--help` option the first time that it makes one, with the names that the
context says then. So every context is made here, with the settings that the command line has.
"""

from collections.abc import Iterator, Mapping, Sequence

import click

from p2pool.cli.main import cli

WIDTH = 100


def context_of(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    """A context as `p2pool` makes it, for text of WIDTH columns. Enter it to use it."""
    settings = {**command.context_settings, **cli.context_settings}
    return click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **settings,
    )


def every_command(
    command: click.Command = cli, path: tuple[str, ...] = ("p2pool",)
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it that are not hidden, in the order of the help."""
    yield path, command
    if isinstance(command, click.Group):
        context = context_of(command, " ".join(path))
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, f"{' '.join(path)} lists {name} and has none"
            if not inner.hidden:
                yield from every_command(inner, (*path, name))


def every_leaf() -> Iterator[tuple[str, click.Command]]:
    """What can be run: each command that is no group, by what is typed after `p2pool`."""
    for path, command in every_command():
        if not isinstance(command, click.Group):
            yield " ".join(path[1:]), command


def words_of(
    name: str, command: click.Command, arguments: Mapping[str, Sequence[str]]
) -> list[str]:
    """How to call a command, with every argument that it needs."""
    words = name.split()
    for parameter in command.params:
        if isinstance(parameter, click.Argument) and parameter.required:
            words += arguments[parameter.name or ""]
    return words
