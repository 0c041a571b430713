"""Batches and pools that the tests of the store share."""

from p2pool.model.ids import Address, Digest, PoolRef
from p2pool.model.log.raft import Entry, EntryKind

POOL = PoolRef(31337, Address(b"\x11" * 20), 7)
OTHER_POOL = PoolRef(31337, Address(b"\x11" * 20), 8)
LOG = Digest(b"\xaa" * 32)
OTHER_LOG = Digest(b"\xbb" * 32)


def entry(index: int, term: int = 1) -> Entry:
    """A small entry at this index."""
    return Entry(index, term, EntryKind.NOOP, 1_000 + index, b"body-%d" % index)
