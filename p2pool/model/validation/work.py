"""The work of a hardware challenge: what each device multiplies and fills, and by when.

Intuition: a claim of hardware is three figures, how fast it multiplies, how much memory it has and
how fast it reads that. Each becomes work whose time follows from the claim.

Invariant: sums of products of int8 fit into int32 for every inner dimension that is allowed, so the
product is the same number on every device. Source: docs/design/validation.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import Name, bounded


@attrs.frozen
class ProductWork:
    """A round's multiplications on one device: `products` matrices of `rows` x `inner`, which are
    new in each round, by one of `inner` x `columns`, which stays."""

    products: Annotated[int, bounded(number=limits.CHALLENGE_PRODUCTS_MAX)]
    rows: Annotated[int, bounded(number=limits.CHALLENGE_ROWS_MAX)]
    inner: Annotated[int, bounded(number=limits.CHALLENGE_INNER_MAX)]
    columns: Annotated[int, bounded(number=limits.CHALLENGE_COLUMNS_MAX)]

    @property
    def operations(self) -> int:
        """Multiplications and additions of a round."""
        return 2 * self.products * self.rows * self.inner * self.columns


@attrs.frozen
class MemoryWork:
    """What one device keeps in its memory: `blocks`, each a chain of lines of which every one costs
    `repeats` hashes; and how often a round reads all of it."""

    blocks: Annotated[int, bounded(number=limits.CHALLENGE_BLOCKS_MAX)]
    block_bytes: Annotated[int, bounded(number=limits.CHALLENGE_BLOCK_MAX_BYTES)]
    repeats: Annotated[int, bounded(number=limits.CHALLENGE_REPEATS_MAX)]
    passes: Annotated[int, bounded(number=limits.CHALLENGE_PASSES_MAX)]

    @property
    def size_bytes(self) -> int:
        """So much memory is filled."""
        return self.blocks * self.block_bytes


@attrs.frozen
class DeviceWork:
    """A device as the node claims it, and its work."""

    uuid: Name
    model: Name
    memory_bytes: int
    product: ProductWork
    memory: MemoryWork


@attrs.frozen
class Rounds:
    """How many rounds of a kind there are, by when each is due, how many may be late, and how many
    rows, or blocks, of each device are opened in the end, over all of them."""

    count: Annotated[int, bounded(number=limits.CHALLENGE_ROUNDS_MAX)]
    due_ms: Annotated[int, bounded(number=limits.CHALLENGE_STEP_MAX_MS)]
    late_max: Annotated[int, bounded(number=limits.CHALLENGE_ROUNDS_MAX)]
    opened: Annotated[int, bounded(number=limits.CHALLENGE_OPENED_MAX)]


@attrs.frozen
class Plan:
    """All of a challenge: each round asks all devices at once. `figures_version`: that of the table
    of expected figures from which it follows."""

    figures_version: int
    devices: Annotated[tuple[DeviceWork, ...], bounded(items=limits.GPUS_PER_NODE_MAX)]
    products: Rounds
    scans: Rounds
    fill_due_ms: Annotated[int, bounded(number=limits.CHALLENGE_STEP_MAX_MS)]
    openings_due_ms: Annotated[int, bounded(number=limits.CHALLENGE_STEP_MAX_MS)]

    @property
    def steps(self) -> int:
        """The fill, which is step 0, then the rounds."""
        return 1 + self.products.count + self.scans.count

    def is_product(self, step: int) -> bool:
        """Whether a step is a round of products."""
        return 1 <= step <= self.products.count

    def is_scan(self, step: int) -> bool:
        """Whether a step is a round that reads the memory."""
        return self.products.count < step < self.steps

    def due_ms(self, step: int) -> int:
        """How long a step may take before it is late."""
        if step == 0:
            return self.fill_due_ms
        return (self.products if self.is_product(step) else self.scans).due_ms
