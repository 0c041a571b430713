"""The options of commands that sign a request and have it carried out, or only show it.

What is signed for the pool's log takes `--delegation`, whichever command signs it: who exports
P2POOL_DELEGATION means every request, and one that was signed without it would be another's. Only
what no delegation can cover goes without (`own_signer_options`).
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from p2pool.cli.shared.options import (
    agent_option,
    contract_option,
    delegation_option,
    dry_run_option,
    json_option,
    key_options,
)
from p2pool.cli.shared.types import FilePath
from p2pool.client.agent_client import AgentClient


def contract_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--contract` and `--unsigned`, for the command's `Signer`."""

    @functools.wraps(command)
    def for_contract(
        *context: click.Context,
        signer: Any,
        contract: bytes | None,
        unsigned: Path | None,
        **given: Any,
    ) -> None:
        import attrs  # A read signs nothing, and need not load it.

        signer = attrs.evolve(signer, contract=contract, unsigned=unsigned)
        command(*context, signer=signer, **given)

    made = click.option(
        "--unsigned",
        type=FilePath(dir_okay=False),
        metavar="FILE",
        help="Write what has to be signed to FILE, with its digest, and send nothing; then:"
        " p2pool wallet send FILE --signature SIGNATURE.",
    )(for_contract)
    return contract_option(made)


def signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--passphrase-file`, `--delegation`, `--contract`, `--unsigned`, `--agent`,
    `--dry-run` and `--json`, given together as one `Signer`."""
    return key_options(delegation_option(_as_signer(contract_options(command))))


def own_signer_options(command: Callable[..., None]) -> Callable[..., None]:
    """The same without `--delegation`: for what an account signs that nobody can sign for it."""
    return key_options(_as_signer(contract_options(command)))


def _as_signer(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def with_signer(
        *context: click.Context,
        client: AgentClient,
        key: str | None,
        passphrase_file: str | None,
        dry_run: bool,
        as_json: bool,
        delegation: str | None = None,
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
            delegation=delegation,
        )
        command(*context, signer=signer, **given)

    return agent_option(dry_run_option(json_option(with_signer)))
