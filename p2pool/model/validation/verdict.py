"""A validator's conclusion about a node: what travels and is shown in place of its evidence.

Intuition: evidence has megabytes, a verdict 250 bytes. Both carry the same signature, for a
validator signs the node, the conclusion, the time and the evidence's digest, in words
(`wire.validation`). So whoever makes a document has made its verdict, and no validator can say one
thing in the verdict and another in the evidence that it names.

Invariant: what the signature does not cover has one form: `concluded_at_ms` is a whole second, as
it was signed. So one piece of evidence has one verdict. Source: docs/design/validation.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Address, Digest, NodeId, PoolRef
from p2pool.model.validation.conclusion import Conclusion


@attrs.frozen
class Verdict:
    """What a validator says of a node. `evidence`: the digest that its signature names
    (`codec.validation.evidence_digest`)."""

    pool: PoolRef
    validator: Address
    node_id: NodeId
    conclusion: Conclusion
    evidence: Digest
    concluded_at_ms: Annotated[int, bounded(number=limits.LOG_NUMBER_MAX)]

    @property
    def order(self) -> tuple[int, Digest]:
        """Of two verdicts by one validator on one node, the greater one is the newer; of one
        second, all take the same."""
        return self.concluded_at_ms, self.evidence


@attrs.frozen
class SignedVerdict:
    """With the validator's signature, which is that of its evidence."""

    verdict: Verdict
    signature: Annotated[bytes, bounded(exact_bytes=ETH_SIGNATURE_BYTES)]


@attrs.frozen
class StoredDocument:
    """What an agent notes of a document of evidence that it keeps. `challenge`: the id of its
    challenge, for of one there is one document."""

    verdict: SignedVerdict
    challenge: Digest
    size_bytes: Annotated[int, bounded(number=limits.EVIDENCE_DOCUMENT_MAX_BYTES)]


@attrs.frozen
class Contradiction:
    """Two documents of one challenge by one validator, which so proves that it says what it likes:
    `first` came first here."""

    first: StoredDocument
    second: StoredDocument
