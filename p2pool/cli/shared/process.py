"""What long-running commands share: options, signals, log settings."""

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from p2pool.cli.errors import say
from p2pool.cli.shared.types import FilePath

if TYPE_CHECKING:
    from p2pool.drivers.config.schema import AgentConfig

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

LEVELS = ("debug", "info", "warning", "error")


def directory_option(command: F) -> F:
    """`--data-dir`."""
    return click.option(
        "--data-dir",
        type=FilePath(file_okay=False),
        envvar="P2POOL_DATA_DIR",
        metavar="DIR",
        help="Directory of its keys and state. Default: P2POOL_DATA_DIR, else"
        " ~/.local/share/p2pool ($XDG_DATA_HOME/p2pool).",
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
    """The given data directory, else the default; absolute."""
    from p2pool.drivers.config.schema import default_directory
    from p2pool.drivers.paths import absolute_path

    return absolute_path(given) if given else default_directory()


def read_settings(data_dir: Path | None, config: Path | None) -> "tuple[Path, AgentConfig]":
    """The data directory, and the given configuration, else the one in that directory."""
    from p2pool.drivers.config.schema import CONFIG_NAME, load_config

    directory = data_directory(data_dir)
    return directory, load_config(config or directory / CONFIG_NAME, elsewhere="--data-dir DIR")


def begin_logs(settings: "AgentConfig", level: str | None, form: str | None) -> "AgentConfig":
    """Set up logs as the configuration and the command line say; returns both merged."""
    from p2pool.drivers.agent_log import configure_logs

    log = settings.log
    log = attrs.evolve(log, level=level or log.level, format=form or log.format)
    configure_logs(level=log.level, levels=log.levels, format=log.format)
    return attrs.evolve(settings, log=log)


Main = Callable[[Any], Awaitable[None]]


def _ending_signals() -> list[signal.Signals]:
    """Signals that ask this process to end, without those its starter ignores (`nohup`, `&`)."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]


def run_until_signal(main: Main) -> None:
    """Run `main(stop)`; SIGINT, SIGTERM or SIGHUP sets `stop`, a second one cancels it."""
    import trio

    async def listen(stop: trio.Event, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(*_ending_signals()) as signals:
            async for number in signals:
                if stop.is_set():
                    scope.cancel()
                else:
                    say(f"{signal.Signals(number).name}: stopping")
                    stop.set()

    async def both() -> None:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, stop, nursery.cancel_scope)
            await main(stop)
            nursery.cancel_scope.cancel()

    trio.run(both)


def run_unless_interrupted(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main()` for its result; SIGINT, SIGTERM or SIGHUP cancels it, and it raises
    KeyboardInterrupt once it has ended. Shielded parts finish, however often somebody asks. Log
    lines go to standard error: what it answers stands on standard output."""
    import trio

    from p2pool.drivers.agent_log import configure_logs

    configure_logs(level="warning")

    results: list[T] = []
    interrupted = False

    async def listen(scope: trio.CancelScope) -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(*_ending_signals()) as signals:
            async for number in signals:
                again = "still " if interrupted else ""
                say(f"{signal.Signals(number).name}: {again}stopping")
                interrupted = True
                scope.cancel()

    async def both() -> None:
        async with trio.open_nursery() as listening:
            scope = trio.CancelScope()
            listening.start_soon(listen, scope)
            with scope:
                results.append(await main())
            listening.cancel_scope.cancel()

    try:
        trio.run(both)
    except BaseException as error:
        if interrupted:
            raise KeyboardInterrupt from error
        raise
    if interrupted or not results:
        raise KeyboardInterrupt
    return results[0]
