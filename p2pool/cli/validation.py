"""`p2pool validation`: what validators found of the nodes, and the evidence of it."""

import hashlib
import re
import sys
from pathlib import Path
from typing import BinaryIO

import click

from p2pool.cli.node.verdicts import CONTRADICTED, UNCONFIRMED
from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import age, short, size, write_json
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.cli.shared.types import FilePath
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.drivers.input_files import is_stdin
from p2pool.model.errors import Misconfigured, NotFound


@click.group(name="validation", help="What validators found, and the evidence of it.")
def validation() -> None:
    """The group."""


@validation.command("ls")
@click.option("--node", metavar="NODE", help="Only verdicts on this node.")
@click.option("--validator", metavar="ADDRESS", help="Only verdicts by this validator.")
@click.option(
    "--conclusion",
    type=click.Choice(["valid", "invalid", "inconclusive"]),
    help="Only verdicts that conclude this.",
)
@agent_option
@wide_option
@json_option
def ls(
    node: str | None,
    validator: str | None,
    conclusion: str | None,
    client: AgentClient,
    as_json: bool,
) -> None:
    """List the newest verdict of each validator on each node, as this agent heard them."""
    node_id, account = _account("--node", node), _account("--validator", validator)
    found = client.validations(node_id, account, conclusion)
    if as_json:
        write_json("validations", found)
        return
    columns = (
        *("NODE", "VALIDATOR", "CONCLUSION", Column("AGE", rank=1)),
        *(Column("EVIDENCE", rank=2), Column("NOTE", rank=3, prose=True)),
    )
    write_table(columns, (_row(one) for one in found), "No such verdict is known here.")


def _row(one: Answer) -> tuple[str, ...]:
    notes = [] if one["confirmed"] else [UNCONFIRMED]
    notes += [CONTRADICTED] if one["contradicted_by"] is not None else []
    return (
        short(one["node_id"]),
        short(one["validator"]),
        one["conclusion"],
        age(one["concluded_at_ms"]),
        one["evidence"][:16],
        "; ".join(notes) or "-",
    )


@validation.command("get")
@click.argument("digest", metavar="EVIDENCE")
@click.option(
    "-o",
    "--output",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Default, and -: standard output.",
)
@agent_option
@json_option
def get(digest: str, output: Path | None, client: AgentClient, as_json: bool) -> None:
    """Fetch the evidence of a verdict. EVIDENCE is its digest, or the beginning of it."""
    to_pipe = output is None or is_stdin(output)
    if to_pipe and as_json:
        raise click.UsageError("--json needs -o FILE: the document takes standard output.")
    if to_pipe and sys.stdout.isatty():
        raise click.UsageError("A terminal cannot show evidence: use -o FILE.")
    named = _digest(digest, client)
    if output is None or is_stdin(output):
        _write(client, named, sys.stdout.buffer)
        return
    aside = Path(f"{output}.part")
    try:
        with aside.open("wb") as file:
            written, hashed = _write(client, named, file)
        aside.replace(output)
    except OSError as error:
        raise Misconfigured(f"Cannot write {output}: {error.strerror}.") from error
    finally:
        aside.unlink(missing_ok=True)
    if as_json:
        told = {"evidence": named, "file": str(output), "bytes": written, "sha256": hashed}
        write_json("evidence-file", told)
    else:
        click.echo(f"Wrote {output}, {size(written)}. Check it: p2pool verify validation {output}")


def _write(client: AgentClient, digest: str, file: BinaryIO) -> tuple[int, str]:
    written, hashed = 0, hashlib.sha256()
    for piece in client.validation(digest):
        written += file.write(piece)
        hashed.update(piece)
    return written, hashed.hexdigest()


def _digest(text: str, client: AgentClient) -> str:
    """A digest by what a person types."""
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]{8,64}", digits):
        raise click.UsageError(
            f"EVIDENCE {text[:80]!r} is no digest: 64 hex digits, or 8 of them at least."
        )
    if len(digits) == 64:
        return digits
    like = [one["evidence"] for one in client.validations() if one["evidence"].startswith(digits)]
    if len(like) > 1:
        raise click.UsageError(f"{len(like)} documents begin with {digits}: type more of it.")
    if not like:
        raise NotFound(
            f"No verdict names evidence that begins with {digits}.",
            hint="List them: p2pool validation ls --wide.",
        )
    return str(like[0])


def _account(option: str, text: str | None) -> str | None:
    if text is None:
        return None
    named = "0x" + text.lower().removeprefix("0x")
    if not re.fullmatch("0x[0-9a-f]{40}", named):
        raise click.UsageError(f"{option} {text[:80]!r} is not an id: 0x and 40 hex digits.")
    return named
