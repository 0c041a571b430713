"""The options of commands that sign a request and have it carried out, or only show it."""

import functools
from collections.abc import Callable
from typing import Any

import click

from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.client.agent_client import AgentClient


def signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--passphrase-file`, `--agent`, `--dry-run` and `--json`, given together as one
    `Signer`."""

    @functools.wraps(command)
    def with_signer(
        *context: click.Context,
        client: AgentClient,
        key: str | None,
        passphrase_file: str | None,
        dry_run: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        # Commands that read share modules with those that sign, and must not pay for them.
        from p2pool.cli.shared.signer import Signer

        signer = Signer(
            client=client,
            key=key,
            passphrase_file=passphrase_file,
            dry_run=dry_run,
            as_json=as_json,
        )
        command(*context, signer=signer, **given)

    return key_options(agent_option(dry_run_option(json_option(with_signer))))
