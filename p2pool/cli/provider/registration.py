"""`p2pool provider register` and `p2pool provider deregister`.

Both may be run again at any time: what is done already is not sent again.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import Amount, stake_options, yes_option
from p2pool.cli.shared.plans.stake_words import StakeWord
from p2pool.cli.shared.types import UINT256, Number
from p2pool.model import limits

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address, NodeId


@click.command("register")
@click.option(
    "--stake",
    "stake_wei",
    type=Amount(),
    help="Stake so much in all, in tokens. Default: what the network asks for.",
)
@click.option(
    "--units",
    type=Number(0, limits.COMPUTE_UNITS_MAX),
    default=0,
    help="Stake enough for nodes of so many compute units besides.",
)
@stake_options
@sender_options
def register(
    stake_wei: int | None, units: int, stake_max_wei: int | None, yes: bool, sender: Sender
) -> None:
    """Stake and register as a provider, with the account of --key.

    The network's validator then has to whitelist it; nodes come after that (p2pool node register,
    or an agent with --provider-key). Of a provider that is registered already the stake is brought
    up to what is asked for. --stake names an amount, so it is not asked about; what the network
    asks for beyond it is.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.provider_plans import register_plan
        from p2pool.drivers.chain.provider.reads import Reader

        facts = await (await Reader.at_head(chain)).provider(account, units)
        return register_plan(chain.at, facts, stake_wei, stake_max_wei)

    run_errand(sender, make, {}, stake=StakeWord.of(stake_max_wei, yes, stake_wei))


@click.command("deregister")
@click.option(
    "--pool",
    "pool_ids",
    type=Number(0, UINT256),
    multiple=True,
    help="A pool that nodes of yours are in. Repeatable. Default: [pool] id of the configuration.",
)
@yes_option
@sender_options
def deregister(pool_ids: tuple[int, ...], yes: bool, sender: Sender) -> None:
    """Leave the network for good, with the account of --key.

    Its nodes leave their pools and the registry, the provider is deregistered, and its stake comes
    back after the unbonding: withdraw it then (p2pool provider withdraw). Drain the nodes before
    (p2pool node drain --wait), and stop their agents.
    """
    pools = sorted(set(pool_ids)) or [sender.pool(None).pool_id]

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        return await way_out(chain, account, pools)

    run_errand(sender, make, {"pool_ids": pools}, yes=yes)


async def way_out(chain: "PoolContracts", account: "Address", pools: "list[int]") -> "Plan":
    """The way of a provider out of the network."""
    from p2pool.drivers.chain.provider.provider_plans import deregister_plan
    from p2pool.drivers.chain.provider.reads import Reader

    reader = await Reader.at_head(chain)
    facts, stake = await reader.provider(account), await reader.stake(account)
    listed = await reader.own_nodes(account)
    nodes = () if listed.is_absent else listed.need("list of nodes")
    members: dict[int, list[NodeId]] = {}
    for pool_id in pools:
        found = await reader.nodes(pool_id, [one.node_id for one in nodes])
        members[pool_id] = [one.node_id for one in found if one.is_member]
    return deregister_plan(chain.at, facts, stake, nodes, members)
