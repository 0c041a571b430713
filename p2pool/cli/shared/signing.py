"""The options of commands that sign a request and have it carried out, or only show it."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.client.agent_client import AgentClient

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer as Signer
    from p2pool.cli.shared.signer import account_of as account_of
    from p2pool.cli.shared.signer import plain as plain
    from p2pool.cli.shared.signer import write_signature as write_signature


def __getattr__(name: str) -> Any:
    """What `signer` has, when somebody needs it: commands that read share modules with those that
    sign, and must not pay for them."""
    if name not in ("Signer", "account_of", "plain", "write_signature"):
        raise AttributeError(name)
    from p2pool.cli.shared import signer

    return getattr(signer, name)


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
