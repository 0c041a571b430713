"""Groups of commands that import a command only when it is called.

What a command needs is imported with its module; a command that reads must not pay for those that
sign. A table names module and command, and the line in the list.
"""

import importlib
from collections.abc import Callable
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that lists from a table, beside commands that are there already."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        """As click's, with the table: name to (module:attribute, line in the list)."""
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in alphabetical order."""
        return sorted({*self.table, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module, attribute = self.table[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._line(ctx, name)) for name in self.list_commands(ctx)])

    def _line(self, ctx: click.Context, name: str) -> str:
        if name in self.table:
            return self.table[name][1]
        command = super().get_command(ctx, name)
        return command.get_short_help_str(120) if command is not None else ""


class LazyOptions(click.Command):
    """A command of which some options are made when somebody looks at them.

    They stand behind the first of its parameters.
    """

    def __init__(self, *args: Any, lazily: Callable[[Any], Any], **kwargs: Any) -> None:
        """As click's; `lazily`: the decorator with those options."""
        self._lazily: Callable[[Any], Any] | None = lazily
        super().__init__(*args, **kwargs)

    @property
    def params(self) -> list[click.Parameter]:
        """All parameters."""
        if self._lazily is not None:
            lazily, self._lazily = self._lazily, None

            def bare() -> None:
                """Takes the options."""

            lazily(bare)
            made: list[click.Parameter] = list(reversed(getattr(bare, "__click_params__", ())))
            self._params[1:1] = made
        return self._params

    @params.setter
    def params(self, given: list[click.Parameter]) -> None:
        self._params = given
