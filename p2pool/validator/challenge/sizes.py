"""The sizes of a plan that no claim says: of matrices and blocks, and how many rounds there are.

Intuition: matrices are sized so that hashing a product costs a device little beside computing it,
and a round so that the network's time is small beside it. That depends on what the models of a
pool are, so a table of figures may bring its own.

Invariant: a size that a plan may not have is refused where the table is read. Source:
docs/design/validation.md, "Sizes".
"""

import math
from typing import Any

import attrs

from p2pool.model import limits

FILLED_PERMILLE = 900
"""The rest of the memory is for the driver, the matrices and the product."""


def opened_for(fake_permille: int, missed_permille: int) -> int:
    """How many of a device's rows are opened so that a fake of this many in a thousand is missed
    in no more than `missed_permille` of challenges."""
    return math.ceil(math.log(missed_permille / 1000) / math.log(1 - fake_permille / 1000))


@attrs.frozen
class Sizes:
    """What a plan does not take from the claim."""

    rows: int = 16_384
    inner: int = 32_768
    columns: int = 1_024
    block_bytes: int = 256 * 1024
    round_ms: int = 1_000
    product_rounds: int = 8
    scan_rounds: int = 3
    late_products: int = 1
    late_scans: int = 0
    rows_opened: int = opened_for(10, 50)
    blocks_opened: int = 64
    slack_ms: int = 500
    openings_ms: int = 120_000
    filled_permille: int = FILLED_PERMILLE


WORD_BYTES, LINE_BYTES = 4, 32
_ROUND = (1, limits.CHALLENGE_STEP_MAX_MS // limits.CHALLENGE_PATIENCE)
_ROUNDS = (1, limits.CHALLENGE_ROUNDS_MAX)
_LATE = (0, limits.CHALLENGE_ROUNDS_MAX)
_OPENED = (1, limits.CHALLENGE_OPENED_MAX)
RANGES = {
    "rows": (1, limits.CHALLENGE_ROWS_MAX),
    "inner": (WORD_BYTES, limits.CHALLENGE_INNER_MAX),
    "columns": (1, limits.CHALLENGE_COLUMNS_MAX),
    "block_bytes": (LINE_BYTES, limits.CHALLENGE_BLOCK_MAX_BYTES),
    "round_ms": _ROUND,
    "product_rounds": _ROUNDS,
    "scan_rounds": _ROUNDS,
    "late_products": _LATE,
    "late_scans": _LATE,
    "rows_opened": _OPENED,
    "blocks_opened": _OPENED,
    "slack_ms": _ROUND,
    "openings_ms": _ROUND,
    "filled_permille": (1, 1000),
}
"""The least and the most of each."""
MULTIPLES = {"inner": WORD_BYTES, "block_bytes": LINE_BYTES}


def sizes_of(told: dict[str, Any]) -> Sizes:
    """The sizes that a table brings, the others as they are by default. `ValueError` names those
    that cannot be."""
    if not isinstance(told, dict):
        raise ValueError("sizes: an object")
    wrong = [name for name, size in told.items() if not _may_be(name, size)]
    if wrong:
        raise ValueError(f"sizes: {', '.join(wrong)}")
    sizes = attrs.evolve(Sizes(), **told)
    late = (sizes.late_products, sizes.late_scans)
    if any(a >= b for a, b in zip(late, (sizes.product_rounds, sizes.scan_rounds), strict=True)):
        raise ValueError("sizes: every round may be late")
    return sizes


def _may_be(name: str, size: Any) -> bool:
    if name not in RANGES or type(size) is not int:
        return False
    least, most = RANGES[name]
    return least <= size <= most and size % MULTIPLES.get(name, 1) == 0
