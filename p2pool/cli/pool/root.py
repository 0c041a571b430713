"""`p2pool pool root`: compares the pool's root record with its log, and writes a lost one again.

Intuition: the record in the data URI names the log. A URI that somebody rewrote without it takes
nothing from the log itself: agents go on, and whoever comes new finds no log. Another start would
name another log, and end the one that lives; so what is written again is the record of the log that
an agent follows, and nothing else.
"""

from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.shared.chain import Sender, client_in, sender_options
from p2pool.cli.shared.options import agent_name_option
from p2pool.cli.shared.output import write_dry, write_json
from p2pool.cli.shared.tables import write_pairs
from p2pool.cli.shared.types import UINT256, Number
from p2pool.client.agent_client import AgentClient
from p2pool.codec.digests import log_id
from p2pool.codec.json.proofs import read_proof
from p2pool.codec.text.data_uri import format_root, read_root, with_root
from p2pool.drivers.chain.founding import check_may_start
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, NotFound
from p2pool.model.ids import PoolRef

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
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
@click.option("--yes", is_flag=True, help="Do not ask; --json needs this with --restore.")
@agent_name_option("An agent that follows the pool's log")
@sender_options
def root(pool_id: int | None, restore: bool, yes: bool, agent: str | None, sender: Sender) -> None:
    """Show the root record on the chain and the one of the log that an agent follows.

    With --restore the command writes the log's record into the pool's data URI again, where it is
    lost or cannot be read. --key is the creator's or manager's. It changes no log.
    """
    pool = sender.pool(pool_id)
    asks = restore and not (yes or sender.dry_run)
    if yes and not restore:
        raise click.UsageError("--yes needs --restore.")
    if sender.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes or --dry-run.")
    client = client_in(pool, agent, "Name an agent of this pool: --agent.")
    held = root_of_log(client, pool)
    if not restore:
        _show(sender, pool, held)
        return
    if held is None:
        raise NotFound(
            f"The agent at {client.url} follows no log, so it knows no record to write.",
            hint="Name an agent that has been in the pool: --agent URL|DIR.",
        )

    async def act(chain: "PoolContracts", writer: "Writer") -> bool:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        if not _lost(info, held):
            return False
        if asks:
            click.echo(f"record  {format_root(held)}")
            click.confirm("Write this record to the chain again?", abort=True)
        await chain.update_uri(writer, pool.pool_id, with_root(info.data_uri, held))
        return True

    written, said = sender.run(act)
    told: dict[str, Any] = {"pool_id": pool.pool_id, "root": format_root(held), "written": written}
    if sender.dry_run:
        write_dry(said, sender.as_json)
    elif sender.as_json:
        write_json("transaction", {"dry_run": False, **told})
    else:
        click.echo("The record is written again." if written else "The record is there already.")


def _lost(info: "PoolInfo", held: RootRecord) -> bool:
    """Whether the record has to be written. `Conflict`: the chain names another log."""
    there = read_root(info.data_uri)
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

    chain = PoolContracts.of(sender.chain_config)
    there = read_root(trio.run(chain.pool, pool.pool_id).data_uri)
    texts = [None if one is None else format_root(one) for one in (there, held)]
    if sender.as_json:
        told = {"pool_id": pool.pool_id, "chain": texts[0], "log": texts[1]}
        write_json("root-record", {**told, "same": there == held})
        return
    write_pairs(
        [
            ("pool", str(pool.pool_id)),
            ("on the chain", texts[0] or "none that can be read"),
            ("of the log", texts[1] or "none: the agent follows no log"),
        ]
    )
    if there is None and held is not None:
        click.echo("The chain lost the record: p2pool pool root --restore writes it.", err=True)
