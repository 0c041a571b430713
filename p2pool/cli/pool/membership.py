"""`p2pool pool leave` and `p2pool pool eject`: a node goes.

It leaves by its provider's word, and is put out by the creator's or manager's. Both are
transactions, for the chain alone says who belongs. They read first, so whoever may not, and
whatever is done already, is told in a sentence and costs no coin. A node comes back by a new
invite.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.types import AddressType
from p2pool.drivers.chain.founding import check_keeper
from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.writer import Sent, Writer


async def check_may_leave(
    chain: "PoolContracts", pool_id: int, node_id: NodeId, provider: Address
) -> None:
    """`NotFound` where the node is not in the pool, `NotAllowed` for whose it is not."""
    await chain.pool(pool_id)
    await check_in_pool(chain, pool_id, node_id)
    info = await chain.node(node_id)
    if info is not None and info.provider != provider:
        raise NotAllowed(
            f"The node 0x{node_id.hex()} is of provider 0x{info.provider.hex()}, and the key is of"
            f" 0x{provider.hex()}.",
            hint="Use its provider's key; creator and manager have: p2pool pool eject.",
        )


async def check_in_pool(chain: "PoolContracts", pool_id: int, node_id: NodeId) -> None:
    """`NotFound` where the node is not in the pool."""
    if not await chain.in_pool(pool_id, node_id):
        raise NotFound(
            f"The node 0x{node_id.hex()} is not in pool {pool_id}: nothing is sent.",
            hint="See: p2pool node ls.",
        )


@click.command("leave")
@click.argument("node", metavar="NODE", type=AddressType())
@pool_option
@sender_options
def leave(node: Address, pool_id: int | None, sender: Sender) -> None:
    """Take a node out of the pool on the chain, as its provider. NODE is its address.

    Its tasks are stopped and placed anew elsewhere once the block is final; `p2pool node drain
    --wait` before it lets them go first. Stop the agent, or it waits for a new invite.
    """
    number, node_id, text = sender.pool(pool_id).pool_id, NodeId(node), "0x" + node.hex()

    async def act(chain: "PoolContracts", writer: "Writer") -> "Sent":
        await check_may_leave(chain, number, node_id, writer.address)
        return await chain.leave_pool(writer, number, node_id)

    sender.send(act, {"node_id": text, "pool_id": number}, f"The node {text} left pool {number}")


@click.command("eject")
@click.argument("node", metavar="NODE", type=AddressType())
@pool_option
@sender_options
def eject(node: Address, pool_id: int | None, sender: Sender) -> None:
    """Put a node out of the pool on the chain, as its creator or manager. NODE is its address.

    It stops the pool's tasks and gives up its seat on the committee once the block is final. It can
    come back by a new invite.
    """
    number, node_id, text = sender.pool(pool_id).pool_id, NodeId(node), "0x" + node.hex()

    async def act(chain: "PoolContracts", writer: "Writer") -> "Sent":
        check_keeper(await chain.pool(number), writer.address)
        await check_in_pool(chain, number, node_id)
        return await chain.eject(writer, number, node_id)

    sender.send(act, {"node_id": text, "pool_id": number}, f"Ejected {text}")
