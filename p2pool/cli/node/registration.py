"""`p2pool node register` and `p2pool node deregister`: a node in the registry, and out of it.

Its provider sends the transactions; the node's key signs its consent. Both may be run again at any
time: what is done already is not sent again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.node_keys import consent_by, open_node_key
from p2pool.cli.shared.plans.options import nodes_argument, stake_options
from p2pool.cli.shared.plans.stake_words import StakeWord
from p2pool.cli.shared.types import FilePath, KeyPlaceType, Number
from p2pool.model import limits
from p2pool.model.ids import NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.keys.signers.place import KeyPlace
    from p2pool.model.ids import Address


@click.command("register")
@click.option(
    "--node-key",
    type=KeyPlaceType(),
    required=True,
    metavar="KEY",
    help="The node's key, as --key: it signs its consent; a dry run opens it too.",
)
@click.option(
    "--node-passphrase-file",
    type=FilePath(),
    metavar="FILE",
    help="File with the node key's passphrase. Default: as for --key.",
)
@click.option(
    "--gpus",
    type=Number(0, limits.GPUS_PER_NODE_MAX),
    default=0,
    help="How many GPUs the node offers: its compute units follow from that.",
)
@stake_options
@pool_option
@sender_options
def register(
    node_key: "KeyPlace",
    node_passphrase_file: Path | None,
    gpus: int,
    stake_max_wei: int | None,
    yes: bool,
    pool_id: int | None,
    sender: Sender,
) -> None:
    """Register a node, with its provider's account (--key).

    Stake that it needs is added first. The network's validator then validates the node, and the
    manager of a pool may invite it (p2pool pool join).
    """
    from p2pool.drivers.chain.provider.ways import Candidate, Ways, compute_units

    node = open_node_key(node_key, sender, node_passphrase_file)
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        ways = await Ways.at_head(chain, account)
        candidate = Candidate(node_id, compute_units(gpus), consent_by(node, account))
        return await ways.into_registry(number, candidate, stake_max_wei)

    told = {"node_id": node.address.lower()}
    run_errand(sender, make, told, stake=StakeWord.of(stake_max_wei, yes))


@click.command("deregister")
@nodes_argument
@pool_option
@sender_options
def deregister(nodes: list[NodeId], pool_id: int | None, sender: Sender) -> None:
    """Take nodes out of their pool and out of the registry, with their provider's account (--key).

    Their stake is spare then (p2pool provider stake reclaim). NODE is an address. Drain them before
    (p2pool node drain --wait), and stop their agents.
    """
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.exit_plans import remove_plan
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        return remove_plan(chain.at, account, await reader.nodes(number, nodes), number)

    run_errand(sender, make, {"pool_id": number, "node_ids": ["0x" + one.hex() for one in nodes]})
