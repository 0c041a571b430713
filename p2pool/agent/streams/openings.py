"""What a node opens, in parts that fit into frames: pure.

Intuition: a card opens a megabyte and a half, in a thousand small pieces. Each part is as large as
a guest can take without holding up what else is sent.

Invariants: rows come before blocks, each in its order, none twice; exactly the last part says so.
"""

from collections.abc import Iterator

import attrs

from p2pool.model import limits
from p2pool.model.ids import DIGEST_BYTES
from p2pool.model.messages.challenge import OpeningsShown
from p2pool.model.validation.transcript import BlockOpening, Openings, RowOpening

HEAD_BYTES, HEAD_ITEMS = 64, 8
"""More than an opening has beside its data and its path."""


def parts_of(openings: Openings) -> Iterator[OpeningsShown]:
    """The frames that show it all, one at least."""
    part, size_bytes, items = Openings(), 0, 0
    opened: tuple[RowOpening | BlockOpening, ...] = (*openings.rows, *openings.blocks)
    for one in opened:
        data = one.entries if isinstance(one, RowOpening) else one.fingerprints
        more = HEAD_BYTES + len(data) + len(one.path) * (DIGEST_BYTES + 2)
        size_bytes, items = size_bytes + more, items + HEAD_ITEMS + len(one.path)
        full = size_bytes > limits.CHALLENGE_PART_MAX_BYTES
        if (part.rows or part.blocks) and (full or items > limits.CHALLENGE_PART_MAX_ITEMS):
            yield OpeningsShown(part, last=False)
            part, size_bytes, items = Openings(), more, HEAD_ITEMS + len(one.path)
        part = _with(part, one)
    yield OpeningsShown(part, last=True)


def _with(part: Openings, one: RowOpening | BlockOpening) -> Openings:
    if isinstance(one, RowOpening):
        return attrs.evolve(part, rows=(*part.rows, one))
    return attrs.evolve(part, blocks=(*part.blocks, one))
