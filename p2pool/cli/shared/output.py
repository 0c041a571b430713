"""How commands write: documents for programs, numbers for people, warnings aside."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from p2pool.cli.documents import envelope, json_text, note_warning, visible
from p2pool.cli.errors import is_narrow

if TYPE_CHECKING:
    from p2pool.drivers.chain.provider.plan_writer import DryRun

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
SPANS = ((86400, "d"), (3600, "h"), (60, "m"))
"""Units of time above a second, the longest first."""


def write_json(kind: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One document on standard output."""
    narrow = is_narrow(sys.stdout)
    click.echo(json_text(envelope(kind, value), indent=2, ascii_only=narrow))


def write_json_line(kind: str, value: Mapping[str, Any]) -> None:
    """One document of many, as a line on standard output, at once."""
    click.echo(json_text(envelope(kind, value), ascii_only=is_narrow(sys.stdout)))


def write_line(text: str, *, err: bool = False) -> None:
    """A sentence for people, with whatever others named in it: always one line."""
    click.echo(visible(text), err=err)


def warn(text: str) -> None:
    """Warn in the document that this command writes, else on standard error, and go on."""
    if not note_warning(text):
        click.echo(f"warning: {visible(text)}", err=True)


def size(count: int) -> str:
    """Bytes for people."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{count} B"


def age(at_ms: int, now_ms: int | None = None) -> str:
    """How long ago a time was, for people; a dash means never."""
    if not at_ms:
        return "-"
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    seconds = max(0, (now_ms - at_ms) // 1000)
    for span, name in SPANS:
        if seconds >= span:
            return f"{seconds // span}{name}"
    return f"{seconds}s"


def short(name: str | None) -> str:
    """The beginning of an id, long enough to tell a pool's apart."""
    if name is None:
        return "-"
    return name[:12] if name.startswith("0x") else name[:10]


def write_dry(dry: "DryRun | None", as_json: bool) -> None:
    """Write the transactions of a dry run; None: there are none."""
    if not as_json:
        for line in dry.said if dry is not None else ("Nothing to send.",):
            write_line(line)
    elif dry is None:
        told: dict[str, Any] = {"dry_run": True, "would_send": [], "transaction": None, "steps": []}
        write_json("transaction", told)
    else:
        from p2pool.cli.plan_documents import plan_document

        costs = dry.costs
        shown = plan_document(costs, (), costs.plan, True, {})
        write_json("transaction", {**shown, "would_send": list(dry.said)})
