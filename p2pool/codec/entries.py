"""Bodies of log entries, and snapshots, as bytes."""

from collections.abc import Mapping

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import decode_struct, encode_struct, from_value, to_value
from p2pool.model import limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.log import entries
from p2pool.model.log.raft import Configuration, EntryKind, Snapshot

RECORDS: Mapping[EntryKind, type] = {
    EntryKind.NOOP: entries.Noop,
    EntryKind.CONFIGURATION: Configuration,
    EntryKind.REQUEST: entries.RequestApplied,
    EntryKind.PLACEMENT: entries.Placement,
    EntryKind.REPORT: entries.ReportApplied,
    EntryKind.NODE: entries.NodeChanged,
    EntryKind.SETTING: entries.Setting,
    EntryKind.REVOCATION: entries.Revocation,
    EntryKind.MEMBERSHIP: entries.NodesMoved,
    EntryKind.HOLD: entries.ReplacementHeld,
    EntryKind.ADOPTION: entries.Adopted,
    EntryKind.CERTIFY: entries.Certify,
    EntryKind.CERTIFICATE: entries.ChangeCertified,
}
"""The class of the body of each kind of log entry."""


SNAPSHOT_FORMAT = "p2pool/snapshot"
SNAPSHOT_FORMAT_NUMBER = 1

KIND_NUMBERS = frozenset(int(kind) for kind in RECORDS)


KINDS: Mapping[type, EntryKind] = {cls: kind for kind, cls in RECORDS.items()}


Record = (
    entries.Noop
    | Configuration
    | entries.RequestApplied
    | entries.Placement
    | entries.ReportApplied
    | entries.NodeChanged
    | entries.Setting
    | entries.Revocation
    | entries.Adopted
    | entries.Certify
    | entries.ChangeCertified
    | entries.NodesMoved
    | entries.ReplacementHeld
)
"""Body of any entry."""


def encode_body(record: Record) -> tuple[EntryKind, bytes]:
    """Kind and body bytes of an entry; `Malformed` when the body is too long for one."""
    body = encode_struct(record)
    if len(body) > limits.ENTRY_MAX_BYTES:
        raise Malformed(f"A log entry has {limits.ENTRY_MAX_BYTES} bytes at most.")
    return KINDS[type(record)], body


def decode_body(kind: int, body: bytes) -> Record | None:
    """The record of an entry, or None for a kind that this version does not know."""
    if kind not in KIND_NUMBERS:
        return None
    record: Record = decode_struct(RECORDS[EntryKind(kind)], body)
    return record


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot as it travels in chunks and is kept on disk: `["p2pool/snapshot", 1, fields]`."""
    return canonical.encode([SNAPSHOT_FORMAT, SNAPSHOT_FORMAT_NUMBER, to_value(snapshot)])


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in these bytes; `Malformed` for any others, `TooNew` for a later format."""
    value = canonical.decode(data)
    if not isinstance(value, list) or len(value) != 3 or value[0] != SNAPSHOT_FORMAT:
        raise Malformed("These bytes are no snapshot.")
    _, number, fields = value
    if type(number) is not int or number < 1:
        raise Malformed("The format of a snapshot is a number from 1.")
    if number > SNAPSHOT_FORMAT_NUMBER:
        raise TooNew(
            f"The snapshot is in format {number}, and this version knows "
            f"{SNAPSHOT_FORMAT_NUMBER}: a newer version of p2pool wrote it."
        )
    return from_value(Snapshot, fields)
