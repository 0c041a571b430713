"""`p2pool pool end`: ends a pool, as its creator or manager.

It is a transaction, because only the chain says whether a pool runs. The command reads first, so
that an account without the right, or a pool that has ended, costs a sentence and no coin. An ended
pool never comes back.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.types import UINT256, Number
from p2pool.drivers.chain.founding import check_keeper
from p2pool.model.errors import Conflict
from p2pool.model.ids import Address
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.transactions.writer import Sent, Writer


async def check_may_end(chain: "PoolContracts", pool_id: int, account: Address) -> None:
    """`NotAllowed` for other accounts than creator and manager, `Conflict` if it does not run."""
    info = await chain.pool(pool_id)
    check_keeper(info, account)
    if info.status is PoolStatus.COMPLETED:
        raise Conflict(f"Pool {pool_id} has already ended: nothing to send.")
    if info.status is PoolStatus.PENDING:
        raise Conflict(
            f"Pool {pool_id} was never started, so it cannot end.",
            hint=f"Start it (p2pool pool start {pool_id}), or leave it as it is.",
        )


@click.command("end")
@click.argument("pool_id", metavar="POOL", type=Number(0, UINT256))
@click.option("--yes", is_flag=True, help="Do not ask; --json needs this.")
@sender_options
def end(pool_id: int, yes: bool, sender: Sender) -> None:
    """End a pool on the chain for good, as its creator or manager. POOL is its number.

    Once the block is final every agent stops the pool's tasks and takes no more. No pool starts a
    second time, so the command needs the number and asks first.
    """
    asks = not (yes or sender.dry_run)
    if sender.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes.")

    async def act(chain: "PoolContracts", writer: "Writer") -> "Sent":
        await check_may_end(chain, pool_id, writer.address)
        if asks:
            click.confirm(f"End pool {pool_id} for good, and stop all its tasks?", abort=True)
        return await chain.end_pool(writer, pool_id)

    sender.send(act, {"pool_id": pool_id}, f"Pool {pool_id} ended")
