"""`p2pool pool evidence`: shows voters that provably signed for two nodes in one term."""

import json
from pathlib import Path

import click

from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import short, write_json, write_table
from p2pool.client.agent_client import AgentClient
from p2pool.model.errors import Misconfigured, NotFound


@click.command("evidence")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one proof to FILE, for `p2pool verify evidence`: the newest, or --voter's.",
)
@click.option("--voter", metavar="NODE", help="Only proofs against this node.")
@agent_option
@json_option
def evidence(out: Path | None, voter: str | None, client: AgentClient, as_json: bool) -> None:
    """Show voters that provably signed for two candidates, or two leaders, in one term.

    Anybody can check a proof without an agent: `p2pool verify evidence FILE`.
    """
    found = list(client.get("/v1/evidence")["evidence"])
    if voter is not None:
        found = [one for one in found if one["voter"]["node_id"].startswith(voter.lower())]
    if out is not None:
        if not found:
            raise NotFound(
                "There is no such proof, so nothing was written.",
                hint="See all proofs: p2pool pool evidence.",
            )
        try:
            out.expanduser().write_text(
                json.dumps(found[-1]["proof"], indent=2) + "\n", encoding="utf-8"
            )
        except OSError as error:
            raise Misconfigured(f"Cannot write {out}: {error.strerror}.") from error
    if as_json:
        write_json(found)
        return
    if out is not None:
        click.echo(f"Wrote {out}. Check it: p2pool verify evidence {out}")
        return
    rows = (
        (
            *(one["voter"]["node_id"], str(one["term"]), one["kind"]),
            *(short(one["first_for"]["node_id"]), short(one["second_for"]["node_id"])),
        )
        for one in found
    )
    columns = ("VOTER", "TERM", "SIGNED", "FOR", "AND FOR")
    write_table(columns, rows, "There is no proof against any voter.")
