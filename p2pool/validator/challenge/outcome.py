"""What came of asking one node, and which finding of the policy that is.

Invariants: a finding has the digest of its evidence as its id, or where there is none, a digest of
what it says, so the same is never two; what is our own fault, or nobody's, is inconclusive. Pure.
"""

import hashlib
from enum import StrEnum

import attrs

from p2pool.codec.validation import evidence_digest
from p2pool.model.ids import Address, NodeId
from p2pool.model.messages.challenge import DeclineCode
from p2pool.model.validation.evidence import (
    PROVEN,
    Conclusion,
    Evidence,
    Fault,
    Transcript,
)
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.validator.policy.findings import WHOLE_PPM, Finding, FindingKind, kind_of_faults

DOMAIN = b"p2pool/validator-finding/1\x00"


class Unchallenged(StrEnum):
    """Why there is no evidence."""

    OFFLINE = "offline"
    """It cannot be reached, or does not answer."""
    DECLINED = "declined"
    """It says why it takes no challenge now."""
    MISSPOKE = "misspoke"
    """It answers with what is no answer."""
    NO_PLAN = "no_plan"
    """What it claims cannot be challenged: a model that the table of figures does not have."""
    CUT_OFF = "cut_off"
    """We reach nobody: that says nothing of the node."""
    NOT_KEPT = "not_kept"
    """What came of it could not be concluded, signed or kept here."""


@attrs.frozen
class Outcome:
    """Of one node: a verdict, or why there is none. `code`, `reason`, `retry_at_ms`: as the node
    declined, if it did."""

    node_id: NodeId
    why: Unchallenged | None = None
    verdict: SignedVerdict | None = None
    code: str = ""
    reason: str = ""
    retry_at_ms: int = 0


_NOBODYS_FAULT = frozenset(
    {
        DeclineCode.BUSY,
        DeclineCode.TOO_OFTEN,
        DeclineCode.NO_GPUS,
        DeclineCode.NOT_VALIDATOR,
        DeclineCode.ROLE_UNKNOWN,
    }
)
"""Codes that speak against no node: another validator came first, or its chain is behind ours, or
does not answer it."""

_KINDS = {
    Unchallenged.OFFLINE: FindingKind.OFFLINE,
    Unchallenged.DECLINED: FindingKind.REFUSED,
    Unchallenged.MISSPOKE: FindingKind.BAD_ANSWER,
}


_MILDER = frozenset({FindingKind.OFFLINE, FindingKind.LATE})
"""What a cheat would rather be called than what its openings show."""


def is_unopened(transcript: Transcript) -> bool:
    """Whether a node had the secret, and showed nothing."""
    ended = transcript.ended
    opening = len(transcript.steps) == transcript.challenge.plan.steps
    return ended is not None and ended.fault is Fault.NO_ANSWER and opening


def finding_of_evidence(evidence: Evidence, provider: Address) -> Finding:
    """What evidence counts as. Of several devices only those that failed are missing."""
    challenge = evidence.transcript.challenge
    faults = [one.fault for one in evidence.faults]
    if evidence.conclusion is Conclusion.VALID:
        kind = FindingKind.PASSED
    else:
        kind = kind_of_faults(one.value for one in faults)
        if kind in _MILDER and is_unopened(evidence.transcript):
            kind = FindingKind.UNOPENED
    failed = {one.device for one in evidence.faults}
    devices = len(challenge.plan.devices)
    whole = not failed or -1 in failed
    return Finding(
        finding_id=evidence_digest(evidence),
        validator=challenge.validator,
        provider=provider,
        node_id=challenge.node_id,
        kind=kind,
        at_ms=evidence.concluded_at_ms,
        shortfall_ppm=WHOLE_PPM if whole else WHOLE_PPM * len(failed) // devices,
        proven=any(one in PROVEN for one in faults),
    )


def finding_of_outcome(
    outcome: Outcome, validator: Address, provider: Address, at_ms: int
) -> Finding:
    """What it counts as that a node was not challenged."""
    assert outcome.why is not None
    kind = _KINDS.get(outcome.why, FindingKind.INCONCLUSIVE)
    if outcome.why is Unchallenged.DECLINED and outcome.code in _NOBODYS_FAULT:
        kind = FindingKind.INCONCLUSIVE
    told = hashlib.sha256(DOMAIN)
    told.update(kind.encode().ljust(16, b"\x00") + validator + provider + outcome.node_id)
    told.update(at_ms.to_bytes(8, "big"))
    return Finding(
        finding_id=told.digest(),
        validator=validator,
        provider=provider,
        node_id=outcome.node_id,
        kind=kind,
        at_ms=at_ms,
    )


def sentence_of(outcome: Outcome) -> str:
    """Why, for a person who reads the log or the index."""
    if outcome.verdict is not None:
        concluded = outcome.verdict.verdict.conclusion.value
        return f"{concluded}: {outcome.reason}" if outcome.reason else concluded
    assert outcome.why is not None
    parts = [outcome.why.value, outcome.code, outcome.reason]
    return ": ".join(part for part in parts if part)
