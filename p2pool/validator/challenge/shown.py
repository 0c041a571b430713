"""Whether what a node shows is no larger than what was asked of it: before it is kept.

Intuition: a node that is caught would rather have no evidence against it. A row is a few kilobytes,
and a message may carry eight times that; so many of them fill our memory, and make a document that
is too long to keep, of which nothing follows.

Invariant: whatever opens a place of the plan fits. Pure.
"""

from p2pool.model import limits
from p2pool.model.validation.transcript import BlockOpening, Openings, RowOpening
from p2pool.model.validation.work import MemoryWork, Plan, ProductWork

ENTRY_BYTES = 4


def fits(shown: Openings, plan: Plan) -> bool:
    """Whether each of these openings is of a device of the plan, and as short as one may be."""
    works = plan.devices
    opened: tuple[RowOpening | BlockOpening, ...] = (*shown.rows, *shown.blocks)
    if any(one.device >= len(works) for one in opened):
        return False
    rows = ((one, works[one.device].product) for one in shown.rows)
    blocks = ((one, works[one.device].memory) for one in shown.blocks)
    return all(
        len(one.entries) <= ENTRY_BYTES * work.columns and len(one.path) <= _row_path(work)
        for one, work in rows
    ) and all(len(one.path) <= _block_path(work) for one, work in blocks)


def _row_path(work: ProductWork) -> int:
    """The most digests between a row and the root over all products."""
    return (work.rows - 1).bit_length() + (work.products - 1).bit_length()


def _block_path(work: MemoryWork) -> int:
    """The same of a group of blocks."""
    groups = -(-work.blocks // limits.CHALLENGE_GROUP_BLOCKS)
    return (groups - 1).bit_length()
