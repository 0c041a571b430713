"""`p2pool pool create` and `p2pool pool start`: a pool comes to be on the chain, and gets its root.

A pool is created pending, started once, and founded by the root record of epoch 1 in its data URI,
which names the one agent that may begin the log (design, section 7). `start` reads first and does
what is missing, so it can be repeated; whoever is founder already stays it. A founder that is lost
is replaced by a recovery, which is another epoch, never by a second `start`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from p2pool.cli.shared.chain import (
    AddressType,
    config_option,
    config_path,
    dry_send_option,
    open_chain,
    writer_maker,
)
from p2pool.cli.shared.options import json_option, key_options
from p2pool.cli.shared.output import warn, write_json, write_pairs
from p2pool.client.agent import AgentClient
from p2pool.client.discovery import find_agent
from p2pool.codec.text.data_uri import (
    ROOT_KEY,
    format_root,
    parse_root,
    read_root,
    with_bootstrap,
    with_root,
)
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, Malformed, Misconfigured, NotAllowed
from p2pool.model.ids import Address, PoolRef
from p2pool.model.states import PoolStatus

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import Chain, PoolInfo
    from p2pool.drivers.chain.writer import Sent, Writer

EPOCH = 1
UINT256 = 2**256 - 1


def first_uri(data_uri: str, bootstrap: tuple[str, ...]) -> str:
    """The data URI that a new pool begins with; `Malformed` says what is wrong with it."""
    if len(data_uri.encode()) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(f"A data URI has at most {limits.DATA_URI_MAX_BYTES} bytes.")
    pairs = [pair for pair in data_uri.split(";") if pair]
    for pair in pairs:
        if "=" not in pair or not pair.isprintable():
            raise Malformed(f"{pair!r} is no pair.", hint="Write key:sub=value;key:sub=value.")
        if pair.partition("=")[0] == ROOT_KEY:
            raise Malformed(f"{ROOT_KEY} is written by 'p2pool pool start'.")
    if len(bootstrap) > limits.PEER_LIST_MAX:
        raise Malformed(f"There are at most {limits.PEER_LIST_MAX} bootstrap addresses.")
    return with_bootstrap(data_uri, bootstrap) if bootstrap else data_uri


def check_bootstrap(
    _: click.Context, __: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Each is a full multiaddr with the peer's id, or wrong usage."""
    if value:
        from p2pool.drivers.net.peers.addresses import parse_full_address

        for address in value:
            try:
                parse_full_address(address)
            except Misconfigured as error:
                raise click.BadParameter(f"{error.message} {error.hint}") from error
    return value


@click.command("create")
@click.option("--name", required=True, help="What people call it.")
@click.option("--domain", type=click.IntRange(0, UINT256), default=0, show_default=True)
@click.option(
    "--manager",
    type=AddressType(),
    metavar="ADDRESS",
    help="Who invites nodes. Default: the creator, whose key --key is.",
)
@click.option(
    "--compute-limit",
    type=click.IntRange(0, UINT256),
    default=0,
    help="The most compute units of all nodes together. Default: no limit.",
)
@click.option("--data-uri", default="", help="What the pool asks of hardware: key:sub=value;...")
@click.option(
    "--bootstrap",
    multiple=True,
    metavar="MULTIADDR",
    callback=check_bootstrap,
    help="Where agents find the first others: /ip4/.../tcp/4001/p2p/12D3... Repeatable.",
)
@key_options
@config_option
@dry_send_option
@json_option
def create(
    name: str,
    domain: int,
    manager: Address | None,
    compute_limit: int,
    data_uri: str,
    bootstrap: tuple[str, ...],
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Create a pool on the chain, and print its number. It is pending until it is started."""
    import trio

    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain

    if not name.strip() or len(name.encode()) > limits.NAME_MAX_BYTES:
        raise click.UsageError(f"--name is to have 1 to {limits.NAME_MAX_BYTES} bytes.")
    uri = first_uri(data_uri, bootstrap)
    chain_config = load_chain(config_path(config))
    make_writer = writer_maker(key, passphrase_file, dry_run)

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        in_charge = manager or writer.address
        made = await chain.create_pool(writer, domain, in_charge, name, uri, compute_limit)
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
            return
        told = {
            "pool_id": made,
            "chain_id": chain_config.id,
            "contract": "0x" + chain.at.pool.hex(),
            "name": name,
            "creator": "0x" + writer.address.hex(),
            "manager": "0x" + in_charge.hex(),
            "data_uri": uri,
        }
        if as_json:
            write_json(told)
            return
        write_pairs((field, str(value)) for field, value in told.items())
        click.echo(
            f"next: set id = {made} under [pool] in each agent's configuration, start the first"
            f" agent, then 'p2pool pool start {made}'.",
            err=True,
        )

    trio.run(run)


# --- start --------------------------------------------------------------------------------------


def founder_of(text: str) -> RootRecord:
    """The root record of epoch 1 for `NODE_ID/PEER_ID/STORE_ID`; `Malformed` names the part."""
    if text.count("/") != 2:
        raise Malformed("A founder is NODE_ID/PEER_ID/STORE_ID, as 'p2pool agent status' says.")
    node, peer, store = (part.strip() for part in text.split("/"))
    hexes = [part.lower().removeprefix("0x") for part in (node, store)]
    return parse_root(f"{EPOCH}/{hexes[0]}/{peer}/{hexes[1]}")


def check_founder(_: click.Context, __: click.Parameter, value: str | None) -> RootRecord | None:
    """As `founder_of`; anything else is wrong usage."""
    try:
        return None if value is None else founder_of(value)
    except Malformed as error:
        raise click.BadParameter(str(error)) from error


def running_founder(agent: str | None, pool: PoolRef) -> RootRecord:
    """The agent that runs here as founder; `Misconfigured` where it is in another pool."""
    found = find_agent(agent, os.environ)
    client = AgentClient(found.url, found.token)
    theirs = client.pool_ref()
    if theirs != pool:
        raise Misconfigured(
            f"The agent at {client.url} is in pool {theirs.pool_id} of 0x{theirs.contract.hex()} on"
            f" chain {theirs.chain_id}, not in pool {pool.pool_id} of 0x{pool.contract.hex()} on"
            f" chain {pool.chain_id}.",
            hint="Name another agent (--agent), or who founds it (--founder).",
        )
    one = client.get("/v1/agent")["agent"]
    return founder_of(f"{one['node_id']}/{one['peer_id']}/{one['store_id']}")


def rooted_uri(uri: str, wanted: RootRecord) -> str | None:
    """The data URI with this root, or None where it has it. `Conflict` where another founds it.

    `Malformed` for a URI that is too long to be read: rewriting it would lose what is there.
    """
    if len(uri.encode()) > limits.DATA_URI_MAX_BYTES:
        raise Malformed(
            f"The pool's data URI has more than {limits.DATA_URI_MAX_BYTES} bytes.",
            hint="Have its creator or manager shorten it.",
        )
    there = read_root(uri)
    if there == wanted:
        return None
    if there is not None:
        raise Conflict(
            f"The pool has a root record of epoch {there.epoch} already, by another identity:"
            f" {format_root(there)}. Yours is {format_root(wanted)}.",
            hint="One identity founds a pool, once. If its data is lost, that is a recovery: a new"
            " epoch, not a new start.",
        )
    return with_root(uri, wanted)


def check_may_start(info: "PoolInfo", account: Address) -> None:
    """`Conflict` for a pool that has ended, `NotAllowed` for who does not keep it."""
    if info.status is PoolStatus.COMPLETED:
        raise Conflict(
            f"Pool {info.pool_id} has ended.", hint="Create another: p2pool pool create."
        )
    if account not in (info.creator, info.manager):
        raise NotAllowed(
            f"0x{account.hex()} is neither the creator (0x{info.creator.hex()}) nor the manager"
            f" (0x{info.manager.hex()}) of pool {info.pool_id}.",
            hint="Use the key of one of them.",
        )


@attrs.frozen
class Started:
    """What `start` found and did."""

    pool_id: int
    root: RootRecord
    started: bool
    root_written: bool


async def start_pool(chain: "Chain", writer: "Writer", pool_id: int, root: RootRecord) -> Started:
    """Do what is missing, checked as a whole before anything is sent.

    Raises `Conflict`, `NotAllowed`, `NotFound`, `TransactionFailed` or `ChainUnavailable`; after
    any of them it may be called again.
    """
    info = await chain.pool(pool_id)
    check_may_start(info, writer.address)
    uri = rooted_uri(info.data_uri, root)
    if read_root(info.data_uri) is None and f"{ROOT_KEY}=" in info.data_uri:
        warn("The data URI has a root record that nobody can read; it is replaced.")
    pending = info.status is PoolStatus.PENDING
    sent: Sent | None = None
    if pending:
        await chain.start_pool(writer, pool_id)
    if uri is not None:
        sent = await chain.update_uri(writer, pool_id, uri)
    if sent is not None and sent.block_number >= 0:
        # Somebody else may have written between our reading and our writing.
        rooted_uri((await chain.pool(pool_id)).data_uri, root)
    return Started(pool_id, root, pending, uri is not None)


@click.command("start")
@click.argument("pool_id", metavar="[POOL]", required=False, type=click.IntRange(0, UINT256))
@click.option(
    "--founder",
    callback=check_founder,
    metavar="NODE_ID/PEER_ID/STORE_ID",
    help="The agent that begins the pool's log. Default: the one that runs here.",
)
@click.option(
    "--agent",
    metavar="URL|DIR",
    help="The agent to ask for its identity: its URL or data directory. Default: P2POOL_AGENT, else"
    " this user's own agent.",
)
@key_options
@config_option
@dry_send_option
@json_option
def start(
    pool_id: int | None,
    founder: RootRecord | None,
    agent: str | None,
    key: str | None,
    passphrase_file: str | None,
    config: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start a pool on the chain, and name the agent that founds it. It can be repeated.

    POOL is the pool's number; default: [pool] id of the configuration. --key is its creator's or
    its manager's.
    """
    import trio

    from p2pool.drivers.chain.writer import DryWriter
    from p2pool.drivers.config.schema import load_chain, load_config

    path = config_path(config)
    chain_config = load_chain(path)
    number = load_config(path).pool.id if pool_id is None else pool_id
    root = founder or running_founder(
        agent, PoolRef(chain_config.id, chain_config.addresses.pool, number)
    )
    make_writer = writer_maker(key, passphrase_file, dry_run)

    async def run() -> None:
        chain = open_chain(chain_config)
        writer = make_writer(chain)
        done = await start_pool(chain, writer, number, root)
        if isinstance(writer, DryWriter):
            write_dry(writer.said, as_json)
        else:
            write_started(done, as_json)

    trio.run(run)


def write_started(done: Started, as_json: bool) -> None:
    """What was done, and what was there already."""
    told = {
        "pool_id": done.pool_id,
        "started": done.started,
        "root_written": done.root_written,
        "root": format_root(done.root),
        "founder": "0x" + done.root.founder.hex(),
    }
    if as_json:
        write_json(told)
        return
    write_pairs(
        [
            ("pool", str(done.pool_id)),
            ("status", "started" if done.started else "was active already"),
            ("root", "written" if done.root_written else "was there already"),
            ("founder", str(told["founder"])),
        ]
    )


def write_dry(said: list[str], as_json: bool) -> None:
    """The transactions of a dry run."""
    if as_json:
        write_json({"dry_run": True, "would_send": said})
    else:
        click.echo("\n".join(said) if said else "There is nothing to send.")
