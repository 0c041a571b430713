"""Evidence of a validation as a document: canonical bytes, the same for whoever writes them.

Intuition: a document is the evidence, as the validator signed its digest, and the signature behind
it. So whoever keeps documents for others sees by a hash alone that one is what was signed; only who
judges it has to read it.

Invariant: `evidence_of(b)` either raises `Malformed` or gives evidence with
`evidence_bytes(evidence) == b`; size and items are bounded before a value is built.
Source: docs/design/validation.md, "The document".
"""

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import from_value, to_value
from p2pool.codec.digests import digest
from p2pool.model import limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Digest
from p2pool.model.validation.evidence import Evidence, SignedEvidence
from p2pool.model.validation.transcript import Challenge

FORMAT = "p2pool validation"
VERSION = 1
_HEAD = canonical.encode([FORMAT, VERSION, None])[:-1]
"""An array of three: the format, the version, and then what is to be told."""
_SIGNED, _EVIDENCE, _TRANSCRIPT = (canonical.join([b""] * count) for count in (2, 5, 5))
"""The heads of a document's arrays, down to the challenge."""
_TAIL_BYTES = len(canonical.encode(bytes(ETH_SIGNATURE_BYTES)))
"""The signature, at the end."""


def evidence_bytes(signed: SignedEvidence) -> bytes:
    """The document."""
    return canonical.encode([FORMAT, VERSION, to_value(signed)])


def evidence_of(data: bytes) -> SignedEvidence:
    """The evidence in a document; `Malformed` for any other bytes."""
    if len(data) > limits.EVIDENCE_DOCUMENT_MAX_BYTES:
        raise Malformed(
            f"Evidence has at most {limits.EVIDENCE_DOCUMENT_MAX_BYTES} bytes.",
        )
    value = canonical.decode(data, limits.EVIDENCE_ITEMS_MAX)
    if not isinstance(value, list) or len(value) != 3 or value[0] != FORMAT:
        raise Malformed("It is no evidence of a validation.")
    if value[1] != VERSION:
        raise TooNew(f"The evidence is of form {value[1]}; this version knows {VERSION}.")
    return from_value(SignedEvidence, value[2])


def evidence_digest(evidence: Evidence) -> Digest:
    """What the validator signs, and by what others name the evidence."""
    return digest(canonical.encode([FORMAT, VERSION, to_value(evidence)]))


def document_digest(data: bytes) -> Digest:
    """`evidence_digest` of what these bytes would hold, without reading it: where it is the one
    that a validator signed, they are what it signed, well-formed or not. `Malformed` for bytes that
    do not even begin as a document."""
    if not data.startswith(_HEAD + _SIGNED) or len(data) < len(_HEAD) + 1 + _TAIL_BYTES:
        raise Malformed("It is no evidence of a validation.")
    return digest(_HEAD + data[len(_HEAD) + 1 : -_TAIL_BYTES])


def document_signature(data: bytes) -> bytes:
    """The signature at the end of bytes that have a digest."""
    return data[-ETH_SIGNATURE_BYTES:]


def document_challenge(data: bytes) -> Challenge:
    """The challenge at the beginning of a document; nothing else of it is read."""
    at = _HEAD + _SIGNED + _EVIDENCE + _TRANSCRIPT
    if not data.startswith(at):
        raise Malformed("It is no evidence of a validation.")
    item = canonical.item_at(data, len(at), limits.CHALLENGE_ITEMS_MAX)
    if len(item) > limits.CHALLENGE_MAX_BYTES:
        raise Malformed(f"A challenge has at most {limits.CHALLENGE_MAX_BYTES} bytes.")
    return from_value(Challenge, canonical.decode(item, limits.CHALLENGE_ITEMS_MAX))
