"""`p2pool pool leave` and `p2pool pool eject`: take a node out of the pool.

Its provider makes it leave; creator and manager eject it. Both are transactions, because only the
chain says who belongs. The commands read first, so that an account without the right, or a node
that is out already, costs a sentence and no coin. A node comes back by a new invite.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.types import AddressType
from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.founding import check_keeper
from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.transactions.writer import Sent, Writer


async def check_may_leave(
    chain: "PoolContracts", pool_id: int, node_id: NodeId, provider: Address
) -> None:
    """`NotFound` if the node is not in the pool, `NotAllowed` if it has another provider."""
    await chain.pool(pool_id)
    await check_in_pool(chain, pool_id, node_id)
    info = await chain.node(node_id)
    if info is not None and info.provider != provider:
        raise NotAllowed(
            f"The node {address_text(node_id)} belongs to the provider"
            f" {address_text(info.provider)}, and the"
            f" key to {address_text(provider)}.",
            hint="Use its provider's key; creator and manager use: p2pool pool eject.",
        )


async def check_in_pool(chain: "PoolContracts", pool_id: int, node_id: NodeId) -> None:
    """`NotFound` if the node is not in the pool."""
    if not await chain.in_pool(pool_id, node_id):
        raise NotFound(
            f"The node {address_text(node_id)} is not in pool {pool_id}: nothing to send.",
            hint="List the nodes: p2pool node ls.",
        )


@click.command("leave")
@click.argument("node", metavar="NODE", type=AddressType())
@pool_option
@sender_options
def leave(node: Address, pool_id: int | None, sender: Sender) -> None:
    """Take a node out of the pool on the chain, as its provider. NODE is its address.

    Once the block is final its tasks stop and start anew elsewhere; run `p2pool node drain --wait`
    before to let them go first. Then stop the agent, or it waits for a new invite.
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

    Once the block is final it stops the pool's tasks and gives up its seat on the committee. A new
    invite lets it back in.
    """
    number, node_id, text = sender.pool(pool_id).pool_id, NodeId(node), "0x" + node.hex()

    async def act(chain: "PoolContracts", writer: "Writer") -> "Sent":
        check_keeper(await chain.pool(number), writer.address)
        await check_in_pool(chain, number, node_id)
        return await chain.eject(writer, number, node_id)

    sender.send(act, {"node_id": text, "pool_id": number}, f"Ejected {text}")
