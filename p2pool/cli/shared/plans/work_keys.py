"""Keys of pieces of work, as commands take them."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from p2pool.model import limits

F = TypeVar("F", bound=Callable[..., Any])
_KEY = re.compile(rf"0x[0-9a-fA-F]{{{2 * limits.WORK_KEY_BYTES}}}")


class WorkKey(click.ParamType[bytes]):
    """0x and 64 hex digits."""

    name = "KEY"

    def convert(self, value: Any, param: Any, ctx: Any) -> bytes:
        """Its bytes."""
        if isinstance(value, bytes):
            return value
        if not _KEY.fullmatch(str(value)):
            self.fail(
                f"{str(value)[:64]!r} is no key of work: 0x and {2 * limits.WORK_KEY_BYTES} hex"
                " digits.",
                param,
                ctx,
            )
        return bytes.fromhex(str(value)[2:])


def work_keys_argument(command: F) -> F:
    """`KEY...`: keys of pieces of work, each once."""

    def once(_: click.Context, __: click.Parameter, value: Sequence[bytes]) -> list[bytes]:
        found = list(dict.fromkeys(value))
        if len(found) > limits.BATCH_NODES_MAX:
            raise click.BadParameter(f"{limits.BATCH_NODES_MAX} pieces at most, in one go.")
        return found

    return click.argument(
        "keys", metavar="KEY...", type=WorkKey(), nargs=-1, required=True, callback=once
    )(command)
