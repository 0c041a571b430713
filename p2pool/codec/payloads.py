"""Messages, log entries and records as canonical bytes, and the digests that name them.

The payload of an envelope is the array
    [type, version, node_id, incarnation, sequence, sent_at_ms, fields..., ext]
where `ext` maps unsigned keys to values: a reader skips even keys that it does not know and refuses
odd ones (they change the meaning). Changing a message's fields means a new version; the bytes of
each are pinned in `tests/golden/messages.json`.

Digests are SHA-256 over canonical CBOR that begins with what is being named, so that no two kinds
of thing share a digest. A task's id leaves the signature out: the same request signed twice is the
same task.
"""

import hashlib
from collections.abc import Mapping

import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import decode_struct, encode_struct, from_value, to_value
from p2pool.model import limits
from p2pool.model.access.requests import TaskRequest
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, TASK_ID_BYTES, Digest, NodeId, PoolRef, TaskId
from p2pool.model.log import entries
from p2pool.model.log.raft import Configuration, EntryKind, Snapshot, Voter
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.registry import TYPES, Header, Message

MESSAGE_VERSION = 1
HEADER_FIELDS = 6
KNOWN_EXT_KEYS: frozenset[int] = frozenset()

TYPE_NUMBERS: Mapping[type, int] = {cls: number for number, cls in TYPES.items()}

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

KIND_NUMBERS = frozenset(int(kind) for kind in RECORDS)
KINDS: Mapping[type, EntryKind] = {cls: kind for kind, cls in RECORDS.items()}

Record = (
    entries.Noop | Configuration | entries.RequestApplied | entries.Placement
    | entries.ReportApplied | entries.NodeChanged | entries.Setting | entries.Revocation
    | entries.Adopted
    | entries.Certify | entries.ChangeCertified
    | entries.NodesMoved | entries.ReplacementHeld
)  # fmt: skip
"""Body of any entry."""

Ext = Mapping[int, canonical.Value]
NO_EXT: Ext = {}


@attrs.frozen
class Payload:
    """A decoded payload: what it says of its sender (all but the peer key), message and `ext`."""

    node_id: NodeId
    incarnation: int
    sequence: int
    sent_at_ms: int
    message: Message
    ext: Ext


def encode_payload(header: Header, message: Message, ext: Ext = NO_EXT) -> bytes:
    """Payload bytes of a message; `Malformed` where it is over its own bounds."""
    check_ext(ext)
    number = TYPE_NUMBERS[type(message)]
    return canonical.encode(
        [
            number,
            MESSAGE_VERSION,
            header.node_id,
            header.incarnation,
            header.sequence,
            header.sent_at_ms,
            *to_value(message),
            dict(ext),
        ]
    )


def decode_payload(data: bytes) -> Payload:
    """The message of payload bytes; `Malformed` (the sender's fault) for any others."""
    return payload_of(canonical.decode(data))


def payload_of(value: canonical.Value) -> Payload:
    """The message of a decoded payload."""
    cls, node_id = head_of(value)
    assert isinstance(value, list)
    numbers = value[3:HEADER_FIELDS]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Malformed("Incarnation, sequence and time are unsigned integers.")
    ext = value[-1]
    if not isinstance(ext, dict):
        raise Malformed("A message ends with a map of extensions.")
    check_ext(ext)
    message: Message = from_value(cls, value[HEADER_FIELDS:-1])
    incarnation, sequence, sent_at_ms = numbers
    return Payload(node_id, incarnation, sequence, sent_at_ms, message, ext)


def head_of(value: canonical.Value) -> tuple[type, NodeId]:
    """Class and sender of a decoded payload: enough to know what its signature must cover."""
    if not isinstance(value, list) or len(value) <= HEADER_FIELDS:
        raise Malformed("A message is an array of a header, fields and extensions.")
    number, version, node_id = value[:3]
    if type(number) is not int or number not in TYPES:
        raise Malformed("The message is of an unknown type.", hint="Its sender may be newer.")
    if type(version) is not int or version != MESSAGE_VERSION:
        raise Malformed("The message is of an unknown version.", hint="Its sender may be newer.")
    if type(node_id) is not bytes or len(node_id) != ADDRESS_BYTES:
        raise Malformed("The sender's node id is not 20 bytes.")
    return TYPES[number], NodeId(node_id)


def check_ext(ext: Mapping[int, canonical.Value]) -> None:
    """Refuse too many extensions, and those that must be understood and are not."""
    if len(ext) > limits.EXT_FIELDS_MAX:
        raise Malformed(f"A message has more than {limits.EXT_FIELDS_MAX} extensions.")
    unknown = sorted(key for key in ext if key % 2 and key not in KNOWN_EXT_KEYS)
    if unknown:
        raise Malformed(f"Critical extension {unknown[0]} is not known here.")


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
    """A snapshot as it travels in chunks and is kept on disk."""
    return encode_struct(snapshot)


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot in these bytes; `Malformed` for any others."""
    return decode_struct(Snapshot, data)


def digest(data: bytes) -> Digest:
    """SHA-256."""
    return Digest(hashlib.sha256(data).digest())


def _named(purpose: str, *parts: canonical.Value) -> Digest:
    """Digest of canonical bytes that begin with what is being named."""
    return digest(canonical.encode(["p2pool/1", purpose, *parts]))


def log_id(pool: PoolRef, root: RootRecord) -> Digest:
    """Name of the log that a root record founds."""
    return _named("log", to_value(pool), to_value(root))


def configuration_hash(configuration: Configuration) -> Digest:
    """Digest of a configuration, as votes and certificates state it."""
    return _named("configuration", to_value(configuration))


def committee_hash(voters: tuple[Voter, ...]) -> Digest:
    """Digest of the voters alone, as certificates state it: learners count nowhere."""
    return configuration_hash(Configuration(voters))


def hardware_digest(hardware: Hardware) -> Digest:
    """Digest of a hardware record, as heartbeats state it."""
    return _named("hardware", to_value(hardware))


def task_id(pool: PoolRef, request: TaskRequest) -> TaskId:
    """Name of the task (or other act) that a request asks for, whoever signed it, however often."""
    return TaskId(_named("request", to_value(pool), to_value(request))[:TASK_ID_BYTES])
