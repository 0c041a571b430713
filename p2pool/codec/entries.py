"""Bodies of log entries, and snapshots, as bytes.

Invariant: what a body says depends on its bytes and on the feature level of the log where it is
applied, never on what else the reader knows. So replicas of different versions read alike: a kind,
or a field, that is of a later level than the log's is as if it were not known.
"""

from collections.abc import Mapping

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import (
    Shape,
    encode_struct,
    form_of,
    from_value,
    lowest_level,
    to_value,
)
from p2pool.model import limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel, newest
from p2pool.model.log import entries
from p2pool.model.log.raft import Configuration, Entry, EntryKind, Snapshot

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
    EntryKind.FEATURE_LEVEL: entries.LevelRaised,
}
"""The class of the body of each kind of log entry."""


SNAPSHOT_FORMAT = "p2pool/snapshot"
SNAPSHOT_FORMAT_NUMBER = 1


KINDS_SINCE: dict[EntryKind, FeatureLevel] = {}
"""The level that a kind of entry came with, where that is not the first."""


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
    | entries.LevelRaised
)
"""Body of any entry."""


def kind_since(kind: EntryKind) -> FeatureLevel:
    """The level that a kind of entry came with."""
    return KINDS_SINCE.get(kind, BASE_LEVEL)


def encode_body(record: Record, level: FeatureLevel = BASE_LEVEL) -> tuple[EntryKind, bytes]:
    """Kind and body bytes of an entry for a log of a level; `Malformed` when the body is too long
    for one. A record that the level does not have is our own bug."""
    kind = KINDS[type(record)]
    assert kind_since(kind) <= level, f"{kind.name} is of level {kind_since(kind)}, not {level}"
    body = encode_struct(record, level)
    if len(body) > limits.ENTRY_MAX_BYTES:
        raise Malformed(f"A log entry has {limits.ENTRY_MAX_BYTES} bytes at most.")
    return kind, body


def decode_body(kind: int, body: bytes, level: FeatureLevel = BASE_LEVEL) -> Record | None:
    """The record of an entry in a log of a level: of that level, or of one before it. None for a
    kind that is not known, or came later; `Malformed` for a body that is neither."""
    if kind not in KIND_NUMBERS or kind_since(EntryKind(kind)) > level:
        return None
    shape = Shape(level, exact=False)
    record: Record = form_of(RECORDS[EntryKind(kind)], shape).read(canonical.decode(body))
    return record


def read_entry(entry: Entry) -> tuple[str | None, Record | None]:
    """Why an entry's body is none of its kind, whichever version reads it, or None; and what it
    says: None where only a later version can read it."""
    try:
        return None, decode_body(entry.kind, entry.body, newest())
    except TooNew:
        return None, None
    except Malformed as error:
        name = EntryKind(entry.kind).name.lower()
        return f"its body is not that of a {name} entry: {error}", None


def encode_configuration(configuration: Configuration) -> tuple[EntryKind, bytes]:
    """Kind and body of a configuration's entry, in the oldest form that says all of it."""
    return encode_body(configuration, lowest_level(configuration))


def configuration_in(entry: Entry) -> Configuration | None:
    """The configuration in an entry; None for any other entry, and for a body that is malformed.

    It counts from when it is in the log, before it is applied (thesis, 4.1): so it depends on the
    bytes alone, not on the level of the log, and a body that every replica skips changes nothing.
    """
    if entry.kind != EntryKind.CONFIGURATION:
        return None
    try:
        record = decode_body(entry.kind, entry.body, DISTRUST_LEVEL)
    except Malformed:
        return None
    assert isinstance(record, Configuration)
    return record if record.flaw is None else None


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot as it travels in chunks and is kept on disk: `["p2pool/snapshot", 1, fields]`."""
    fields = to_value(snapshot, lowest_level(snapshot))
    return canonical.encode([SNAPSHOT_FORMAT, SNAPSHOT_FORMAT_NUMBER, fields])


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
