"""`p2pool validator slash`: stake that is taken for good, once for each reason."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import Amount, yes_option
from p2pool.cli.shared.types import AccountType, FilePath
from p2pool.codec.json.hex import address_text
from p2pool.model import limits

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("slash")
@click.argument("provider", metavar="PROVIDER", type=AccountType())
@click.argument("amount_wei", metavar="AMOUNT", type=Amount())
@click.option("--reason", help="Why, in words: it stands on the chain for all to read.")
@click.option(
    "--evidence",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Why, as a file: its SHA-256 digest stands on the chain. Keep the file.",
)
@yes_option
@sender_options
def slash(
    provider: "Address",
    amount_wei: int,
    reason: str | None,
    evidence: Path | None,
    yes: bool,
    sender: Sender,
) -> None:
    """Take of a provider's stake for good, as validator. PROVIDER is an address, AMOUNT in tokens.

    It needs a --reason or --evidence. For the same reason a provider is slashed once: run again,
    the command finds that on the chain and sends nothing.
    """
    because = _reason_of(reason, evidence)

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.validator.act_plans import Penalty, slash_plan
        from p2pool.drivers.chain.validator.roles import Roles
        from p2pool.drivers.chain.validator.slashes import slashes_of

        reader = await Reader.at_head(chain)
        roles = await Roles.of(chain, account, reader.block)
        roles.check_validator()
        facts, earlier = await reader.provider(provider), await slashes_of(reader, provider)
        penalty = Penalty(provider, amount_wei, because)
        return slash_plan(chain.at, roles, facts, penalty, earlier)

    told = {"provider": address_text(provider), "reason": "0x" + because.hex()}
    run_errand(sender, make, told, yes=yes)


def _reason_of(reason: str | None, evidence: Path | None) -> bytes:
    if (reason is None) == (evidence is None):
        raise click.UsageError("Give either --reason TEXT or --evidence FILE.")
    if reason is not None:
        told = reason.strip().encode()
        if not 0 < len(told) <= limits.SLASH_REASON_MAX_BYTES:
            raise click.UsageError(
                f"--reason takes 1 to {limits.SLASH_REASON_MAX_BYTES} bytes, not {len(told)}."
            )
        return told
    assert evidence is not None
    from p2pool.drivers.input_files import read_input
    from p2pool.model.errors import Malformed

    data = read_input(evidence, limits.EVIDENCE_FILE_MAX_BYTES, "evidence")
    if len(data) > limits.EVIDENCE_FILE_MAX_BYTES:
        raise Malformed(f"{evidence} is longer than {limits.EVIDENCE_FILE_MAX_BYTES} bytes.")
    return hashlib.sha256(data).digest()
