"""`p2pool volume`: what tasks keep on an agent's machine.

Volumes are the machine owner's affair: an agent answers for its own disk alone, to the holder of
its token, and passes nothing on to other agents.
"""

import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from p2pool.cli.shared.options import agent_option, json_option
from p2pool.cli.shared.output import age, size, write_json
from p2pool.cli.shared.tables import Column, wide_option, write_table
from p2pool.cli.shared.types import FilePath
from p2pool.client.agent_client import AgentClient, Answer
from p2pool.drivers.input_files import is_stdin
from p2pool.model.errors import Misconfigured


@click.group(name="volume", help="List, export and remove what tasks keep on an agent's machine.")
def volume() -> None:
    """The group."""


@volume.command("ls")
@agent_option
@wide_option
@json_option
def ls(client: AgentClient, as_json: bool) -> None:
    """List the volumes on the agent's machine and their sizes."""
    found = client.volumes()
    if as_json:
        write_json("volumes", found)
        return
    rows = (
        (
            *(one["id"], size(one["used_bytes"])),
            size(one["quota_bytes"]) if one["quota_bytes"] else "-",
            *("yes" if one["in_use"] else "no", age(one["used_at_ms"]), _ended(one)),
        )
        for one in found
    )
    columns = (
        *("VOLUME", "HOLDS", Column("QUOTA", rank=2), Column("IN USE", rank=1)),
        *(Column("LAST STARTED", rank=3), Column("TASK ENDED", rank=4)),
    )
    write_table(columns, rows, "There are no volumes on this machine.")


def _ended(one: Answer) -> str:
    return age(one["ended_at_ms"]) if one["ended_at_ms"] else "-"


@volume.command("rm")
@click.argument("names", metavar="VOLUME...", nargs=-1, required=True)
@agent_option
@json_option
def rm(names: tuple[str, ...], client: AgentClient, as_json: bool) -> None:
    """Delete volumes and everything in them. A volume that a container uses stays."""
    for name in names:
        client.remove_volume(name)
        if not as_json:
            click.echo(name)
    if as_json:
        write_json("volumes", {"deleted": list(names)})


@volume.command("export")
@click.argument("name", metavar="VOLUME")
@click.option(
    "-o",
    "--output",
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Default, and -: standard output.",
)
@agent_option
@json_option
def export(name: str, output: Path | None, client: AgentClient, as_json: bool) -> None:
    """Write a volume as a tar archive: `p2pool volume export NAME | tar -xf -`."""
    if output is None or is_stdin(output):
        if as_json:
            raise click.UsageError("--json needs -o FILE: the archive takes standard output.")
        if sys.stdout.isatty():
            raise click.UsageError(
                "A terminal cannot show an archive: use -o FILE, or | tar -xf -."
            )
        _write(client, name, sys.stdout.buffer)
        return
    assert output is not None
    aside = Path(f"{output}.part")
    began = time.monotonic()
    try:
        with aside.open("wb") as file:
            written = _write(client, name, file)
        aside.replace(output)
    except OSError as error:
        raise Misconfigured(f"Cannot write {output}: {error.strerror}.") from error
    finally:
        aside.unlink(missing_ok=True)
    if as_json:
        write_json("volume", {"volume": name, "file": str(output), "bytes": written})
    else:
        click.echo(f"{output}: {size(written)} in {time.monotonic() - began:.1f} s.", err=True)


def _write(client: AgentClient, name: str, file: BinaryIO) -> int:
    written = 0
    for piece in client.export_volume(name):
        written += file.write(piece)
    return written
