"""`p2pool bootstrap`: runs a node that only introduces peers to each other."""

import sys
from pathlib import Path

import click

from p2pool.cli.shared.chain import config_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json_line
from p2pool.cli.shared.process import (
    begin_logs,
    directory_option,
    log_options,
    read_settings,
    run_until_signal,
)


@click.group(name="bootstrap", help="Run a node that only introduces peers to each other.")
def bootstrap() -> None:
    """The group."""


@bootstrap.command("run")
@directory_option
@config_option
@click.option(
    "--listen",
    multiple=True,
    metavar="MULTIADDR",
    help="Where to listen, instead of [network] listen. Repeatable.",
)
@log_options
@json_option
def run(
    data_dir: Path | None,
    config: Path | None,
    listen: tuple[str, ...],
    log_level: str | None,
    log_format: str | None,
    as_json: bool,
) -> None:
    """Run a bootstrap node until SIGINT or SIGTERM.

    It needs no node key. From the configuration it reads [chain] and [pool], which name its pool,
    [network] and [log]. Where an endpoint of [chain] answers, it keeps and names members of the
    pool first; it runs without one too. It prints the addresses to give to others, one a line.
    """
    from p2pool.agent.bootstrap import run_bootstrap
    from p2pool.agent.options import BootstrapOptions

    directory, settings = read_settings(data_dir, config)
    settings = begin_logs(settings, log_level, log_format)
    network = settings.network
    options = BootstrapOptions(
        directory=directory,
        pool=settings.pool_ref,
        listen=listen or network.listen,
        bootstrap=network.bootstrap,
        announce=network.announce,
        chain=settings.chain,
    )

    def started(addresses: tuple[str, ...]) -> None:
        if as_json:
            write_json_line("bootstrap-started", {"addresses": list(addresses)})
        else:
            print("\n".join(addresses))
        sys.stdout.flush()

    async def main(stop: object) -> None:
        await run_bootstrap(options, stop, started)  # type: ignore[arg-type]

    run_until_signal(main)
