"""`p2pool provider claim`: what its nodes have earned, where the deployment pays rewards."""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("claim")
@pool_option
@sender_options
def claim(pool_id: int | None, sender: Sender) -> None:
    """Claim what your nodes have earned, where the deployment pays rewards.

    Not every deployment pays rewards on the chain. --dry-run shows what can be claimed; what is
    locked still is told too. Each node takes a transaction.
    """
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.provider.rewards import claim_plan, rewards_of

        reader = await Reader.at_head(chain)
        listed = await reader.own_nodes(account)
        nodes = () if listed.is_absent else listed.need("list of nodes")
        where, earned = await rewards_of(reader, number, [one.node_id for one in nodes])
        return claim_plan(account, number, where, earned)

    run_errand(sender, make, {"pool_id": number})
