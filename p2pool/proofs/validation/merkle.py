"""Merkle trees over the rows of products, and over the fingerprints of memory.

Intuition: a root fixes every leaf before anyone knows which of them will be shown. A leaf is hashed
otherwise than a node, so that no node passes for a leaf. Where a level has an odd number, its last
one goes up as it is: no leaf counts twice.

Invariant: two different leaves at one place of one root are a collision of SHA-256.
Source: RFC 6962, section 2.1; docs/design/validation.md, "Bytes".
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest


def leaf_digest(data: bytes) -> Digest:
    """A leaf's place in the tree."""
    return Digest(sha256(b"\0" + data).digest())


def node_digest(left: bytes, right: bytes) -> Digest:
    """Two of a level as one of the next."""
    return Digest(sha256(b"\1" + left + right).digest())


def _level(below: Sequence[Digest]) -> list[Digest]:
    pairs = zip(below[::2], below[1::2], strict=False)
    above = [node_digest(left, right) for left, right in pairs]
    return above if len(below) % 2 == 0 else [*above, below[-1]]


def root_of(leaves: Sequence[Digest]) -> Digest:
    """The root over the digests of leaves; there is at least one."""
    assert leaves
    level = list(leaves)
    while len(level) > 1:
        level = _level(level)
    return level[0]


def path_of(leaves: Sequence[Digest], index: int) -> tuple[Digest, ...]:
    """The siblings of a leaf, from below."""
    level, path = list(leaves), []
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _level(level), index // 2
    return tuple(path)


def climb(digest: Digest, index: int, count: int, siblings: Iterator[Digest]) -> Digest:
    """The root of a tree of `count` leaves that has this one at `index`; takes from the siblings
    what it needs. `Malformed` if they end before."""
    while count > 1:
        if index ^ 1 < count:
            sibling = next(siblings, None)
            if sibling is None:
                raise Malformed("The path to the root is too short.")
            pair = (sibling, digest) if index & 1 else (digest, sibling)
            digest = node_digest(*pair)
        index, count = index // 2, (count + 1) // 2
    return digest
