"""`p2pool pool leave` and `p2pool pool end`: a node goes by its provider's word, a pool by its
keepers'.

Both are transactions, for the chain alone says who belongs and whether a pool runs. They read
first, so whoever may not, and whatever is done already, is told in a sentence and costs no coin.
Neither can be taken back: a node comes back by a new invite, an ended pool never.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.pool.create import UINT256, write_dry
from p2pool.cli.shared.chain import (
    AddressType,
    config_option,
    config_path,
    dry_send_option,
    open_chain,
    writer_maker,
)
from p2pool.cli.shared.options import json_option, key_options
from p2pool.cli.shared.output import write_json
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import Chain


def pool_number(path: Path, given: int | None) -> int:
    """The pool that is meant: the one given, else that of the configuration."""
    from p2pool.drivers.config.schema import load_config

    return load_config(path).pool.id if given is None else given


pool_option = click.option(
    "--pool",
    "pool_id",
    type=click.IntRange(0, UINT256),
    help="Default: [pool] id of the configuration.",
)


async def check_may_leave(chain: "Chain", pool_id: int, node_id: NodeId, provider: Address) -> None:
    """`NotFound` where the node is not in the pool, `NotAllowed` for whose it is not."""
    text = "0x" + node_id.hex()
    await chain.pool(pool_id)
    if not await chain.in_pool(pool_id, node_id):
        raise NotFound(
            f"The node {text} is not in pool {pool_id}: nothing is sent.",
            hint="See: p2pool node ls.",
        )
    info = await chain.node(node_id)
    if info is not None and info.provider != provider:
        raise NotAllowed(
            f"The node {text} is of provider 0x{info.provider.hex()}, and the key is of"
            f" 0x{provider.hex()}.",
            hint="Use its provider's key; creator and manager have: p2pool pool eject.",
        )


@click.command("leave")
@click.argument("node", metavar="NODE", type=AddressType())
@pool_option
@key_options
@config_option
@dry_send_option
@json_option
def leave(
    node: Address,
    pool_id: int | None,
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take a node out of the pool on the chain, as its provider. NODE is its address.

    Its tasks are stopped and placed anew elsewhere once the block is final; `p2pool node drain
    --wait` before it lets them go first. Stop the agent, or it waits for a new invite.
    """
    import trio

    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain

    path = config_path(config)
    chain_config, number = load_chain(path), pool_number(path, pool_id)
    make_writer = writer_maker(key, passphrase_file, dry_run)
    node_id, text = NodeId(node), "0x" + node.hex()

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        await check_may_leave(chain, number, node_id, writer.address)
        sent = await chain.leave_pool(writer, number, node_id)
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
        elif as_json:
            write_json({"node_id": text, "pool_id": number, "transaction": sent.transaction_hash})
        else:
            click.echo(f"The node {text} left pool {number} by {sent.transaction_hash}.")

    trio.run(run)


# --- end ----------------------------------------------------------------------------------------


async def check_may_end(chain: "Chain", pool_id: int, account: Address) -> None:
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
