"""Freivalds' check: whether rows belong to a product, without computing the product.

Intuition: if C = A B then C x = A (B x) for every x. B x costs one pass over B, once for all rows;
each row then costs two inner products. A wrong row passes only if its error is orthogonal to x.

Invariants: x is drawn modulo a prime after the rows are committed to; the entries of an error are
smaller than the prime, so an error that is not zero stays so modulo it. A wrong row then passes
with a probability of at most nine in 2**64 (a word of 64 bits modulo 2**61 - 1 takes each value at
most nine times). Source: R. Freivalds, 1977; docs/design/validation.md, "Soundness".
"""

import struct
from collections.abc import Sequence
from hashlib import shake_256
from operator import mul

from p2pool.proofs.validation.derivation import right_row

PRIME = 2**61 - 1
Vector = Sequence[int]


def vector(draw: bytes, columns: int) -> Vector:
    """x, from what nobody knew before the last commitment."""
    made = shake_256(draw + b"vector").digest(8 * columns)
    return [word % PRIME for word in struct.unpack(f">{columns}Q", made)]


def right_image(seed: bytes, inner: int, x: Vector) -> Vector:
    """B x: one pass over the matrix that stays."""
    rows = (right_row(seed, row, len(x)) for row in range(inner))
    return [sum(map(mul, row, x)) % PRIME for row in rows]


def holds(entries: Sequence[int], left: Sequence[int], x: Vector, image: Vector) -> bool:
    """Whether a row of the product goes with the row of the left matrix."""
    error: int = sum(map(mul, entries, x)) - sum(map(mul, left, image))
    return error % PRIME == 0
