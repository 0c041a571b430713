"""The plan of a challenge: how much work shows a claim, and by when each round of it is due.

Intuition: a round is sized to keep a card of the claimed model busy for about `round_ms`, so that
the network's time is small beside it. It is late when a card would have to be slower than the
claim's tolerance allows. Hashes in the memory's chains are so many that a card cannot derive anew,
within a round, more than `REDERIVED_PERMILLE` of what it should hold.

Invariants: a plan follows from the claim, the table and the sizes alone; what is opened is so much
that a fake of one row in a hundred is missed once in twenty challenges at most, for each card.
Source: docs/design/validation.md, "Sizes".
"""

from collections.abc import Sequence

import attrs

from p2pool.model import limits
from p2pool.model.errors import NotAllowed
from p2pool.model.machine.hardware import Gpu
from p2pool.model.validation.work import DeviceWork, MemoryWork, Plan, ProductWork, Rounds
from p2pool.proofs.validation.derivation import LINE_BYTES
from p2pool.validator.challenge.figures import Figures, FigureTable
from p2pool.validator.challenge.sizes import Sizes as Sizes
from p2pool.validator.challenge.sizes import opened_for as opened_for

REDERIVED_PERMILLE = 50
"""So much of its memory a device may lack, and derive anew in each pass, before it is late."""
FILL_PERMILLE = 50
"""The fill is no race: a device gets twenty times what the fastest kernel needs."""


SHEET_PERMILLE = 900
"""A driver keeps some of what the data sheet says, for itself and for error correction."""


def found_probability(fake: float, opened: int) -> float:
    """At least how often a device that fakes this part of its rows, or lacks this part of its
    memory, is found by so many openings."""
    return 1.0 - float((1.0 - fake) ** opened)


def plan_for(claims: Sequence[Gpu], table: FigureTable, sizes: Sizes | None = None) -> Plan:
    """The plan for all GPUs of a node, which are asked at once. `sizes` None: the table's.
    `NotFound`: a model without figures; `NotAllowed`: a claim that is none."""
    sizes = sizes or table.sizes
    if not claims:
        raise NotAllowed("The node claims no GPU.", hint="There is nothing to challenge.")
    rows = [table.of(claim.model) for claim in claims]
    works = [_work(claim, row, sizes) for claim, row in zip(claims, rows, strict=True)]
    pairs = list(zip(works, rows, strict=True))
    product_ms = max(_product_ms(work.product, row) for work, row in pairs)
    scan_ms = max(_scan_ms(work.memory, row) for work, row in pairs)
    works = [_hardened(work, row, scan_ms + sizes.slack_ms) for work, row in pairs]
    fill_ms = max(_fill_ms(work.memory, row) for work, row in zip(works, rows, strict=True))
    return Plan(
        figures_version=table.version,
        devices=tuple(works),
        products=Rounds(
            count=sizes.product_rounds,
            due_ms=_due(product_ms + sizes.slack_ms),
            late_max=sizes.late_products,
            opened=sizes.rows_opened,
        ),
        scans=Rounds(
            count=sizes.scan_rounds,
            due_ms=_due(scan_ms + sizes.slack_ms),
            late_max=sizes.late_scans,
            opened=sizes.blocks_opened,
        ),
        fill_due_ms=_due(fill_ms + sizes.slack_ms),
        openings_due_ms=_due(sizes.openings_ms),
    )


def relay_slack_ms(plan: Plan, table: FigureTable) -> int:
    """How much later than a card that does all of its data sheet an answer may come: so much
    latency somebody who relays may add, if the other machine is as fast as that."""
    rows = [(work, table.of(work.model)) for work in plan.devices]
    product_ms = max(_at_full_ms(w.product.operations, row.int8_ops_per_s) for w, row in rows)
    scan_ms = max(
        _at_full_ms(w.memory.passes * w.memory.size_bytes, row.memory_bytes_per_s)
        for w, row in rows
    )
    return min(plan.products.due_ms - product_ms, plan.scans.due_ms - scan_ms)


def _work(claim: Gpu, row: Figures, sizes: Sizes) -> DeviceWork:
    if not claim.memory_known:
        raise NotAllowed(
            f"GPU {claim.uuid} does not report how much memory it has.",
            hint="A card that shares the machine's memory cannot be challenged.",
        )
    if claim.memory_bytes * 1000 < row.memory_bytes * SHEET_PERMILLE:
        # Who names a model and little memory would show a kilobyte of it, and pass.
        raise NotAllowed(
            f"GPU {claim.uuid} claims {claim.memory_bytes} bytes of memory, and a whole"
            f" {claim.model} has {row.memory_bytes}.",
            hint="A part of a card is a model of its own: give it a row of its own in the table.",
        )
    one = ProductWork(products=1, rows=sizes.rows, inner=sizes.inner, columns=sizes.columns)
    wanted = row.int8_ops_per_s * sizes.round_ms // 1000
    products = min(max(1, wanted // one.operations), limits.CHALLENGE_PRODUCTS_MAX)
    blocks = claim.memory_bytes * sizes.filled_permille // 1000 // sizes.block_bytes
    blocks = min(max(1, blocks), limits.CHALLENGE_BLOCKS_MAX)
    per_round = row.memory_bytes_per_s * sizes.round_ms // 1000
    passes = min(max(1, per_round // (blocks * sizes.block_bytes)), limits.CHALLENGE_PASSES_MAX)
    return DeviceWork(
        uuid=claim.uuid,
        model=claim.model,
        memory_bytes=claim.memory_bytes,
        product=attrs.evolve(one, products=products),
        memory=MemoryWork(blocks=blocks, block_bytes=sizes.block_bytes, repeats=1, passes=passes),
    )


def _hardened(work: DeviceWork, row: Figures, due_ms: int) -> DeviceWork:
    """With so many hashes in a line that what may be missing is not derived anew in a round."""
    memory = work.memory
    lines = memory.passes * memory.size_bytes * REDERIVED_PERMILLE // 1000 // LINE_BYTES
    repeats = -(-due_ms * row.hashes_per_s_max // (1000 * max(1, lines)))
    repeats = min(max(1, repeats), limits.CHALLENGE_REPEATS_MAX)
    return attrs.evolve(work, memory=attrs.evolve(memory, repeats=repeats))


def _at_full_ms(amount: int, per_s: int) -> int:
    return amount * 1000 // per_s


def _product_ms(work: ProductWork, row: Figures) -> int:
    return _at_full_ms(work.operations * 1000 // row.product_permille, row.int8_ops_per_s)


def _scan_ms(work: MemoryWork, row: Figures) -> int:
    read_bytes = work.passes * work.size_bytes
    return _at_full_ms(read_bytes * 1000 // row.memory_permille, row.memory_bytes_per_s)


def _fill_ms(work: MemoryWork, row: Figures) -> int:
    hashes = work.size_bytes // LINE_BYTES * work.repeats
    return _at_full_ms(hashes * 1000 // FILL_PERMILLE, row.hashes_per_s_max)


def _due(due_ms: int) -> int:
    return min(max(1, due_ms), limits.CHALLENGE_STEP_MAX_MS // limits.CHALLENGE_PATIENCE)
