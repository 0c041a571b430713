"""`p2pool pool eject`, `blacklist` and `purge`: nodes put out of a pool by its creator or manager.

Ejected nodes may come back by a new invite; blacklisted ones never do, so that one asks first. Each
reads first, and sends what is missing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from p2pool.cli.pool.membership import named, of_nodes
from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import nodes_argument, yes_option
from p2pool.cli.shared.types import AccountType
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import Address, NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.facts import NodeFacts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.provider.reads import Reader


@click.command("eject")
@nodes_argument
@pool_option
@sender_options
def eject(nodes: list[NodeId], pool_id: int | None, sender: Sender) -> None:
    """Put nodes out of the pool on the chain, as its creator or manager. NODE is an address.

    Once the block is final a node stops the pool's tasks and gives up its seat on the committee. A
    new invite lets it back in. Each node takes a transaction.
    """
    from p2pool.drivers.chain.provider.exit_plans import eject_plan

    number = sender.pool(pool_id).pool_id
    run_errand(sender, of_nodes(eject_plan, number, nodes), named(nodes, number))


@click.group(name="blacklist")
def blacklist() -> None:
    """Bar nodes or a provider from a pool for good, as its creator or manager."""


@blacklist.command("node")
@nodes_argument
@yes_option
@pool_option
@sender_options
def blacklist_node(nodes: list[NodeId], yes: bool, pool_id: int | None, sender: Sender) -> None:
    """Bar nodes from the pool for good, and put them out, as its creator or manager.

    NODE is an address. No contract takes a bar back; p2pool pool eject puts a node out for now, and
    `p2pool node ban` keeps it from work.
    """
    from p2pool.drivers.chain.provider.exit_plans import blacklist_node_plan

    number = sender.pool(pool_id).pool_id
    run_errand(sender, of_nodes(blacklist_node_plan, number, nodes), named(nodes, number), yes=yes)


@blacklist.command("provider")
@click.argument("provider", metavar="PROVIDER", type=AccountType())
@yes_option
@pool_option
@sender_options
def blacklist_provider(provider: Address, yes: bool, pool_id: int | None, sender: Sender) -> None:
    """Bar a provider from the pool for good, and put its nodes out, as its creator or manager.

    PROVIDER is an address. No contract takes a bar back.
    """
    from p2pool.drivers.chain.provider.exit_plans import blacklist_provider_plan

    _put_out(blacklist_provider_plan, provider, sender.pool(pool_id).pool_id, sender, yes)


@click.command("purge")
@click.argument("provider", metavar="PROVIDER", type=AccountType())
@yes_option
@pool_option
@sender_options
def purge(provider: Address, yes: bool, pool_id: int | None, sender: Sender) -> None:
    """Put all nodes of a provider out of the pool, as its creator or manager.

    PROVIDER is an address. New invites let its nodes back in.
    """
    from p2pool.drivers.chain.provider.exit_plans import purge_plan

    _put_out(purge_plan, provider, sender.pool(pool_id).pool_id, sender, yes)


def _put_out(
    planned: "Callable[..., Plan]", provider: Address, number: int, sender: Sender, yes: bool
) -> None:
    """Carry out a plan about a provider and those of its nodes that are in the pool; where the
    registry has forgotten a node, say what helps."""
    from p2pool.drivers.chain.contracts import says_none
    from p2pool.drivers.chain.rpc import Reverted

    async def make(chain: "PoolContracts", account: Address) -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        pool = await reader.pool(number, provider)
        members = await members_of(reader, number, provider)
        return planned(chain.at, pool, account, provider, members)

    told = {"pool_id": number, "provider": "0x" + provider.hex()}
    try:
        run_errand(sender, make, told, yes=yes)
    except TransactionFailed as refused:
        cause = refused.__cause__
        if isinstance(cause, Reverted) and says_none(cause, in_list=True):
            raise TransactionFailed(
                "The contract cannot purge this provider: the registry has forgotten one of its"
                " nodes.",
                hint="Eject its nodes that are in the pool, one by one: p2pool pool eject NODE...",
            ) from refused
        raise


async def members_of(reader: "Reader", pool_id: int, provider: Address) -> "list[NodeFacts]":
    """The nodes of a provider that are in a pool, as far as the registry has them."""
    listed = await reader.own_nodes(provider)
    nodes = () if listed.is_absent else listed.need("list of nodes")
    found = await reader.nodes(pool_id, [one.node_id for one in nodes])
    return [one for one in found if one.is_member]
