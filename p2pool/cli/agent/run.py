"""`p2pool agent run`: makes this machine a node of a pool until somebody stops it."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.errors import say
from p2pool.cli.shared.chain import config_option
from p2pool.cli.shared.options import json_option
from p2pool.cli.shared.output import write_json_line
from p2pool.cli.shared.plans.options import Amount
from p2pool.cli.shared.process import (
    begin_logs,
    data_directory,
    directory_option,
    log_options,
    run_until_signal,
)
from p2pool.cli.shared.types import CommitteeHash, FilePath, KeyPlaceType
from p2pool.model.data_dir import NODE_KEY_FILE
from p2pool.model.errors import BadKey, Misconfigured
from p2pool.model.ids import Digest

if TYPE_CHECKING:
    from p2pool.cli.agent.start_files import StartFiles
    from p2pool.drivers.chain.stakes import StakePolicy
    from p2pool.drivers.config.schema import AgentConfig
    from p2pool.drivers.config.start_record import StartRecord
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.model.ports.signer import Signer


@click.command("run")
@directory_option
@config_option
@click.option(
    "--node-key",
    type=KeyPlaceType(),
    metavar="KEY",
    help="The node's key: a key file, fd:N, or clef:PATH for a signer that is another program."
    f" Default: {NODE_KEY_FILE} in the data directory.",
)
@click.option(
    "--passphrase-file",
    type=FilePath(),
    metavar="FILE",
    help="File with the node key's passphrase. Default: P2POOL_PASSPHRASE_FILE, then"
    " P2POOL_PASSPHRASE, then a prompt.",
)
@click.option(
    "--provider-key",
    type=KeyPlaceType(),
    metavar="KEY",
    help="The provider's key, as --node-key. With it the agent stakes, registers and joins by"
    " itself.",
)
@click.option(
    "--provider-passphrase-file",
    type=FilePath(),
    metavar="FILE",
    help="File with the provider key's passphrase. Default: as for the node key.",
)
@click.option(
    "--stake-max",
    "stake_max_wei",
    type=Amount(),
    help="The most that the provider's stake may come to by this agent: 2.5 tokens, or 300wei."
    " Default: it stakes nothing by itself, and says what is needed; on a development chain, what"
    " is asked.",
)
@click.option(
    "--stake-top-up",
    is_flag=True,
    help="Add to the provider's stake at the start what a slash took of it, up to --stake-max.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show the whole way into the pool: each transaction, its cost, each wait; and exit.",
)
@click.option("--stop-tasks", is_flag=True, help="Stop this node's tasks when the agent ends.")
@click.option(
    "--skip-checks",
    is_flag=True,
    help="Join even if `p2pool agent check` finds that the machine does not qualify.",
)
@click.option(
    "--trust",
    "trusted",
    type=CommitteeHash(),
    multiple=True,
    metavar="HASH",
    help="Follow the committee with this hash, which you trust on other grounds, where signatures"
    " do not prove it. Once is enough. Repeatable.",
)
@log_options
@json_option
@click.pass_context
def run(
    context: click.Context,
    data_dir: Path | None,
    config: Path | None,
    node_key: "KeyPlace | None",
    passphrase_file: Path | None,
    provider_key: "KeyPlace | None",
    provider_passphrase_file: Path | None,
    stake_max_wei: int | None,
    stake_top_up: bool,
    dry_run: bool,
    stop_tasks: bool,
    skip_checks: bool,
    trusted: tuple[Digest, ...],
    log_level: str | None,
    log_format: str | None,
    as_json: bool,
) -> None:
    """Run the agent of this machine until SIGINT or SIGTERM.

    Its containers run on when it ends, and it finds them when it is back. Without a --config or a
    key it starts as it last did in that directory, which remembers both. With --json the first line
    on standard output says where the API listens; log lines go to standard error.
    """
    from p2pool.cli.agent.start_files import start_files
    from p2pool.drivers.config.schema import load_config
    from p2pool.drivers.core_dumps import forbid_core_dumps

    forbid_core_dumps()
    directory = data_directory(data_dir)
    given: dict[str, object] = {"config": config, "node_key": node_key}
    given |= {"passphrase_file": passphrase_file, "provider_key": provider_key}
    given |= {"provider_passphrase_file": provider_passphrase_file, "stop_tasks": stop_tasks}
    given |= {"skip_checks": skip_checks, "stake_top_up": stake_top_up}
    files = start_files(context, directory, {**given, "stake_max_wei": stake_max_wei})
    found = load_config(files.config, files.environment, elsewhere="--data-dir DIR")
    settings = begin_logs(found, log_level, log_format)
    node, provider = _accounts(files)
    if provider is None and (stake_max_wei is not None or stake_top_up):
        raise click.UsageError("--stake-max and --stake-top-up need --provider-key.")
    policy = _policy(settings, files)
    if dry_run:
        from p2pool.cli.agent.way_in import write_way_in

        write_way_in(settings, directory, node, provider, policy, as_json)
        return
    from p2pool.agent.agent import run_agent
    from p2pool.agent.options import AgentOptions

    options = AgentOptions(
        directory=directory,
        config=settings,
        node=node,
        provider=provider,
        stake=policy,
        stop_tasks=files.stop_tasks,
        skip_checks=files.skip_checks,
        trusted=trusted,
    )

    started = partial(_on_started, directory, files, node.address.lower(), as_json)

    async def main(stop: object) -> None:
        await run_agent(options, stop, started)  # type: ignore[arg-type]

    run_until_signal(main)


def _on_started(
    directory: Path, files: "StartFiles", node_id: str, as_json: bool, url: str
) -> None:
    """Remember how it was started, and tell where the API listens."""
    _remember(directory, files.record(node_id))
    if as_json:
        write_json_line("agent-started", {"api": url, "node_id": node_id})
    else:
        print(f"The agent runs; its API listens at {url}", file=sys.stderr)


def _policy(settings: "AgentConfig", files: "StartFiles") -> "StakePolicy":
    """What the agent may stake."""
    from p2pool.drivers.chain.stakes import StakePolicy

    return StakePolicy.said(settings.chain.id, files.stake_max_wei, files.stake_top_up)


def _accounts(files: "StartFiles") -> "tuple[Signer, Signer | None]":
    """Who signs for the node, and for its provider if the start has one."""
    from p2pool.drivers.keys.signers.place import KeyFile, is_there

    if not is_there(files.node_key):
        raise files.no_node_key()
    node = _account(files.node_key, files.passphrase_file, "the node key")
    files.check_node(node.address.lower())
    if files.provider_key is None:
        if files.provider_passphrase_file is not None:
            raise click.UsageError("--provider-passphrase-file needs --provider-key.")
        return node, None
    secret = files.provider_passphrase_file
    if secret is None and isinstance(files.provider_key, KeyFile):
        secret = files.passphrase_file
    provider = _account(files.provider_key, secret, "the provider key")
    if provider.address == node.address:
        raise Misconfigured(
            "The node key and the provider key are the same key.",
            hint="Give each a key file of its own.",
        )
    return node, provider


def _account(place: "KeyPlace", passphrase_file: Path | None, what: str) -> "Signer":
    from p2pool.drivers.keys.signers.opener import open_signer
    from p2pool.drivers.keys.signers.place import is_there

    if not is_there(place):
        raise BadKey(f"There is no key file {place}.", hint=f"Name the file of {what}.")
    return open_signer(place, what, passphrase_file=passphrase_file)


def _remember(directory: Path, record: "StartRecord") -> None:
    """Keep what the agent was started with; one that runs does not end because it cannot."""
    from p2pool.drivers.config.start_record import write_start

    if not (record.config and record.node_key):
        return say(
            "The next start needs its options again: standard input and descriptors are read once."
        )
    try:
        write_start(directory, record)
    except OSError as error:
        say(f"warning: the next start needs its options again: {error.strerror or error}")
