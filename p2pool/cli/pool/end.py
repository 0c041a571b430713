"""`p2pool pool end`: a pool ends by its keepers' word.

It is a transaction, for the chain alone says whether a pool runs. It reads first, so whoever may
not, and whatever is done already, is told in a sentence and costs no coin. An ended pool never
comes back.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import (
    config_option,
    config_path,
    dry_send_option,
    open_chain,
    writer_maker,
)
from p2pool.cli.shared.options import json_option, key_options
from p2pool.cli.shared.output import write_dry, write_json
from p2pool.cli.shared.types import UINT256
from p2pool.model.errors import Conflict, NotAllowed
from p2pool.model.ids import Address
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts


# --- end ----------------------------------------------------------------------------------------


async def check_may_end(chain: "PoolContracts", pool_id: int, account: Address) -> None:
    """`NotAllowed` for who does not keep the pool, `Conflict` for a pool that does not run."""
    info = await chain.pool(pool_id)
    if account not in (info.creator, info.manager):
        raise NotAllowed(
            f"0x{account.hex()} is neither the creator (0x{info.creator.hex()}) nor the manager"
            f" (0x{info.manager.hex()}) of pool {pool_id}.",
            hint="Use the key of one of them.",
        )
    if info.status is PoolStatus.COMPLETED:
        raise Conflict(f"Pool {pool_id} has ended already: nothing is sent.")
    if info.status is PoolStatus.PENDING:
        raise Conflict(
            f"Pool {pool_id} was never started, so there is nothing to end.",
            hint=f"Start it (p2pool pool start {pool_id}), or leave it as it is.",
        )


@click.command("end")
@click.argument("pool_id", metavar="POOL", type=click.IntRange(0, UINT256))
@click.option("--yes", is_flag=True, help="Do not ask; needed with --json.")
@key_options
@config_option
@dry_send_option
@json_option
def end(
    pool_id: int,
    yes: bool,
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End a pool on the chain for good, as its creator or manager. POOL is its number.

    Once the block is final every agent stops the pool's tasks and takes no more. It cannot be
    started again, so it is asked for first, and the number has to be given.
    """
    import trio

    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain

    chain_config = load_chain(config_path(config))
    if as_json and not (yes or dry_run):
        raise click.UsageError("With --json nobody is asked: say --yes.")
    make_writer = writer_maker(key, passphrase_file, dry_run)

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        await check_may_end(chain, pool_id, writer.address)
        if not (yes or dry_run):
            click.confirm(f"End pool {pool_id} for good, and stop all its tasks?", abort=True)
        sent = await chain.end_pool(writer, pool_id)
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
        elif as_json:
            write_json({"pool_id": pool_id, "transaction": sent.transaction_hash})
        else:
            click.echo(f"Pool {pool_id} ended by {sent.transaction_hash}.")

    trio.run(run)
