"""A node keeps the encrypted secrets that somebody needs, and no others for long."""

from p2pool.codec.digests import digest
from p2pool.core.knowledge.secret_blobs import SecretBlobs
from p2pool.model import limits
from p2pool.model.ids import Digest
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
