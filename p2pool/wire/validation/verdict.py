"""A verdict from its evidence, and who signed a verdict.

Intuition: the validator signs once, under its evidence; the verdict is the signed words without
what they are about. Invariant: a verdict that verifies was made by nobody but the account that it
names, from whatever document its digest names; whether that account is a validator's, the chain
says, and the caller asks. Source: docs/design/validation.md, "The document".
"""

from typing import Any

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_digest
from p2pool.model.errors import BadSignature, Malformed, NotForUs
from p2pool.model.ids import PoolRef
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.model.validation.verdict import SignedVerdict, Verdict
from p2pool.wire import eip712
from p2pool.wire.validation.evidence import VALIDATION_FIELDS


def verdict_of(signed: SignedEvidence) -> SignedVerdict:
    """The verdict that was signed with evidence."""
    evidence = signed.evidence
    challenge = evidence.transcript.challenge
    verdict = Verdict(
        pool=challenge.pool,
        validator=challenge.validator,
        node_id=challenge.node_id,
        conclusion=evidence.conclusion,
        evidence=evidence_digest(evidence),
        concluded_at_ms=evidence.concluded_at_ms // 1000 * 1000,
    )
    return SignedVerdict(verdict, signed.signature)


def verdict_typed_data(verdict: Verdict) -> dict[str, Any]:
    """What the validator's account signed: the same as under the evidence."""
    data = {
        "poolId": verdict.pool.pool_id,
        "node": address_text(verdict.node_id),
        "conclusion": verdict.conclusion.value,
        "evidence": verdict.evidence,
        "concludedAt": verdict.concluded_at_ms // 1000,
    }
    return eip712.full_message(verdict.pool, "Validation", VALIDATION_FIELDS, data)


def check_verdict(pool: PoolRef, signed: SignedVerdict) -> None:
    """A `Refusal` unless a verdict is of this pool, in its one form, and signed by the validator
    that it names."""
    verdict = signed.verdict
    if verdict.pool != pool:
        raise NotForUs(f"The verdict is of pool {verdict.pool.pool_id}, not of {pool.pool_id}.")
    if verdict.concluded_at_ms % 1000:
        raise Malformed("The time of a verdict is a whole second.")
    digest = eip712.typed_digest(verdict_typed_data(verdict))
    if eip712.recover(digest, signed.signature) != verdict.validator:
        raise BadSignature("Another account than the validator that it names signed the verdict.")
