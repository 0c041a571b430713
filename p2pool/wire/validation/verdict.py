"""A verdict from its evidence, and who signed a verdict.

Intuition: the validator signs once, under its evidence; the verdict is the signed words without
what they are about. Invariant: a verdict that verifies was made by nobody but the account that it
names, from whatever document its digest names; whether that account is a validator's, the chain
says, and the caller asks. Source: docs/design/validation.md, "The document".
"""

from typing import Any

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_digest
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import BadSignature, Malformed, NotForUs, Refusal
from p2pool.model.ids import PoolRef
from p2pool.model.messages.challenge import VerdictTold
from p2pool.model.messages.registry import Message
from p2pool.model.messages.verdicts import EvidenceOffered, VerdictOffered, VerdictsAnnounced
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


def verdicts_in(message: Message) -> tuple[SignedVerdict, ...]:
    """The verdicts that a message carries."""
    if isinstance(message, VerdictOffered | VerdictTold | EvidenceOffered):
        return (message.verdict,)
    return message.verdicts if isinstance(message, VerdictsAnnounced) else ()


@attrs.define
class VerdictCache:
    """Checks verdicts of one pool, each once as long as it is remembered; not thread-safe. The same
    ones come again and again, for members repeat them."""

    pool: PoolRef
    most: int = limits.VERDICTS_CHECKED_MAX
    _known: BoundedDict[SignedVerdict, bool] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def is_good(self, signed: SignedVerdict) -> bool:
        """Whether a verdict is one of this pool by the validator that it names."""
        if signed in self._known:
            self._known.move_to_end(signed)
            return self._known[signed]
        try:
            check_verdict(self.pool, signed)
        except Refusal:
            self._known[signed] = False
        else:
            self._known[signed] = True
        return self._known[signed]

    def unknown_in(self, message: Message) -> int:
        """How many verdicts in a message would have to be checked."""
        return sum(one not in self._known for one in verdicts_in(message))
