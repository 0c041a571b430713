"""`p2pool pool start`: starts a created pool and names the founder of its log."""

from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, client_in, sender_options
from p2pool.cli.shared.output import warn, write_dry, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256
from p2pool.codec.text.data_uri import (
    format_root,
)
from p2pool.drivers.chain.founding import Started, founder_of, start_pool
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import PoolRef

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.writer import Writer


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


@click.command("start")
@click.argument("pool_id", metavar="[POOL]", required=False, type=click.IntRange(0, UINT256))
@click.option(
    "--founder",
    callback=check_founder,
    metavar="NODE_ID/PEER_ID/STORE_ID",
    help="Agent that founds the pool's log. Default: the one that --agent names.",
)
@click.option(
    "--agent",
    metavar="URL|DIR",
    help="The agent to ask for its identity: its URL or data directory. Default: P2POOL_AGENT, else"
    " this user's own agent.",
)
@sender_options
def start(
    pool_id: int | None,
    founder: RootRecord | None,
    agent: str | None,
    sender: Sender,
) -> None:
    """Start a pool on the chain, and name the agent that founds its log. Safe to repeat.

    POOL is the pool's number; default: [pool] id of the configuration. --key is its creator's or
    manager's.
    """
    pool = sender.pool(pool_id)
    root = founder or running_founder(agent, pool)

    async def act(chain: "PoolContracts", writer: "Writer") -> Started:
        return await start_pool(chain, writer, pool.pool_id, root)

    done, said = sender.run(act)
    if done.replaced:
        warn("Replaced a root record in the data URI that nobody can read.")
    if sender.dry_run:
        write_dry(said, sender.as_json)
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
