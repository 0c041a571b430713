"""`p2pool pool leave` and `p2pool pool eject`: a node goes.

It leaves by its provider's word, and is put out by the creator's or manager's. Both are
transactions, for the chain alone says who belongs. They read first, so whoever may not, and
whatever is done already, is told in a sentence and costs no coin. A node comes back by a new
invite.
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
from p2pool.cli.shared.types import AddressType
from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts


from p2pool.cli.shared.chain import (
    pool_number,
    pool_option,
)


async def check_may_leave(
    chain: "PoolContracts", pool_id: int, node_id: NodeId, provider: Address
) -> None:
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


@click.command("eject")
@click.argument("node", metavar="NODE", type=AddressType())
@click.option("--pool", "pool_id", type=int, help="Default: [pool] id of the configuration.")
@key_options
@config_option
@dry_send_option
@json_option
def eject(
    node: Address,
    pool_id: int | None,
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put a node out of the pool on the chain, as its creator or manager. NODE is its address.

    It stops the pool's tasks and gives up its seat on the committee once the block is final. It can
    come back by a new invite.
    """
    import trio

    from p2pool.cli.shared.output import write_dry
    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain, load_config

    path = config_path(config)
    chain_config = load_chain(path)
    number = load_config(path).pool.id if pool_id is None else pool_id
    make_writer = writer_maker(key, passphrase_file, dry_run)
    text = "0x" + node.hex()

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        info = await chain.pool(number)
        if writer.address not in (info.creator, info.manager):
            raise NotAllowed(
                f"0x{writer.address.hex()} is neither the creator (0x{info.creator.hex()}) nor "
                f"the manager (0x{info.manager.hex()}) of pool {number}.",
                hint="Use the key of one of them.",
            )
        if not await chain.in_pool(number, NodeId(node)):
            raise NotFound(
                f"The node {text} is not in pool {number}: nothing is sent.",
                hint="See: p2pool node ls.",
            )
        sent = await chain.eject(writer, number, NodeId(node))
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
        elif as_json:
            write_json({"node_id": text, "pool_id": number, "transaction": sent.transaction_hash})
        else:
            click.echo(f"Ejected {text} by {sent.transaction_hash}.")

    trio.run(run)
