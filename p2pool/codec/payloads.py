"""Messages as canonical bytes.

The payload of an envelope is the array
    [type, version, node_id, incarnation, sequence, sent_at_ms, fields..., ext]
where `ext` maps unsigned keys to values: a reader skips unknown even keys and
refuses unknown odd ones (they change the meaning). `model.messages` declares number and version;
the bytes of each message are pinned in `tests/golden/messages.json`.

A signed message is a proof for as long as somebody keeps it, so kept messages are also read in
their earlier versions (`EARLIER`); its sender sends a message in its own version.
"""

from collections.abc import Callable, Mapping

import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import from_value, lowest_level, to_value
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, DIGEST_BYTES, Digest, NodeId
from p2pool.model.log.state_digests import DigestAlgorithm, state_digest
from p2pool.model.messages.certificates import CertificateSigned
from p2pool.model.messages.registry import DECLARATIONS, TYPES, Header, Message

HEADER_FIELDS = 6
KNOWN_EXT_KEYS: frozenset[int] = frozenset()

Ext = Mapping[int, canonical.Value]
NO_EXT: Ext = {}
Fields = list[canonical.Value]

STATE_DIGEST_AT = 6
"""Where a `CertificateSigned` has the digest of the state."""


def _with_algorithm(fields: Fields) -> Fields:
    """The digest that release 0.1.0 signed does not name its algorithm, which is 0."""
    made = fields[STATE_DIGEST_AT] if len(fields) > STATE_DIGEST_AT else None
    if type(made) is not bytes or len(made) != DIGEST_BYTES:
        raise Malformed("CertificateSigned.state_digest is not a digest.")
    named = state_digest(DigestAlgorithm.ARRAY, Digest(made))
    return [*fields[:STATE_DIGEST_AT], named, *fields[STATE_DIGEST_AT + 1 :]]


EARLIER: Mapping[tuple[int, int], Callable[[Fields], Fields]] = {
    (DECLARATIONS[CertificateSigned].number, 1): _with_algorithm,
}
"""By number and version: how the fields of a message that was kept become those of today."""


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
    """Payload bytes of a message, in the oldest form that says all of it; `Malformed` if it exceeds
    its own bounds."""
    check_ext(ext)
    declared = DECLARATIONS[type(message)]
    return canonical.encode(
        [
            declared.number,
            declared.version,
            header.node_id,
            header.incarnation,
            header.sequence,
            header.sent_at_ms,
            *to_value(message, lowest_level(message)),
            dict(ext),
        ]
    )


def payload_of(value: canonical.Value, *, kept: bool = False) -> Payload:
    """The message of a decoded payload; `Malformed` (the sender's fault) for any other value.
    `kept`: it was kept or handed on, and may be of an earlier version."""
    cls, node_id = head_of(value, kept=kept)
    assert isinstance(value, list)
    numbers = value[3:HEADER_FIELDS]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise Malformed("Incarnation, sequence and time are unsigned integers.")
    ext = value[-1]
    if not isinstance(ext, dict):
        raise Malformed("A message ends with a map of extensions.")
    check_ext(ext)
    fields = value[HEADER_FIELDS:-1]
    earlier = EARLIER.get((value[0], value[1]))
    message = from_value(cls, fields if earlier is None else earlier(fields))
    incarnation, sequence, sent_at_ms = numbers
    return Payload(
        node_id=node_id,
        incarnation=incarnation,
        sequence=sequence,
        sent_at_ms=sent_at_ms,
        message=message,
        ext=ext,
    )


def head_of(value: canonical.Value, *, kept: bool = False) -> tuple[type[Message], NodeId]:
    """Class and sender of a decoded payload: enough to know what its signature must cover."""
    if not isinstance(value, list) or len(value) <= HEADER_FIELDS:
        raise Malformed("A message is an array of a header, fields and extensions.")
    number, version, node_id = value[:3]
    if type(number) is not int or number not in TYPES:
        raise Malformed("The message is of an unknown type.", hint="Its sender may be newer.")
    cls = TYPES[number]
    if type(version) is not int or not (
        version == DECLARATIONS[cls].version or (kept and (number, version) in EARLIER)
    ):
        raise Malformed("The message is of an unknown version.", hint="Its sender may be newer.")
    if type(node_id) is not bytes or len(node_id) != ADDRESS_BYTES:
        raise Malformed("The sender's node id is not 20 bytes.")
    return cls, NodeId(node_id)


def check_ext(ext: Mapping[int, canonical.Value]) -> None:
    """Refuse too many extensions, and critical ones that this program does not know."""
    if len(ext) > limits.EXT_FIELDS_MAX:
        raise Malformed(f"A message has more than {limits.EXT_FIELDS_MAX} extensions.")
    unknown = sorted(key for key in ext if key % 2 and key not in KNOWN_EXT_KEYS)
    if unknown:
        raise Malformed(f"Critical extension {unknown[0]} is not known here.")
