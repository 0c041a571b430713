"""`p2pool pool recover`: founds the next epoch when a majority is gone for good.

The command asks an agent which logs it can reach, proposes to go on from the longest, says why and
what that loses, asks, and writes the record to the chain, where the one before it stands.
`client.recovery` decides what to refuse, and why. After writing, the command reads the chain again,
because another account may have written a record at the same time.
"""

import time
from typing import TYPE_CHECKING

import click

from p2pool.cli.shared.chain import Sender, client_in, sender_options
from p2pool.cli.shared.options import agent_name_option
from p2pool.cli.shared.output import short, write_json, write_line
from p2pool.cli.shared.tables import Column, write_pairs, write_table
from p2pool.cli.shared.types import UINT256, Number
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.client.recovery import Proposal, propose, propose_empty
from p2pool.codec.json.held_logs import HeldLog, read_held_log
from p2pool.codec.text.data_uri import format_root
from p2pool.drivers.chain import founding
from p2pool.drivers.chain.founding import check_may_start
from p2pool.model import limits
from p2pool.model.errors import Conflict, P2poolError, Unavailable

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
    from p2pool.drivers.chain.transactions.writer import Writer


async def write_root(
    chain: "PoolContracts", writer: "Writer", before: "PoolInfo", proposal: Proposal
) -> None:
    """Write the record; `Conflict` if somebody wrote another since `before` was read."""
    info = await chain.pool(before.pool_id)
    if info.root != before.root:
        raise Conflict(
            "Somebody else wrote a root record meanwhile.",
            hint="See what it does, then begin again: p2pool pool recover --dry-run.",
        )
    sent = await founding.write_root(chain, writer, info, proposal.root)
    if sent.block_number < 0:
        return  # A dry run.
    now = (await chain.pool(before.pool_id)).root
    if now != proposal.root:
        stands = "none" if now is None else format_root(now)
        raise Conflict(
            f"Somebody else wrote a root record at the same time, and theirs stands: {stands}.",
            hint="The later of two stands. Wait for its leader, or begin again.",
        )


@click.command("recover")
@click.argument("pool_id", metavar="[POOL]", required=False, type=Number(0, UINT256))
@click.option(
    "--founder", metavar="NODE", help="Node that founds it. Default: the one with the longest log."
)
@click.option("--empty", is_flag=True, help="Begin an empty log, because all logs are lost.")
@click.option("--force", is_flag=True, help="Go on even if a quorum lives or something is lost.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the new epoch's leader.")
@agent_name_option()
@sender_options
def recover(
    pool_id: int | None,
    founder: str | None,
    empty: bool,
    force: bool,
    yes: bool,
    no_wait: bool,
    agent: str | None,
    sender: Sender,
) -> None:
    """Found the pool's next epoch when a majority of its committee is gone for good.

    The epoch goes on from the longest log that an agent still holds; running containers stay
    untouched. POOL is the pool's number; default: [pool] id of the configuration. --key is its
    creator's or manager's. While a majority can come back, let it: only then is nothing lost.
    """
    pool = sender.pool(pool_id)
    asks = not (yes or sender.dry_run)
    if sender.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes or --dry-run.")
    client = client_in(pool, agent, "Name an agent of this pool: --agent.")
    asked = client.logs_held()
    holders = [read_held_log(one) for one in asked["logs"]]

    async def act(chain: "PoolContracts", writer: "Writer") -> Proposal:
        info = await chain.pool(pool.pool_id)
        check_may_start(info, writer.address)
        root = info.root
        if empty:
            proposal = propose_empty(root, holders, founder or str(asked["meta"]["node_id"]))
        else:
            proposal = propose(pool, root, holders, founder=founder, force=force)
        if not sender.as_json:
            show(holders, asked["silent"], proposal)
        if asks:
            click.confirm("Write this record to the chain?", abort=True)
        await write_root(chain, writer, info, proposal)
        return proposal

    proposal, dry = sender.run(act)
    said = [] if dry is None else list(dry.said)
    told = describe(pool.pool_id, asked, proposal)
    told |= {"dry_run": sender.dry_run, "would_send": said, "leader": None}
    if sender.dry_run:
        write_json("recovery", told) if sender.as_json else click.echo("\n".join(said))
        return
    told["leader"] = None if no_wait else wait_leader(client, proposal)
    if sender.as_json:
        write_json("recovery", told)
    elif not no_wait:
        write_line(f"Epoch {proposal.root.epoch} has begun; {told['leader']} leads.")


def wait_leader(client: AgentClient, proposal: Proposal) -> str:
    """Wait until the agent follows a leader of the new epoch; `Unavailable` says what is wrong."""
    click.echo("Waiting until the record is final and its founder leads.", err=True)
    end = time.monotonic() + limits.RECOVERY_WAIT_MS / 1000
    said = ""
    while time.monotonic() < end:
        try:
            answer = client.get("/v1/leader")
            leader = answer["leader"]["node_id"]
            if answer["meta"]["epoch"] >= proposal.root.epoch and leader is not None:
                return str(leader)
            said = " ".join(client.ready()["problems"])
        except P2poolError as error:
            said = str(error)
        time.sleep(limits.RECOVERY_POLL_MS / 1000)
    raise Unavailable(
        f"The record is on the chain, but epoch {proposal.root.epoch} has no leader yet. {said}",
        hint="See p2pool agent status. The founder must run: " + proposal.founder.node_id,
    )


def show(holders: list[HeldLog], silent: list[str], proposal: Proposal) -> None:
    """Show the logs, the proposal, its reasons and its losses."""
    rows = [
        [
            one.node_id,
            "-" if one.log_id is None else f"{one.epoch} ({short(one.log_id)})",
            "-" if one.log_id is None else f"{one.last_index} (term {one.last_term})",
            "-" if one.log_id is None else str(one.commit_index),
            "yes" if one.voter else "no",
            one.refusal or ("founds" if one == proposal.founder else ""),
        ]
        for one in sorted(holders, key=lambda h: (h.epoch, *h.end), reverse=True)
    ]
    rows += [[node_id, "no answer", "", "", "", ""] for node_id in silent]
    columns = (
        *("NODE", "EPOCH (LOG)", Column("LAST ENTRY", rank=1), Column("COMMITTED", rank=2)),
        *(Column("VOTER", rank=3), Column("WHY", prose=True)),
    )
    write_table(columns, rows, "No agent answers.")
    click.echo()
    pairs = [("founds", proposal.founder.node_id), ("epoch", str(proposal.root.epoch))]
    pairs += [("because" if n == 0 else "", text) for n, text in enumerate(proposal.reasons)]
    pairs += [("lost" if n == 0 else "", text) for n, text in enumerate(proposal.losses)]
    write_pairs([*pairs, ("record", format_root(proposal.root))])


def describe(pool_id: int, asked: Answer, proposal: Proposal) -> Answer:
    """The same as JSON."""
    return {
        "pool_id": pool_id,
        "logs": asked["logs"],
        "silent": asked["silent"],
        "founder": proposal.founder.node_id,
        "epoch": proposal.root.epoch,
        "root": format_root(proposal.root),
        "reasons": list(proposal.reasons),
        "losses": list(proposal.losses),
    }
