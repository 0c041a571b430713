"""`p2pool validator validate` and `p2pool validator invalidate`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import nodes_argument, yes_option
from p2pool.codec.json.hex import address_text

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address, NodeId


@click.command("validate")
@nodes_argument
@sender_options
def validate(nodes: "list[NodeId]", sender: Sender) -> None:
    """Let nodes enter pools, as validator. NODE is an address.

    Each node takes a transaction; one that is validated already takes none. A node whose provider
    lacks stake, as after a slash, waits for it, and the others go first.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.validator.act_plans import validate_plan
        from p2pool.drivers.chain.validator.roles import Roles

        reader = await Reader.at_head(chain)
        roles = await Roles.of(chain, account, reader.block)
        roles.check_validator()
        found = await reader.registry_nodes(nodes)
        owners = {one.registry.value.provider for one in found if one.registry.value is not None}
        facts = {owner: await reader.provider(owner) for owner in sorted(owners)}
        return validate_plan(chain.at, roles, found, facts)

    run_errand(sender, make, named_nodes(nodes))


@click.command("invalidate")
@nodes_argument
@click.option(
    "--hard",
    is_flag=True,
    help="Take them out of the registry too: their provider has to register them anew.",
)
@yes_option
@sender_options
def invalidate(nodes: "list[NodeId]", hard: bool, yes: bool, sender: Sender) -> None:
    """Keep nodes out of pools, as validator. NODE is an address.

    They lose their validation; p2pool validator validate gives it back. With --hard they leave the
    registry too, and a node that works in a pool waits for that pool's keepers to put it out. What
    is so already takes no transaction.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.validator.act_plans import invalidate_plan
        from p2pool.drivers.chain.validator.roles import Roles

        reader = await Reader.at_head(chain)
        roles = await Roles.of(chain, account, reader.block)
        roles.check_validator()
        return invalidate_plan(chain.at, roles, await reader.registry_nodes(nodes), hard)

    told = {**named_nodes(nodes), "hard": hard}
    run_errand(sender, make, told, yes=yes if hard else None)


def named_nodes(nodes: "Sequence[NodeId]") -> dict[str, Any]:
    """What a document says of the nodes that were named."""
    return {"nodes": [address_text(one) for one in nodes]}
