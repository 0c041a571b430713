"""`p2pool validator whitelist` and `p2pool validator blacklist`."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import yes_option
from p2pool.cli.shared.types import AccountType
from p2pool.codec.json.hex import address_text
from p2pool.model import limits
from p2pool.model.ids import Address

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.facts import ProviderFacts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.validator.roles import Roles

F = TypeVar("F", bound=Callable[..., Any])


def providers_argument(command: F) -> F:
    """`PROVIDER...`: addresses of providers, each once."""

    def once(_: click.Context, __: click.Parameter, value: Sequence[Address]) -> list[Address]:
        found = list(dict.fromkeys(value))
        if len(found) > limits.BATCH_NODES_MAX:
            raise click.BadParameter(f"{limits.BATCH_NODES_MAX} providers at most, in one go.")
        return found

    return click.argument(
        "providers",
        metavar="PROVIDER...",
        type=AccountType(),
        nargs=-1,
        required=True,
        callback=once,
    )(command)


@click.command("whitelist")
@providers_argument
@sender_options
def whitelist(providers: list[Address], sender: Sender) -> None:
    """Let providers register nodes, as validator or federator. PROVIDER is an address.

    One that is not registered yet is refused: the whitelisting would be lost. Each provider takes a
    transaction; one that is whitelisted already takes none.
    """

    async def make(chain: "PoolContracts", account: Address) -> "Plan":
        from p2pool.drivers.chain.validator.act_plans import whitelist_plan

        return whitelist_plan(chain.at, *await _facts(chain, account, providers))

    run_errand(sender, make, named_providers(providers))


@click.command("blacklist")
@providers_argument
@yes_option
@sender_options
def blacklist(providers: list[Address], yes: bool, sender: Sender) -> None:
    """Keep providers' nodes from work in every pool, as validator. PROVIDER is an address.

    Their nodes stay members and get no work, and they register no more of them. p2pool validator
    whitelist takes it back. Each provider takes a transaction.
    """

    async def make(chain: "PoolContracts", account: Address) -> "Plan":
        from p2pool.drivers.chain.validator.act_plans import blacklist_plan

        return blacklist_plan(chain.at, *await _facts(chain, account, providers))

    run_errand(sender, make, named_providers(providers), yes=yes)


def named_providers(providers: Sequence[Address]) -> dict[str, Any]:
    """What a document says of the providers that were named."""
    return {"providers": [address_text(one) for one in providers]}


async def _facts(
    chain: "PoolContracts", account: Address, providers: Sequence[Address]
) -> "tuple[Roles, list[ProviderFacts]]":
    from p2pool.drivers.chain.provider.reads import Reader
    from p2pool.drivers.chain.validator.roles import Roles

    reader = await Reader.at_head(chain)
    roles = await Roles.of(chain, account, reader.block)
    return roles, [await reader.provider(one) for one in providers]
