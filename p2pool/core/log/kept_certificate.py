"""The certificate of a log's snapshot, on the disk beside it.

Intuition: a voter installs a snapshot only with a quorum's signatures over it. Where one of three
voters is down and another one needs the snapshot, nobody can sign it again, so what was signed
outlives a restart.

Invariants: it counts for exactly the snapshot of that index in that log; without it the snapshot
waits for the next certificate.
"""

from collections.abc import Mapping

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.core.raft.state import RaftState
from p2pool.model.field_bounds import Index, SealedSignatures
from p2pool.model.ids import Digest
from p2pool.model.ports.store import Put

META_TABLE = "meta"
CERTIFICATE_KEY = b"log.certificate"


@attrs.frozen
class SnapshotCertificate:
    """A quorum's sealed signatures over the state in a log's snapshot at an index."""

    log_id: Digest
    index: Index
    signatures: SealedSignatures


def certificate_row(s: RaftState) -> Put:
    """The write that keeps the certificate of the snapshot that Raft holds."""
    kept = SnapshotCertificate(s.log_id, s.snapshot_index, s.snapshot_certificate)
    return put_record(META_TABLE, CERTIFICATE_KEY, kept)


def restore_certificate(s: RaftState, meta: Mapping[bytes, bytes]) -> None:
    """Give Raft's restored snapshot the certificate that was kept for it."""
    row = meta.get(CERTIFICATE_KEY)
    kept = decode_struct(SnapshotCertificate, row) if row is not None else None
    if kept is not None and (kept.log_id, kept.index) == (s.log_id, s.snapshot_index):
        s.snapshot_certificate = kept.signatures
