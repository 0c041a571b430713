"""What the reference prover does on this machine now, and a table of figures that says so.

Every time bound of these tests follows from it, so a slow machine is given more time, and a quick
one is not trusted to stay so: a claim has to show a quarter, and there is slack for what else runs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs

from p2pool.validator.challenge.figures import Figures, FigureTable
from p2pool.validator.challenge.sizes import Sizes

ROOT = Path(__file__).resolve().parents[3]
MODEL = "Calibrated processor"
MEMORY_BYTES = 1024 * 1024
"""Of each device, as it is claimed."""
SIZES = Sizes(
    rows=256,
    inner=512,
    columns=64,
    block_bytes=4096,
    round_ms=200,
    product_rounds=3,
    scan_rounds=2,
    late_products=1,
    late_scans=1,
    rows_opened=128,
    blocks_opened=64,
    slack_ms=1_500,
)
SHOWN_PERMILLE = 250
PRODUCTS, PASSES, TIMES = 8, 8, 3
SEED = "5a" * 32


@attrs.define
class Prover:
    """The reference prover as a process, asked line by line."""

    process: "subprocess.Popen[bytes]"
    number: int = 0

    def ask(self, op: str, **share: Any) -> dict[str, Any]:
        """The answer for the first device."""
        return self.perform(op, [{"device": 0, **share}])[0]

    def perform(self, op: str, shares: Any) -> list[dict[str, Any]]:
        """The answers for all shares."""
        self.number += 1
        put, got = self.process.stdin, self.process.stdout
        assert put is not None
        assert got is not None
        asked = {"id": self.number, "op": op, "shares": list(shares)}
        put.write(json.dumps(asked).encode() + b"\n")
        put.flush()
        answer = json.loads(got.readline())
        assert "error" not in answer, answer
        found: list[dict[str, Any]] = answer["shares"]
        return found


@contextmanager
def prover(devices: int = 1) -> Iterator[Prover]:
    """The prover for as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prover", "--devices", str(devices)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    with process:
        yield Prover(process)
        assert process.stdin is not None
        process.stdin.close()


def calibrated() -> FigureTable:
    """The table of one model, from the best of some rounds of each kind."""
    sizes = SIZES
    blocks = MEMORY_BYTES * sizes.filled_permille // 1000 // sizes.block_bytes
    with prover() as one:
        one.ask("load", seed=SEED, inner=sizes.inner, columns=sizes.columns)
        one.ask("fill", seed=SEED, blocks=blocks, block_bytes=sizes.block_bytes, repeats=1)
        multiply = {"products": PRODUCTS, "rows": sizes.rows}
        product_s = min(_seconds(one, "multiply", multiply, turn) for turn in range(TIMES))
        scan_s = min(_seconds(one, "scan", {"passes": PASSES}, turn) for turn in range(TIMES))
    operations = 2 * PRODUCTS * sizes.rows * sizes.inner * sizes.columns
    row = Figures(
        names=(MODEL,),
        int8_ops_per_s=int(operations / product_s),
        memory_bytes=MEMORY_BYTES,
        memory_bytes_per_s=int(PASSES * blocks * sizes.block_bytes / scan_s),
        hashes_per_s_max=hashes_per_s(),
        product_permille=SHOWN_PERMILLE,
        memory_permille=SHOWN_PERMILLE,
        source="a run of the reference prover on this machine, just before",
    )
    return FigureTable(1, (row,), sizes)


EASED, HASHES_EASED = 10, 200
EASED_SLACK_MS = 4_000


def eased(table: FigureTable) -> FigureTable:
    """The same for a machine that is busy with something else by the time it is challenged.

    A claim of a tenth is a tenth of the work in the same time, so a round may take some hundred
    times as long as it does at rest before it is late. Of the rounds one of each kind may be. What
    derives its memory anew would not be found by so few hashes; none of the cheats does.
    """
    (row,) = table.models
    claimed = attrs.evolve(
        row,
        int8_ops_per_s=max(1, row.int8_ops_per_s // EASED),
        memory_bytes_per_s=max(1, row.memory_bytes_per_s // EASED),
        hashes_per_s_max=max(1, row.hashes_per_s_max // HASHES_EASED),
    )
    sizes = attrs.evolve(table.sizes, product_rounds=2, slack_ms=EASED_SLACK_MS)
    return FigureTable(table.version, (claimed,), sizes)


def _seconds(one: Prover, op: str, share: Mapping[str, Any], turn: int) -> float:
    seed, began = sha256(bytes([turn])).hexdigest(), time.perf_counter()
    one.ask(op, seed=seed, **share)
    return time.perf_counter() - began


def hashes_per_s() -> int:
    """How fast this Python hashes, one after the other."""
    times, line, began = 100_000, bytes(32), time.perf_counter()
    for _ in range(times):
        line = sha256(line).digest()
    return int(times / (time.perf_counter() - began))


def table_text(table: FigureTable) -> str:
    """A table as a file has it."""
    rows = [attrs.asdict(row) for row in table.models]
    return json.dumps(
        {"version": table.version, "sizes": attrs.asdict(table.sizes), "models": rows}, indent=1
    )
