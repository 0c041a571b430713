"""`p2pool pool end`: ends a pool, as its creator or manager.

It is a transaction, because only the chain says whether a pool runs. The command reads first, so
that an account without the right, or a pool that has ended, costs a sentence and no coin. An ended
pool never comes back.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import yes_option
from p2pool.cli.shared.types import UINT256, Number

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("end")
@click.argument("pool_id", metavar="POOL", type=Number(0, UINT256))
@yes_option
@sender_options
def end(pool_id: int, yes: bool, sender: Sender) -> None:
    """End a pool on the chain for good, as its creator or manager. POOL is its number.

    Once the block is final every agent stops the pool's tasks and takes no more. No pool starts a
    second time, so the command needs the number and asks first.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.exit_plans import end_plan
        from p2pool.drivers.chain.provider.reads import Reader

        return end_plan(chain.at, await (await Reader.at_head(chain)).pool(pool_id), account)

    run_errand(sender, make, {"pool_id": pool_id}, yes=yes)
