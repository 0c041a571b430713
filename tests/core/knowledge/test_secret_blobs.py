"""A node keeps the encrypted secrets that somebody needs, and no others for long."""

import pytest

from p2pool.codec.digests import digest
from p2pool.core.knowledge.secret_blobs import SecretBlobs
from p2pool.model import limits
from p2pool.model.errors import Overloaded
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.tasks.secrets import SecretBlob
from p2pool.wire.sealed_box import blob_bytes

DATA = blob_bytes(SecretBlob(bytes(limits.SECRET_NONCE_BYTES), b"ciphertext"))
NAME = digest(DATA)


def kept(needed: set[Digest], here: set[Digest]) -> SecretBlobs:
    blobs = SecretBlobs(needed.__contains__, here.__contains__)
    blobs.keep(DATA, None, 0)
    assert blobs.sweep(0) == []
    return blobs


def test_what_no_task_needs_any_more_goes_at_once() -> None:
    """Its row too."""
    needed = {NAME}
    blobs = kept(needed, set())
    needed.clear()
    assert [type(op).__name__ for op in blobs.sweep(1)] == ["Delete"]
    assert (blobs.held, blobs.used, blobs.size_bytes) == ({}, {}, 0)


def test_what_a_copy_here_runs_with_stays() -> None:
    """Another log does not know the task yet, and nobody else may have its secrets: they stay until
    it is adopted, or ends."""
    needed, here = {NAME}, {NAME}
    blobs = kept(needed, here)
    needed.clear()
    assert blobs.sweep(limits.SECRET_UNCLAIMED_MS) == []
    assert NAME in blobs.held
    here.clear()
    assert blobs.sweep(limits.SECRET_UNCLAIMED_MS + 1)
    assert not blobs.held


def test_what_no_request_named_in_time_goes() -> None:
    """And not sooner: the request may be on its way."""
    blobs = kept(set(), set())
    assert blobs.sweep(limits.SECRET_UNCLAIMED_MS - 1) == []
    assert blobs.sweep(limits.SECRET_UNCLAIMED_MS)


def numbered(number: int) -> bytes:
    return blob_bytes(SecretBlob(bytes(limits.SECRET_NONCE_BYTES), number.to_bytes(4, "big")))


def peer(number: int) -> PeerKey:
    return PeerKey(bytes([number]) * 32)


def test_members_that_bring_all_they_may_keep_nobody_else_from_it() -> None:
    """Of the one with most the oldest goes, on the disk too; what the log needs never does."""
    needed = {digest(numbered(0))}
    blobs = SecretBlobs(needed.__contains__)
    blobs.keep(numbered(0), peer(0), 0)
    number = 1
    while number <= limits.SECRET_BLOBS_UNCLAIMED_MAX:
        blobs.keep(numbered(number), peer((number - 1) // limits.SECRET_BLOBS_PER_SOURCE_MAX), 0)
        number += 1
    with pytest.raises(Overloaded):
        blobs.keep(numbered(1000), peer(0), 0)
    for brought in range(limits.SECRET_BLOBS_PER_SOURCE_MAX // 2):
        _, rows = blobs.keep(numbered(2000 + brought), None, 0)
        assert [type(op).__name__ for op in rows] == ["Delete", "Put"]
    assert len(blobs.held) == limits.SECRET_BLOBS_UNCLAIMED_MAX + 1
    assert digest(numbered(0)) in blobs.held
    assert digest(numbered(2000)) in blobs.held


def test_a_share_of_ones_own_takes_nobody_elses() -> None:
    """Where all have brought alike, whoever comes last waits."""
    blobs = SecretBlobs(lambda _: False)
    for number in range(limits.SECRET_BLOBS_UNCLAIMED_MAX):
        blobs.keep(numbered(number), peer(number), 0)
    with pytest.raises(Overloaded):
        blobs.keep(numbered(1000), None, 0)
