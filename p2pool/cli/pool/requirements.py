"""`p2pool pool set-requirements` and `set-limit`: what a pool asks of machines, and how many it
takes.

The requirements share the pool's data URI with whatever else stands there: p2pool's own pairs of a
pool without `PoolRoot`, and keys of others. A tool that writes the whole text erases the root
record; this command replaces the requirements alone. What other tools of the network would refuse
is refused here, for they then check nothing by the whole text. The limit stands by itself.
"""

from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import Sender, pool_option, sender_options
from p2pool.cli.shared.output import warn, write_dry, write_json
from p2pool.cli.shared.plans.errand import run_errand
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256, Number
from p2pool.codec.text.data_uri import with_requirements, without_own
from p2pool.codec.text.requirements import (
    KEYS,
    parse_requirements,
    refusals,
    requirement_pairs,
    unknown_pairs,
)
from p2pool.drivers.chain.founding import check_may_start
from p2pool.model.errors import Malformed

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.transactions.writer import Writer
    from p2pool.model.ids import Address


def check_wanted(text: str, force: bool) -> tuple[str, ...]:
    """The pairs to write, each as `key=value`. `Malformed`: no agent could read them, or other
    tools of the network would refuse them and nothing says that this is meant (`force`)."""
    if without_own(text) != text:
        raise Malformed(
            "p2pool's own pairs are no requirements.",
            hint="Leave out whatever begins with p2pool: - it is kept as it stands.",
        )
    parse_requirements(text)
    if (refused := refusals(text)) and not force:
        raise Malformed(
            f"Other tools of the network refuse these requirements: {'; '.join(refused)}.",
            hint=f"They know {', '.join(sorted(KEYS))}. To write it all the same: --force.",
        )
    pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
    return tuple(f"{key.strip()}={value.strip()}" for key, _, value in pairs)


@click.command("set-requirements")
@click.argument("wanted", metavar="REQUIREMENTS")
@pool_option
@click.option(
    "--drop-unknown",
    is_flag=True,
    help="Take pairs of keys that are no requirements out of the data URI, too.",
)
@click.option(
    "--force", is_flag=True, help="Write requirements that other tools of the network refuse."
)
@sender_options
def set_requirements(
    wanted: str, pool_id: int | None, drop_unknown: bool, force: bool, sender: Sender
) -> None:
    """Change what a pool requires of machines that join it, as its creator or manager.

    REQUIREMENTS replaces all there are, as in 'gpu:count=8;gpu:model=h100;ram_mb=64000'; '' asks
    for nothing. A second gpu:count begins an alternative. Root record, bootstrap addresses and
    other keys stay as they are, and so do nodes that are in the pool. Safe to repeat.
    """
    pool, pairs = sender.pool(pool_id), check_wanted(wanted, force)

    async def act(chain: "PoolContracts", writer: "Writer") -> dict[str, Any]:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        before, others = requirement_pairs(info.data_uri), unknown_pairs(info.data_uri)
        kept = () if drop_unknown else others
        changes = (before, others) != (pairs, kept)
        if changes:
            uri = with_requirements(info.data_uri, ";".join((*pairs, *kept)))
            await chain.update_uri(writer, pool.pool_id, uri)
        return {
            "pool_id": pool.pool_id,
            "before": ";".join(before),
            "requirements": ";".join(pairs),
            "kept": list(kept),
            "changed": changes,
        }

    told, dry = sender.run(act)
    if told["kept"]:
        warn(
            f"Kept {', '.join(told['kept'])}, which other tools of the network refuse together with"
            " all requirements: --drop-unknown takes it out."
        )
    if sender.dry_run:
        write_dry(dry, sender.as_json)
    elif sender.as_json:
        write_json("transaction", {"dry_run": False, **told})
    else:
        _show(told)


def _show(told: dict[str, Any]) -> None:
    read = parse_requirements(told["requirements"])
    gpus = " or ".join(f"({one})" for one in read.gpus)
    write_pairs(
        [
            ("pool", str(told["pool_id"])),
            ("before", told["before"] or "nothing"),
            ("now", told["requirements"] or "nothing"),
            ("gpus", gpus or "none are asked for"),
            ("changed", "yes" if told["changed"] else "no: these stood there already"),
        ]
    )


@click.command("set-limit")
@click.argument("units", metavar="UNITS", type=Number(0, UINT256))
@pool_option
@sender_options
def set_limit(units: int, pool_id: int | None, sender: Sender) -> None:
    """Change how many compute units a pool takes, as its creator or manager.

    UNITS is the most of all nodes together; 0 sets no limit. Nodes that are in the pool stay, also
    above the limit. Safe to repeat.
    """
    number = sender.pool(pool_id).pool_id

    async def make(chain: "PoolContracts", account: "Address") -> "Plan":
        from p2pool.drivers.chain.provider.pool_plans import limit_plan
        from p2pool.drivers.chain.provider.reads import Reader

        reader = await Reader.at_head(chain)
        return limit_plan(chain.at, await reader.pool(number), account, units)

    run_errand(sender, make, {"pool_id": number, "compute_limit": str(units)})
