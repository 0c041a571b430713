"""The options of commands that sign a request and have it carried out, or only show it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from p2pool.cli.shared.options import agent_option, dry_run_option, json_option, key_options
from p2pool.cli.shared.types import AddressType, FilePath
from p2pool.client.agent_client import AgentClient


def contract_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--contract` and `--unsigned`, which the command's `Signer` gets."""

    @functools.wraps(command)
    def for_contract(
        *context: click.Context,
        signer: Any,
        contract: bytes | None,
        unsigned: Path | None,
        **given: Any,
    ) -> None:
        signer = attrs.evolve(signer, contract=contract, unsigned=unsigned)
        command(*context, signer=signer, **given)

    made = click.option(
        "--unsigned",
        type=FilePath(dir_okay=False),
        metavar="FILE",
        help="Write what has to be signed to FILE, with its digest, and send nothing; then:"
        " p2pool wallet send FILE --signature SIGNATURE.",
    )(for_contract)
    return click.option(
        "--contract",
        type=AddressType(),
        metavar="ADDRESS",
        help="Sign for this contract account (ERC-1271), as its owner: the signature of --key is"
        " the contract's.",
    )(made)


def signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--passphrase-file`, `--contract`, `--unsigned`, `--agent`, `--dry-run` and `--json`,
    given together as one `Signer`."""
    command = contract_options(command)

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
