"""`p2pool node register` and `p2pool node deregister`: a node in the registry, and out of it.

Its provider sends the transactions; the node's key signs its consent. Both may be run again at any
time: what is done already is not sent again.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import nodes_argument, stake_max_option
from p2pool.cli.shared.types import FilePath, Number
from p2pool.model import limits
from p2pool.model.ids import NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("register")
@click.option(
    "--node-key",
    type=FilePath(),
    required=True,
    metavar="FILE",
    help="Key file of the node, which signs its consent; a dry run opens it too.",
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
@stake_max_option
@pool_option
@sender_options
def register(
    node_key: Path,
    node_passphrase_file: Path | None,
    gpus: int,
    stake_max_wei: int | None,
    pool_id: int | None,
    sender: Sender,
) -> None:
    """Register a node, with its provider's account (--key).

    Stake that it needs is added first. The network's validator then validates the node, and the
    manager of a pool may invite it (p2pool pool join).
    """
    from p2pool.drivers.chain.consent import sign_consent
    from p2pool.drivers.chain.provider.ways import Candidate, Ways, compute_units
    from p2pool.drivers.keys.keystore import load_account, read_passphrase

    secret = node_passphrase_file or _path(sender.passphrase_file)
    node = load_account(node_key, read_passphrase("the node key", file=secret))
    node_id = NodeId(bytes.fromhex(node.address[2:]))
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        async def consent() -> bytes:
            return sign_consent(node, account)

        ways = await Ways.at_head(chain, account)
        candidate = Candidate(node_id, compute_units(gpus), consent)
        return await ways.into_registry(number, candidate, stake_max_wei)

    run_errand(sender, make, {"node_id": node.address.lower()})


def _path(text: str | None) -> Path | None:
    from p2pool.drivers.input_files import input_path

    return None if text is None else input_path(text)


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
