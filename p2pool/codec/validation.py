"""Evidence of a validation as a document: canonical bytes, the same for whoever writes them.

Invariant: `evidence_of(b)` either raises `Malformed` or gives evidence with
`evidence_bytes(evidence) == b`; size and items are bounded before a value is built.
Source: docs/design/validation.md, "The document".
"""

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import from_value, to_value
from p2pool.codec.digests import digest
from p2pool.model import limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.ids import Digest
from p2pool.model.validation.evidence import Evidence, SignedEvidence

FORMAT = "p2pool validation"
VERSION = 1


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
