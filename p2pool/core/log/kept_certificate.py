"""The certificate of a log's snapshot, on the disk beside it.

Intuition: a voter installs a snapshot only with a quorum's signatures over it. Where one of three
voters is down and another one needs the snapshot, nobody can sign it again, so what was signed
outlives a restart.

A giver may send any bytes beside a true snapshot. So what is kept is what was checked, wherever it
came from (`follower.certificate_exchange`), never what came with the snapshot.

Invariants: it counts for exactly the snapshot of that index in that log, and it was checked against
a committee that this node knows; without it the snapshot waits for the next certificate.
"""

from collections.abc import Mapping

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.entries import decode_snapshot
from p2pool.codec.rows import put_record
from p2pool.core.fsm.storage.rows import digest_in
from p2pool.core.raft.state import RaftState
from p2pool.model.field_bounds import Index, SealedSignatures
from p2pool.model.ids import Digest, StateDigest
from p2pool.model.ports.store import Put

META_TABLE = "meta"
CERTIFICATE_KEY = b"log.certificate"


@attrs.frozen
class SnapshotCertificate:
    """A quorum's sealed signatures over the state in a log's snapshot at an index."""

    log_id: Digest
    index: Index
    signatures: SealedSignatures


@attrs.frozen
class CertifiedState:
    """The digest of the state at an index, and the checked signatures of a quorum over it."""

    digest: StateDigest
    signatures: tuple[bytes, ...] = attrs.field(repr=False)


def give_certificate(s: RaftState, certified: Mapping[int, CertifiedState]) -> None:
    """Give Raft's snapshot the signatures that were checked for its state, if it has none."""
    found = certified.get(s.snapshot_index)
    if found is None or s.snapshot is None or s.snapshot_certificate:
        return
    if digest_in(decode_snapshot(s.snapshot).state) == found.digest:
        s.snapshot_certificate = found.signatures


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
