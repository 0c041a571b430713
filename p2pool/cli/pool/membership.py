"""`p2pool pool join`, `rejoin`, `leave` and `move`: nodes in and out of a pool, by their provider.

All are transactions, because only the chain says who belongs. The commands read first, so that an
account without the right, or a node that is there already, costs a sentence and no coin; so each
may be run again at any time. Several nodes go in one transaction.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import MakePlan, run_errand
from p2pool.cli.shared.plans.node_keys import consent_by, open_node_key
from p2pool.cli.shared.plans.options import (
    check_invites_used,
    invite_option,
    nodes_argument,
    read_invites,
    stake_options,
)
from p2pool.cli.shared.plans.stake_words import StakeWord
from p2pool.cli.shared.types import UINT256, KeyPlaceType, Number
from p2pool.model import limits
from p2pool.model.errors import NotFound
from p2pool.model.ids import NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.provider.ways import FindInvite
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.model.ids import Address
    from p2pool.model.ports.signer import Signer


def named(nodes: Sequence[NodeId], number: int) -> dict[str, Any]:
    """What a document says of the nodes and the pool. `node_id`: of one node alone."""
    ids = ["0x" + one.hex() for one in nodes]
    return {"pool_id": number, "node_id": ids[0] if len(ids) == 1 else None, "node_ids": ids}


def of_nodes(planned: "Callable[..., Plan]", number: int, nodes: Sequence[NodeId]) -> MakePlan:
    """Makes a plan about nodes of one pool, from their standing there."""

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        pool = await reader.pool(number)
        return planned(chain.at, pool, account, await reader.nodes(number, nodes))

    return make


def _finder(paths: Sequence[Path], nodes: Sequence[NodeId]) -> "FindInvite":
    """Finds the invites that were given."""
    invites = read_invites(paths)
    check_invites_used(invites, nodes)

    async def find(node_id: NodeId) -> Any:
        return invites.get(node_id)

    return find


@click.command("join")
@nodes_argument
@invite_option
@click.option(
    "--node-key",
    "node_keys",
    type=KeyPlaceType(),
    multiple=True,
    metavar="KEY",
    help="The key of a node that is not registered yet, as --key: it signs its consent."
    " Repeatable.",
)
@click.option(
    "--gpus",
    type=Number(0, limits.GPUS_PER_NODE_MAX),
    default=0,
    help="How many GPUs each node offers that is not registered yet.",
)
@stake_options
@pool_option
@sender_options
def join(
    nodes: list[NodeId],
    invites: tuple[Path, ...],
    node_keys: "tuple[KeyPlace, ...]",
    gpus: int,
    stake_max_wei: int | None,
    yes: bool,
    pool_id: int | None,
    sender: Sender,
) -> None:
    """Take nodes into the pool on the chain, as their provider.

    It goes the whole way as far as it can: stake, registration, and once the validator and the
    manager have done their part, the pool. Run it again after each. NODE is a node's address.
    """
    from p2pool.drivers.chain.provider.ways import Candidate, Ways, compute_units

    number, find = sender.pool(pool_id).pool_id, _finder(invites, nodes)
    keys = _node_keys(sender, node_keys, nodes)

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        ways = await Ways.at_head(chain, account)
        units = compute_units(gpus)
        candidates = [
            Candidate(one, units, consent_by(keys[one], account) if one in keys else None)
            for one in nodes
        ]
        return await ways.into_pool(number, candidates, find, stake_max_wei=stake_max_wei)

    run_errand(sender, make, named(nodes, number), stake=StakeWord.of(stake_max_wei, yes))


def _node_keys(
    sender: Sender, places: "Sequence[KeyPlace]", nodes: Sequence[NodeId]
) -> "dict[NodeId, Signer]":
    """Who signs for nodes, by node."""
    found: dict[NodeId, Signer] = {}
    for place in places:
        node = open_node_key(place, sender)
        node_id = NodeId(bytes.fromhex(node.address[2:]))
        if node_id not in nodes:
            raise NotFound(
                f"{place} is the key of the node {node.address.lower()}, which you did not name.",
                hint="Name it as a NODE, or leave its key out.",
            )
        found[node_id] = node
    return found


@click.command("rejoin")
@nodes_argument
@invite_option
@pool_option
@sender_options
def rejoin(
    nodes: list[NodeId], invites: tuple[Path, ...], pool_id: int | None, sender: Sender
) -> None:
    """Take nodes back into the pool that left it, as their provider.

    It registers nothing and stakes nothing. Each node needs a new invite, because each invite is
    good for one join. NODE is a node's address; one that was drained stays drained (p2pool node
    resume).
    """
    from p2pool.drivers.chain.provider.ways import Candidate, Ways

    number, find = sender.pool(pool_id).pool_id, _finder(invites, nodes)

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        ways = await Ways.at_head(chain, account)
        candidates = [Candidate(one, 0) for one in nodes]
        return await ways.into_pool(number, candidates, find, known_only=True)

    run_errand(sender, make, named(nodes, number))


@click.command("leave")
@nodes_argument
@pool_option
@sender_options
def leave(nodes: list[NodeId], pool_id: int | None, sender: Sender) -> None:
    """Take nodes out of the pool on the chain, as their provider. NODE is an address.

    Once the block is final their tasks stop and start anew elsewhere; run `p2pool node drain
    --wait` before to let them go first. Then stop their agents, or they wait for new invites.
    """
    from p2pool.drivers.chain.provider.exit_plans import leave_plan

    number = sender.pool(pool_id).pool_id
    run_errand(sender, of_nodes(leave_plan, number, nodes), named(nodes, number))


@click.command("move")
@nodes_argument
@click.option(
    "--to",
    "to_id",
    type=Number(0, UINT256),
    required=True,
    help="The pool to move to.",
)
@invite_option
@pool_option
@sender_options
def move(
    nodes: list[NodeId],
    to_id: int,
    invites: tuple[Path, ...],
    pool_id: int | None,
    sender: Sender,
) -> None:
    """Move nodes to another pool, as their provider. NODE is an address.

    Each needs an invite into the other pool. Its agent has to be started anew with [pool] id of
    that pool, and a data directory of its own.
    """
    number, find = sender.pool(pool_id).pool_id, _finder(invites, nodes)
    if number == to_id:
        raise click.UsageError("--to names the pool that the nodes are in.")

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.ways import Ways

        return await (await Ways.at_head(chain, account)).between(number, to_id, nodes, find)

    run_errand(sender, make, {**named(nodes, number), "to_pool_id": to_id})
