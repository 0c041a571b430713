"""`p2pool validator invalidate-work`: work taken back, softly or hard."""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import Amount, yes_option
from p2pool.cli.shared.plans.work_keys import work_keys_argument
from p2pool.cli.shared.types import UINT256, Number

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.command("invalidate-work")
@work_keys_argument
@click.option(
    "--units",
    type=Number(1, UINT256),
    help="Take so many units of each piece back, softly. Default: all of it.",
)
@click.option(
    "--penalty",
    "penalty_wei",
    type=Amount(),
    help="Hard: take so many tokens from the provider, and put its node out of the pool and the"
    " registry. Default: softly, the units alone.",
)
@yes_option
@pool_option
@sender_options
def invalidate_work(
    keys: list[bytes],
    units: int | None,
    penalty_wei: int | None,
    yes: bool,
    pool_id: int | None,
    sender: Sender,
) -> None:
    """Take work back that nodes submitted to a pool, as validator. KEY is 0x and 64 hex digits.

    Not every deployment judges work on the chain, and each that does allows it for some time only.
    Each piece takes a transaction; one that was taken back already takes none.
    """
    if units is not None and penalty_wei is not None:
        raise click.UsageError("--units takes work back softly, --penalty hard: give one.")
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.reads import Reader
        from p2pool.drivers.chain.validator.roles import Roles
        from p2pool.drivers.chain.validator.work import Invalidation, invalidate_work_plan, work_of

        reader = await Reader.at_head(chain)
        roles = await Roles.of(chain, account, reader.block)
        roles.check_validator()
        pool = (await reader.pool(number)).need()
        work = await work_of(reader, number, pool.domain_id)
        how = Invalidation(penalty_wei, units)
        return invalidate_work_plan(chain.at, roles, work, keys, how)

    told = {"pool_id": number, "keys": ["0x" + one.hex() for one in keys]}
    run_errand(sender, make, told, yes=None if penalty_wei is None else yes)
