"""The report on a challenge, in Markdown: every figure in it comes from the run itself."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

import psutil

from p2pool import __version__
from p2pool.validator.challenge.figures import FigureTable
from tests.starts.report import commit
from tests.validation_report.measured import Measured
from tests.validation_report.soundness import Soundness

OPEN = """\
## What a real GPU would still have to show

No GPU ran any of this: the figures above are of the reference prover, on a processor. Open are:

- that int8 products on the card are equal to the last bit to those of the reference;
- which part of its data sheet a round reaches, with the hashing of rows in it: the tolerances of
  `figures.json` come from no measurement;
- how fast a card fills its memory, how much is left beside the driver, and whether the hashes that
  bound deriving anew (`hashes_per_s_max`) are beyond what it can do;
- that eight cards of a machine reach it at once, and that a task that comes meanwhile gets them in
  time;
- a device's own attestation.
"""


def report(
    table: FigureTable, measured: Sequence[Measured], soundness: Sequence[Soundness], load: float
) -> str:
    """The whole report. `measured` is not empty: the quickest challenge is told, and the spread."""
    best = min(measured, key=lambda one: one.whole_s)
    (row,), work = table.models, best.plan.devices[0]
    valid = sum(one.evidence.conclusion.value == "valid" for one in measured)
    products, scans = best.plan.products, best.plan.scans
    day, python = f"{datetime.now(UTC):%Y-%m-%d}", platform.python_version()
    lines = [
        "# A challenge of the reference prover",
        "",
        f"Made by `make validation-report` on {day} with p2pool {__version__} at commit {commit()},"
        f" Python {python}, {psutil.cpu_count()} cores, load {load:.1f} at the start.",
        "",
        "A validator challenges a node of one device, which is the reference prover as a process of"
        " its own. Frames are sealed and counted as on the network, and go from hand to hand; so"
        " the times are those of the work.",
        "",
        f"**{valid} of {len(measured)} challenges of the honest prover passed.**",
        "",
        "## What was asked",
        "",
        "| | calibrated | asked in a round |",
        "| --- | --- | --- |",
        f"| products | {row.int8_ops_per_s / 1e9:.2f} GOP/s | {work.product.products} of"
        f" {work.product.rows} x {work.product.inner} by {work.product.inner} x"
        f" {work.product.columns} |",
        f"| memory | {row.memory_bytes_per_s / 1e6:.0f} MB/s | {work.memory.passes} passes over"
        f" {work.memory.size_bytes / 1e6:.2f} MB |",
        f"| hashes | {row.hashes_per_s_max / 1e6:.2f} million/s | {work.memory.repeats} for each"
        " line of the fill |",
        "",
        f"{products.count} rounds of products, due in {products.due_ms} ms each; {scans.count} over"
        f" the memory, due in {scans.due_ms} ms each.",
        "",
        *_costs(best, measured),
        "",
        "## How often a cheat is found",
        "",
        "Stated is what the arithmetic of docs/design/validation.md promises at least; chance, how"
        " likely it is to find no more than was measured, if that is so (binomial).",
        "",
        "| | opened | stated | measured | chance |",
        "| --- | --- | --- | --- | --- |",
        *(_sound(one) for one in soundness),
        "",
        OPEN,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _costs(best: Measured, measured: Sequence[Measured]) -> list[str]:
    fill, *rest = best.step_ms
    products, scans = rest[: best.plan.products.count], rest[best.plan.products.count :]
    worst = max(one.whole_s for one in measured)
    return [
        "## What it costs",
        "",
        "| | |",
        "| --- | --- |",
        f"| the whole, the quickest of {len(measured)} | {best.whole_s:.2f} s (the slowest"
        f" {worst:.2f} s) |",
        f"| fill | {fill} ms |",
        f"| rounds of products | {', '.join(map(str, products))} ms |",
        f"| rounds over the memory | {', '.join(map(str, scans))} ms |",
        f"| the node's prover, processor time | {best.prover_cpu_s:.2f} s |",
        f"| the node's agent, processor time | {best.node_cpu_s:.2f} s |",
        f"| the validator, processor time | {best.validator_cpu_s:.2f} s, of which"
        f" {best.conclude_s:.2f} s conclude |",
        f"| a stranger who checks the document, processor time | {best.verify_s:.2f} s |",
        f"| validator to node | {best.sent_bytes} bytes |",
        f"| node to validator | {best.received_bytes} bytes |",
        f"| the document of evidence | {best.document_bytes} bytes |",
        f"| shown at least: products | {best.shown.int8_ops_per_s / 1e9:.2f} GOP/s |",
        f"| shown at least: bandwidth | {best.shown.memory_bytes_per_s / 1e6:.1f} MB/s |",
        f"| shown: memory | {best.shown.memory_bytes} bytes |",
    ]


def _sound(one: Soundness) -> str:
    return (
        f"| {one.what} | {one.opened} | {one.stated:.2%} | {one.found} of {one.tried}"
        f" ({one.found / one.tried:.2%}) | {one.chance:.3g} |"
    )
