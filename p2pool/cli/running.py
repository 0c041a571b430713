"""What commands that run until they are stopped share: options, signals, log settings."""

import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

LEVELS = ("debug", "info", "warning", "error")


def directory_option(command: F) -> F:
    """`--data-dir`."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="P2POOL_DATA_DIR",
        metavar="DIR",
        help="Where it keeps its keys and state. Default: P2POOL_DATA_DIR, else this user's own.",
    )(command)


def log_options(command: F) -> F:
    """`--log-level` and `--log-format`."""
    command = click.option("--log-level", type=click.Choice(LEVELS), help="Overrides [log] level.")(
        command
    )
    return click.option(
        "--log-format",
        type=click.Choice(("auto", "pretty", "json")),
        help="Overrides [log] format; auto is pretty on a terminal.",
    )(command)


def data_directory(given: Path | None) -> Path:
    """The data directory that is meant."""
    from p2pool.drivers.config import default_directory

    return given.expanduser() if given else default_directory()


Main = Callable[[Any], Awaitable[None]]


def run_until_signal(main: Main) -> None:
    """Run `main(stop)`; SIGINT and SIGTERM set `stop`, a second one ends at once."""
    import trio

    async def listen(stop: trio.Event, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if stop.is_set():
                    scope.cancel()
                else:
                    print(f"{signal.Signals(number).name}: stopping", file=sys.stderr)
                    stop.set()

    async def both() -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, stop, nursery.cancel_scope)
            await main(stop)
            nursery.cancel_scope.cancel()

    trio.run(both)
