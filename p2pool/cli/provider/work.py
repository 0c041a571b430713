"""`p2pool provider submit-work`: work that a node has done, on the chain."""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.work_keys import WorkKey
from p2pool.cli.shared.types import UINT256, AccountType, Number
from p2pool.codec.json.hex import address_text
from p2pool.model.ids import NodeId

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("submit-work")
@click.argument("node", metavar="NODE", type=AccountType())
@click.argument("work_key", metavar="KEY", type=WorkKey())
@click.argument("units", metavar="UNITS", type=Number(1, UINT256))
@pool_option
@sender_options
def submit_work(
    node: "Address", work_key: bytes, units: int, pool_id: int | None, sender: Sender
) -> None:
    """Submit work that a node of yours has done.

    The account of --key submits it, and each piece once.

    NODE is its address, KEY names the piece (0x and 64 hex digits, such as a digest of it), UNITS
    says how much it is. Run again, it finds the piece on the chain and sends nothing.
    """
    number, node_id = sender.pool(pool_id).pool_id, NodeId(node)

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.validator.work import Submission, submit_plan, work_of

        reader = await Reader.at_head(chain)
        pool = await reader.pool(number, account)
        facts = await reader.node(number, node_id)
        work = await work_of(reader, number, pool.need().domain_id)
        return submit_plan(chain.at, pool, facts, work, Submission(work_key, units), account)

    told = {"pool_id": number, "node": address_text(node_id), "key": "0x" + work_key.hex()}
    run_errand(sender, make, told)
