"""The heavy parts of a check by NumPy, where it is installed; in plain Python where it is not.

Intuition: a validator checks many cards, so it computes whole arrays; a stranger checks one
document, and needs nothing but Python. Both come to the same, to the last bit.

Invariant: entries of int8 times halves of 31 and 30 bits, added up over at most 8192 columns, stay
below 2**63. Source: `p2pool.proofs.validation`; docs/design/validation.md, "Bytes".
"""

from collections.abc import Sequence
from functools import cache
from hashlib import shake_128
from typing import Any

from p2pool.drivers.agent_log import get_logger
from p2pool.model import limits
from p2pool.proofs.validation import freivalds
from p2pool.proofs.validation.derivation import GOLDEN, seed_words
from p2pool.proofs.validation.judgement import PLAIN, Arithmetic

log = get_logger(__name__)

LOW_BITS = 31
ROWS_AT_ONCE = 4096

assert limits.CHALLENGE_COLUMNS_MAX * 2**7 * 2**LOW_BITS < 2**63


@cache
def arithmetic() -> Arithmetic:
    """The fastest that this machine has."""
    try:
        import numpy as np
    except ImportError:
        log.info(
            "NumPy is not installed, and without it checks take three times as long",
            hint="pip install 'numpy>=2.0,<3'",
        )
        return PLAIN
    return _by_arrays(np)


def _by_arrays(np: Any) -> Arithmetic:
    def mixed(words: Any) -> Any:
        words ^= words >> np.uint32(16)
        words *= np.uint32(0x7FEB352D)
        words ^= words >> np.uint32(15)
        words *= np.uint32(0x846CA68B)
        words ^= words >> np.uint32(16)
        return words

    def left_row(seed: bytes, row: int, inner: int) -> Sequence[int]:
        first, second, *_ = seed_words(seed)
        start = mixed(np.array([row], dtype=np.uint32) + np.uint32(first))
        steps = np.arange(inner // 4, dtype=np.uint32) * np.uint32(GOLDEN)
        words = mixed((steps ^ start) + np.uint32(second))
        return memoryview(words.astype("<u4").tobytes()).cast("b")

    def fingerprint(seed: bytes, block: bytes) -> bytes:
        first, second, *_ = seed_words(seed)
        words = np.frombuffer(block, dtype="<u4") + np.uint32(second)
        places = np.arange(len(words), dtype=np.uint32)
        words = mixed(words ^ (places * np.uint32(GOLDEN) + np.uint32(first)))
        low = int(words.sum(dtype=np.uint64))
        high = int((words * (places * np.uint32(2) + np.uint32(1))).sum(dtype=np.uint64))
        return b"".join((part % 2**32).to_bytes(4, "big") for part in (low, high))

    def right_image(seed: bytes, inner: int, x: freivalds.Vector) -> freivalds.Vector:
        low = np.array([entry % 2**LOW_BITS for entry in x], dtype=np.int64)
        high = np.array([entry >> LOW_BITS for entry in x], dtype=np.int64)
        image: list[int] = []
        for start in range(0, inner, ROWS_AT_ONCE):
            numbers = range(start, min(inner, start + ROWS_AT_ONCE))
            made = (shake_128(seed + row.to_bytes(4, "big")).digest(len(x)) for row in numbers)
            rows = np.frombuffer(b"".join(made), dtype=np.int8).reshape(len(numbers), len(x))
            wide = rows.astype(np.int64)
            pairs = zip((wide @ low).tolist(), (wide @ high).tolist(), strict=True)
            image += [(below + (above << LOW_BITS)) % freivalds.PRIME for below, above in pairs]
        return image

    return Arithmetic(right_image, left_row, fingerprint)
