"""`p2pool pool evidence`: shows voters that provably lied, and what to do about it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from p2pool.cli.documents import json_text
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import short, write_json, write_line
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.cli.shared.types import FilePath
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.drivers.input_files import is_stdin
from p2pool.model.errors import Misconfigured, NotFound
from p2pool.model.log.certificates import APPEND, CERTIFICATE, CHANGE, HISTORY, VOTE

_NAMED_MAX = 5
"""So many voters are told what to do about; there are few, or the pool is lost."""


@click.command("evidence")
@click.option(
    "--out",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Write one proof to FILE, for `p2pool verify evidence`: the one of the latest term.",
)
@click.option("--voter", metavar="NODE", help="Only proofs against this node.")
@click.option(
    "--kind",
    type=click.Choice([VOTE, CERTIFICATE, HISTORY, CHANGE, APPEND]),
    help="Only proofs of this kind, by what the voter signed.",
)
@agent_option
@wide_option
@json_option
def evidence(
    out: Path | None, voter: str | None, kind: str | None, client: AgentClient, as_json: bool
) -> None:
    """Show voters that provably lied.

    An honest voter votes for one candidate and confirms one leader in a term; it signs one history
    of the log, and one next committee, at an index. An honest leader sends no entry that is none.
    Whoever did otherwise left its signatures. Anybody can check them without an agent:
    `p2pool verify evidence FILE`.
    """
    found = client.evidence()
    if voter is not None:
        named = "0x" + voter.lower().removeprefix("0x")
        if not re.fullmatch("0x[0-9a-f]{1,40}", named):
            raise click.UsageError(
                f"--voter {voter!r} is not the id of a node, or the beginning of one."
            )
        found = [one for one in found if one["voter"]["node_id"].startswith(named)]
    if kind is not None:
        found = [one for one in found if one["kind"] == kind]
    if out is not None:
        _write(out, found)
    if out is not None and is_stdin(out):
        return
    if as_json:
        write_json("evidence", found)
        return
    if out is not None:
        click.echo(f"Wrote {out}. Check it: p2pool verify evidence {out}")
        return
    chosen = voter is not None or kind is not None
    empty = "There is no such proof." if chosen else "There is no proof against any voter."
    rows = [
        (short(one["voter"]["node_id"]), str(one["term"]), one["kind"], _deed(one)) for one in found
    ]
    columns = ("VOTER", Column("TERM", rank=1), Column("KIND", rank=2))
    write_table((*columns, Column("WHAT IT DID", prose=True)), rows, empty)
    if found:
        for line in ("", *_advice([one["voter"]["node_id"] for one in found])):
            write_line(line)


def _write(out: Path, found: Sequence[Answer]) -> None:
    """Write the proof of the latest term."""
    if not found:
        raise NotFound(
            "There is no such proof, so nothing was written.",
            hint="See all proofs: p2pool pool evidence.",
        )
    text = json_text(found[-1]["proof"], indent=2) + "\n"
    if is_stdin(out):
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"Cannot write {out}: {error.strerror}.") from error


def _deed(one: dict[str, Any]) -> str:
    """What the voter did, short enough for a row; an agent of a later version knows more kinds."""
    kind = one["kind"]
    if kind in (VOTE, CERTIFICATE):
        names = (short(one[name]["node_id"]) for name in ("first_for", "second_for"))
        return ("voted for " if kind == VOTE else "confirmed ") + " and ".join(names)
    if kind == HISTORY:
        return f"signed two histories at index {one['index']}"
    if kind == CHANGE:
        return f"signed two next committees at index {one['index']}"
    if kind == APPEND:
        return f"sent entry {one['index']}, which no honest one sends"
    return str(one.get("text", "-"))


def _advice(voters: Sequence[str]) -> list[str]:
    """How to check a proof, and what somebody can do about a voter that lied."""
    named = list(dict.fromkeys(voters))
    more = len(named) - _NAMED_MAX
    return [
        "Check a proof, asking nobody:",
        "  p2pool pool evidence --voter NODE --out proof.json",
        "  p2pool verify evidence proof.json",
        "Such a voter keeps its seat until creator or manager ban it (no task, no vote)",
        "or eject it (`p2pool pool eject NODE`):",
        *(f"  p2pool node ban {node_id}" for node_id in named[:_NAMED_MAX]),
        *([f"  ... and {more} more: --json lists them"] if more > 0 else []),
    ]
