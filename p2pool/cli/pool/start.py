"""`p2pool pool start`: starts a created pool and names the founder of its log."""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, client_in, sender_options
from p2pool.cli.shared.options import agent_name_option
from p2pool.cli.shared.output import warn, write_dry, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256, Number
from p2pool.codec.json.held_logs import read_held_log
from p2pool.codec.text.data_uri import format_root
from p2pool.drivers.chain.founding import (
    Started,
    check_may_start,
    founder_of,
    is_rooted,
    start_pool,
)
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, Malformed, Misconfigured, Unavailable
from p2pool.model.ids import PoolRef
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.transactions.writer import Writer


def check_founder(_: click.Context, __: click.Parameter, value: str | None) -> RootRecord | None:
    """As `founder_of`; anything else is wrong usage."""
    try:
        return None if value is None else founder_of(value)
    except Malformed as error:
        raise click.BadParameter(str(error)) from error


def running_founder(agent: str | None, pool: PoolRef) -> RootRecord:
    """The agent of this machine as founder; `Misconfigured` if it is in another pool."""
    client = client_in(pool, agent, "Name another agent (--agent), or the founder (--founder).")
    one = client.get("/v1/agent")["agent"]
    return founder_of(f"{one['node_id']}/{one['peer_id']}/{one['store_id']}")


def check_no_log(agent: str | None, pool: PoolRef, force: bool) -> None:
    """`Conflict` if some agent holds a log of a pool that runs without a root record: naming a
    founder would begin another one and end it. `Unavailable` if none can be asked."""
    try:
        client = client_in(pool, agent, "Name an agent of this pool: --agent.")
        held = [one for one in map(read_held_log, client.logs_held()["logs"]) if one.log_id]
    except (Misconfigured, Unavailable) as error:
        if force:
            return
        raise Unavailable(
            f"Pool {pool.pool_id} runs and the chain has no root record of it, and no agent says"
            f" whether a log of it lives: {error.message}",
            hint="Name an agent of the pool: --agent URL|DIR. If there never was one: --force.",
        ) from error
    if held:
        newest = max(held, key=lambda one: (one.epoch, *one.end))
        raise Conflict(
            f"The log of pool {pool.pool_id} lives, and only the chain lost its root record:"
            f" {len(held)} agents hold it, to entry {newest.last_index} of epoch {newest.epoch}.",
            hint="Write that record again: p2pool pool root --restore.",
        )


@click.command("start")
@click.argument("pool_id", metavar="[POOL]", required=False, type=Number(0, UINT256))
@click.option(
    "--founder",
    callback=check_founder,
    metavar="NODE_ID/PEER_ID/STORE_ID",
    help="Agent that founds the pool's log. Default: the one that --agent names.",
)
@agent_name_option("The agent to ask for its identity")
@click.option(
    "--force",
    is_flag=True,
    help="Name the founder of a pool that runs without a root record, although no agent can be"
    " asked whether a log of it lives. That log would be lost.",
)
@sender_options
def start(
    pool_id: int | None,
    founder: RootRecord | None,
    agent: str | None,
    force: bool,
    sender: Sender,
) -> None:
    """Start a pool on the chain, and name the agent that founds its log. Safe to repeat.

    POOL is the pool's number; default: [pool] id of the configuration. --key is its creator's or
    manager's.
    """
    pool = sender.pool(pool_id)
    root = founder or running_founder(agent, pool)

    async def act(chain: "PoolContracts", writer: "Writer") -> Started:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        if not is_rooted(info, root) and info.status is PoolStatus.ACTIVE:
            check_no_log(agent, pool, force)  # It blocks: nothing else runs beside a command.
        return await start_pool(chain, writer, pool.pool_id, root)

    done, dry = sender.run(act)
    if done.replaced:
        warn("Replaced a root record that nobody can read.")
    if sender.dry_run:
        write_dry(dry, sender.as_json)
    else:
        write_started(done, sender.as_json)


def write_started(done: Started, as_json: bool) -> None:
    """Report what the command did, and what it found done."""
    told = {
        "pool_id": done.pool_id,
        "started": done.started,
        "root_written": done.root_written,
        "root": format_root(done.root),
        "founder": "0x" + done.root.founder.hex(),
    }
    if as_json:
        write_json("transaction", {"dry_run": False, **told})
        return
    write_pairs(
        [
            ("pool", str(done.pool_id)),
            ("status", "started" if done.started else "already active"),
            ("root", "written" if done.root_written else "already there"),
            ("founder", str(told["founder"])),
        ]
    )
