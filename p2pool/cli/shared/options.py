"""What commands that talk to an agent share: options that name the agent and the signing key."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from p2pool.cli.shared import types
from p2pool.client.agent_client import AgentClient
from p2pool.client.discovery import find_agent

F = TypeVar("F", bound=Callable[..., Any])

_AGENT_NAMED = ": its URL or data directory. Default: P2POOL_AGENT, else this user's own agent."

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print exactly what would be signed, and sign nothing."
)
consistent_option = click.option(
    "--consistent", is_flag=True, help="First catch up with the leader."
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
    """`--agent` as it was typed, for a command that looks for the agent itself. `whom`: what the
    help calls it."""
    return click.option("--agent", metavar="URL|DIR", help=f"{whom}{_AGENT_NAMED}")


def agent_option(command: F) -> F:
    """`--agent`, which the command gets as a client."""

    def connect(_: click.Context, __: click.Parameter, value: str | None) -> AgentClient:
        found = find_agent(value, os.environ)
        return AgentClient.of(found)

    return click.option(
        "--agent",
        "client",
        metavar="URL|DIR",
        callback=connect,
        help=f"The agent to ask{_AGENT_NAMED}",
    )(command)


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
        help="The key file of the account that signs. Default: P2POOL_KEY.",
    )(command)
