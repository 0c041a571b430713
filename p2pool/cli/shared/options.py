"""What commands that talk to an agent share: options that name the agent and the signing key."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from p2pool.cli.shared import types
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import FoundAgent, find_agent, read_token_file, token_in
from p2pool.model import limits

F = TypeVar("F", bound=Callable[..., Any])

_AGENT_NAMED = ": its URL or data directory. Default: P2POOL_AGENT, else this user's own agent."

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print exactly what would be signed, and sign nothing."
)
consistent_option = click.option(
    "--consistent", is_flag=True, help="First catch up with the leader."
)
contract_option = click.option(
    "--contract",
    type=types.AddressType(),
    metavar="ADDRESS",
    help="Sign for this contract account (ERC-1271), as its owner: the signature of --key is the"
    " contract's.",
)
delegation_option = click.option(
    "--delegation",
    metavar="FILE",
    envvar="P2POOL_DELEGATION",
    help="Sign under the delegation in FILE (- reads standard input), which is made out to the"
    " account of --key. Default: P2POOL_DELEGATION; '' signs for that account itself.",
)


def wait_options(what: str, default: str) -> Callable[[F], F]:
    """`--wait`, which waits until `what`, and `--timeout`, in seconds, which needs it."""

    def needed(context: click.Context, option: click.Parameter, value: int) -> int:
        given = context.get_parameter_source("timeout") is ParameterSource.COMMANDLINE
        if given and not context.params.get("wait"):
            raise click.UsageError("--timeout needs --wait: nothing else waits.", context)
        return value

    def both(command: F) -> F:
        command = click.option(
            "--timeout",
            type=types.Span(),
            default=default,
            show_default=True,
            callback=needed,
            help="How long --wait waits.",
        )(command)
        # Eager: known before the other is judged, in whichever order they are given.
        return click.option("--wait", is_flag=True, is_eager=True, help=f"Wait until {what}.")(
            command
        )

    return both


def agent_name_option(whom: str = "The agent to ask") -> Callable[[F], F]:
    """`--agent` as it was typed, for a command that looks for the agent itself by `found_agent`,
    with `--token-file` and `--ca`. `whom`: what the help calls it."""

    def named(command: F) -> F:
        command = _remote_options(command)
        return click.option("--agent", metavar="URL|DIR", help=f"{whom}{_AGENT_NAMED}")(command)

    return named


def agent_option(command: F) -> F:
    """`--agent`, which the command gets as a client, with `--token-file` and `--ca`."""

    def connect(_: click.Context, __: click.Parameter, value: str | None) -> AgentClient:
        return AgentClient.of(found_agent(value))

    command = _remote_options(command)
    return click.option(
        "--agent",
        "client",
        metavar="URL|DIR",
        callback=connect,
        help=f"The agent to ask{_AGENT_NAMED}",
    )(command)


def _remote_options(command: F) -> F:
    """Who shows what to an agent elsewhere. Eager: known before the agent is looked for."""

    def keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
        context.meta[str(option.name)] = value

    command = click.option(
        "--ca",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="PEM file with whom to trust for an https URL. Default: P2POOL_CA, else the system's.",
    )(command)
    return click.option(
        "--token-file",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=keep,
        help="File with the agent's token; -: standard input. Default: P2POOL_TOKEN_FILE, then"
        " P2POOL_TOKEN.",
    )(command)


def found_agent(given: str | None) -> FoundAgent:
    """The agent that a command line means: `--agent`, as it was typed, and the options beside
    it."""
    meta = click.get_current_context().meta
    token = None if meta["token_file"] is None else _token(meta["token_file"])
    return find_agent(given, os.environ, token=token, ca=meta["ca"])


def names_remote() -> bool:
    """Whether the command line says with what to speak to an agent: then one has to answer."""
    meta = click.get_current_context().meta
    return meta["token_file"] is not None or meta["ca"] is not None


def _token(file: str) -> str:
    from p2pool.drivers.input_files import STDIN, input_path, read_input

    if input_path(file) != STDIN:
        return read_token_file(file)
    return token_in(
        read_input(STDIN, limits.API_TOKEN_FILE_MAX_BYTES, "token file"), "standard input"
    )


def key_options(command: F) -> F:
    """`--key` and `--passphrase-file`."""
    command = click.option(
        "--passphrase-file",
        metavar="FILE",
        help="File with the key's passphrase. Default: P2POOL_PASSPHRASE_FILE, then"
        " P2POOL_PASSPHRASE, then a prompt.",
    )(command)
    return click.option(
        "--key",
        metavar="FILE",
        envvar="P2POOL_KEY",
        help="The key file of the account that signs, or fd:N, or clef:PATH (an external signer)."
        " Default: P2POOL_KEY.",
    )(command)
