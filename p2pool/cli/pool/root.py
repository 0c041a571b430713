"""`p2pool pool root`: compares the pool's root record with its log, restores it, moves it.

Intuition: the record on the chain names the log. A data URI that somebody rewrote without it takes
nothing from the log itself: agents go on, and whoever comes new finds no log. Another start would
name another log, and end the one that lives; so what is written again is the record of the log that
an agent follows, and nothing else.

A record in the data URI makes other tools of the network refuse the requirements beside it. The
contract `PoolRoot` keeps it apart, and the move is for pools that were founded without it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.shared.chain import Sender, client_in, sender_options
from p2pool.cli.shared.options import agent_name_option
from p2pool.cli.shared.output import write_dry, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256, Number
from p2pool.client.agent_client import AgentClient
from p2pool.codec.digests import log_id
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import read_proof
from p2pool.codec.text.data_uri import format_root, own_pairs, without_own
from p2pool.drivers.chain.founding import check_may_start, move_record, write_root
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import PoolRef

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
    from p2pool.drivers.chain.provider.plan_writer import DryRun
    from p2pool.drivers.chain.transactions.writer import Writer


def root_of_log(client: AgentClient, pool: PoolRef) -> RootRecord | None:
    """The record that founds the log which an agent follows; None if it follows none."""
    told = client.get("/v1/leader")["leader"].get("proof")
    proof = None if told is None else read_proof(told)
    if proof is None or proof.root is None:
        return None
    if log_id(pool, proof.root) != proof.log_id:
        raise Conflict(
            "The agent names a root record that does not found the log which it follows.",
            hint="Ask another agent: --agent URL|DIR.",
        )
    return proof.root


@click.command("root")
@click.argument("pool_id", metavar="[POOL]", required=False, type=Number(0, UINT256))
@click.option("--restore", is_flag=True, help="Write the log's record, if the chain has none.")
@click.option(
    "--move",
    is_flag=True,
    help="Move the record from the data URI into the contract PoolRoot, and create that where the"
    " chain has it not.",
)
@click.option("--yes", is_flag=True, help="Do not ask; --json needs this with --restore or --move.")
@agent_name_option("An agent that follows the pool's log")
@sender_options
def root(
    pool_id: int | None,
    restore: bool,
    move: bool,
    yes: bool,
    agent: str | None,
    sender: Sender,
) -> None:
    """Show the root record on the chain and the one of the log that an agent follows.

    With --restore the command writes the log's record to the chain again, where it is lost or
    cannot be read. With --move the record, and the pool's bootstrap addresses, go from the data URI
    into the contract PoolRoot; other tools of the network refuse a data URI that holds them.
    --key is the creator's or manager's. It changes no log.
    """
    pool = sender.pool(pool_id)
    if restore and move:
        raise click.UsageError("--restore and --move are two commands: restore first.")
    if yes and not (restore or move):
        raise click.UsageError("--yes needs --restore or --move.")
    asks = (restore or move) and not (yes or sender.dry_run)
    if sender.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes or --dry-run.")
    client = client_in(pool, agent, "Name an agent of this pool: --agent.")
    held = root_of_log(client, pool)
    if restore:
        _restore(sender, pool, _followed(client, held), _knows_record(client), asks)
    elif move:
        _check_level(client)
        _move(sender, pool, held, asks)
    else:
        _show(sender, pool, held)


def _restore(
    sender: Sender, pool: PoolRef, held: RootRecord, knows_record: bool, asks: bool
) -> None:
    async def act(chain: "PoolContracts", writer: "Writer") -> bool:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        if not _lost(info, held):
            return False
        if asks:
            click.echo(f"record  {format_root(held)}")
            click.confirm("Write this record to the chain again?", abort=True)
        if not knows_record:
            info = attrs.evolve(info, record=None)
        await write_root(chain, writer, info, held)
        return True

    written, dry = sender.run(act)
    told: dict[str, Any] = {"pool_id": pool.pool_id, "root": format_root(held), "written": written}
    done = "The record is written again." if written else "The record is there already."
    _report(sender, told, dry, lambda: click.echo(done))


def _move(sender: Sender, pool: PoolRef, held: RootRecord | None, asks: bool) -> None:
    async def act(chain: "PoolContracts", writer: "Writer") -> dict[str, Any]:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        if held is not None and _lost(info, held):
            raise Conflict(
                "The chain has no root record that can be read, so there is none to move.",
                hint="Write it again first: p2pool pool root --restore.",
            )
        if asks:
            new = "; the contract is created first" if info.record is None else ""
            click.echo(f"moves to PoolRoot  {own_pairs(info.data_uri) or 'nothing'}{new}")
            click.echo(f"leaves in the data URI  {without_own(info.data_uri) or 'nothing'}")
            click.confirm("Send these transactions?", abort=True)
        done = await move_record(chain, writer, info)
        return {
            "pool_id": pool.pool_id,
            "contract": _contract(chain),
            "record": done.record,
            "created": done.created,
            "written": done.recorded,
            "cleaned": done.cleaned,
        }

    told, dry = sender.run(act)
    moved = told["created"] or told["written"] or told["cleaned"]
    where = f"PoolRoot at {told['contract']}"
    done = f"The record stands in {where}." if moved else f"It stands in {where} already."
    _report(sender, told, dry, lambda: click.echo(done))


def _report(
    sender: Sender, told: dict[str, Any], dry: "DryRun | None", write: Callable[[], None]
) -> None:
    if sender.dry_run:
        write_dry(dry, sender.as_json)
    elif sender.as_json:
        write_json("transaction", {"dry_run": False, **told})
    else:
        write()


def _contract(chain: "PoolContracts") -> str:
    from p2pool.drivers.chain.root.contract import contract_address

    return address_text(contract_address(chain.at))


def _followed(client: AgentClient, held: RootRecord | None) -> RootRecord:
    if held is None:
        raise NotFound(
            f"The agent at {client.url} follows no log, so it knows no record to write.",
            hint="Name an agent that has been in the pool: --agent URL|DIR.",
        )
    return held


def _knows_record(client: AgentClient) -> bool:
    """Whether every agent of the pool reads `PoolRoot`."""
    return int(client.pool()["feature_level"]) >= DISTRUST_LEVEL


def _check_level(client: AgentClient) -> None:
    """`Conflict` while an agent of the pool reads the data URI alone: it would find no record."""
    if _knows_record(client):
        return
    one = client.pool()
    named = ", ".join(str(node["node_id"]) for node in one["lagging"]) or "see p2pool pool show"
    raise Conflict(
        f"The pool is at feature level {one['feature_level']}, and agents below level"
        f" {DISTRUST_LEVEL} read the data URI alone: they would find no root record.",
        hint=f"Upgrade all agents first, then begin again: {named}.",
    )


def _lost(info: "PoolInfo", held: RootRecord) -> bool:
    """Whether the record has to be written. `Conflict`: the chain names another log."""
    there = info.root
    if there is not None and there != held:
        raise Conflict(
            f"The chain names another log, of epoch {there.epoch}: {format_root(there)}. The agent"
            f" follows the one of epoch {held.epoch}.",
            hint="Ask an agent that has read the chain's latest final block; if the log is lost for"
            " good: p2pool pool recover --dry-run.",
        )
    return there is None


def _show(sender: Sender, pool: PoolRef, held: RootRecord | None) -> None:
    import trio

    from p2pool.drivers.chain.contracts import PoolContracts

    async def read() -> "tuple[PoolInfo, str]":
        chain = PoolContracts.of(sender.chain_config)
        return await chain.pool(pool.pool_id), _contract(chain)

    info, contract = trio.run(read)
    there = info.root
    texts = [None if one is None else format_root(one) for one in (there, held)]
    place = None if there is None else "pool-root" if info.is_recorded else "data-uri"
    if sender.as_json:
        told = {"pool_id": pool.pool_id, "chain": texts[0], "log": texts[1], "same": there == held}
        told |= {"place": place, "contract": contract if info.record is not None else None}
        write_json("root-record", told)
        return
    where = {"pool-root": f"PoolRoot at {contract}", "data-uri": "the pool's data URI", None: "-"}
    write_pairs(
        [
            ("pool", str(pool.pool_id)),
            ("on the chain", texts[0] or "none that can be read"),
            ("stands in", where[place]),
            ("of the log", texts[1] or "none: the agent follows no log"),
        ]
    )
    if there is None and held is not None:
        click.echo("The chain lost the record: p2pool pool root --restore writes it.", err=True)
    elif own_pairs(info.data_uri) and without_own(info.data_uri):
        click.echo(
            "Other tools of the network refuse the requirements beside p2pool's pairs in the data"
            " URI: p2pool pool root --move takes these out.",
            err=True,
        )
