"""Merkle trees by SHA-256: leaves begin with a zero byte, nodes with a one, an odd one goes up.

Source: docs/design/validation.md, "Bytes" (RFC 6962, section 2.1, but for the shape).
"""

from collections.abc import Sequence
from hashlib import sha256


def leaf_digest(data: bytes) -> bytes:
    """A leaf's place in the tree."""
    return sha256(b"\0" + data).digest()


def _level(below: Sequence[bytes]) -> list[bytes]:
    pairs = zip(below[::2], below[1::2], strict=False)
    above = [sha256(b"\1" + left + right).digest() for left, right in pairs]
    return above if len(below) % 2 == 0 else [*above, below[-1]]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over digests; there is at least one."""
    level = list(leaves)
    while len(level) > 1:
        level = _level(level)
    return level[0]


def path_of(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The siblings of a leaf, from below."""
    level, path = list(leaves), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _level(level), index // 2
    return tuple(path)
