"""`p2pool provider stake add`, `stake reclaim` and `p2pool provider withdraw`.

Intuition: an amount on the command line is the stake that there shall be, never a difference. So a
command whose answer got lost is simply run again: it sends what is missing, or nothing.
"""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, sender_options
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.plans.options import Amount, stake_options
from p2pool.cli.shared.plans.stake_words import StakeWord

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.model.ids import Address


@click.group(name="stake", help="Add to the stake, or take some of it back.")
def stake() -> None:
    """The group."""


@stake.command("add")
@click.option(
    "--to",
    "target_wei",
    type=Amount(),
    help="The stake that there shall be in all, in tokens. Default: what your nodes need, as after"
    " a slash.",
)
@stake_options
@sender_options
def add(target_wei: int | None, stake_max_wei: int | None, yes: bool, sender: Sender) -> None:
    """Bring the stake up to an amount, with the account of --key.

    --to names the whole stake, not what is added: run again, it sends nothing. It is the amount
    that you allow by it; without it, what nodes need is staked up to --stake-max, or asked about.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.provider_plans import stake_plan
        from p2pool.drivers.chain.provider.reads import Reader

        facts = await (await Reader.at_head(chain)).provider(account)
        return stake_plan(chain.at, facts, target_wei, stake_max_wei)

    run_errand(sender, make, {}, stake=StakeWord.of(stake_max_wei, yes, target_wei))


@stake.command("reclaim")
@click.option(
    "--keep",
    "keep_wei",
    type=Amount(),
    help="The stake that shall remain, in tokens. Default: what your nodes need.",
)
@sender_options
def reclaim(keep_wei: int | None, sender: Sender) -> None:
    """Take stake back that no node needs, with the account of --key.

    It comes back after the unbonding, whose end is shown: p2pool provider withdraw then pays it
    out. --keep names what remains, not what is taken: run again, it sends nothing.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.provider_plans import reclaim_plan
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        facts, back = await reader.provider(account), await reader.stake(account)
        return reclaim_plan(chain.at, facts, back, keep_wei)

    run_errand(sender, make, {})


@click.command("withdraw")
@sender_options
def withdraw(sender: Sender) -> None:
    """Pay out the stake whose unbonding has ended, with the account of --key.

    What is still unbonding is shown with the date from which it can be withdrawn.
    """

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.provider_plans import withdraw_plan
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        facts, back = await reader.provider(account), await reader.stake(account)
        return withdraw_plan(chain.at, facts, back)

    run_errand(sender, make, {})
