"""What comes of a challenge, with all that somebody else needs to come to the same.

Intuition: some faults prove themselves: a node signed a root, and the row that lies under it is
wrong. Others are the validator's word: the answer came late, or not at all. A reader is told which
is which (`PROVEN`), because a validator may lie about the second kind alone.

Invariant: the conclusion follows from the other fields, so a validator that concludes otherwise is
found out by its own evidence. Source: docs/design/validation.md.
"""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import AccountSignature, bounded
from p2pool.model.ids import Digest
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.validation.conclusion import Conclusion as Conclusion
from p2pool.model.validation.transcript import Challenge, Openings, SignedCommitment


class Fault(StrEnum):
    """Why a claim is not shown."""

    WRONG_PRODUCT = "wrong-product"
    WRONG_MEMORY = "wrong-memory"
    BAD_OPENING = "bad-opening"
    SLOW_FILL = "slow-fill"
    SLOW_PRODUCT = "slow-product"
    SLOW_MEMORY = "slow-memory"
    NO_ANSWER = "no-answer"
    BAD_ANSWER = "bad-answer"
    DECLINED = "declined"


PROVEN = frozenset({Fault.WRONG_PRODUCT, Fault.WRONG_MEMORY})
"""What the node's own signature proves; for anything else the validator's word is all there is."""

EXCUSED = frozenset({Fault.DECLINED})
"""What says nothing of a claim: a leased GPU is not challenged."""


@attrs.frozen
class ShownFault:
    """A fault, and where: the step, and the device where one is to blame, else -1."""

    fault: Fault
    step: int
    device: int = -1


@attrs.frozen
class Step:
    """A node's answer, and how long it took by the validator's clock."""

    answer: SignedCommitment
    elapsed_ms: Annotated[int, bounded(number=limits.CHALLENGE_STEP_MAX_MS)]


@attrs.frozen
class Transcript:
    """All that was said in a challenge. `ended`: what ended it early, as the validator saw it. A
    challenge that came to its end has as many steps as its plan."""

    challenge: Challenge
    secret: Digest
    steps: Annotated[tuple[Step, ...], bounded(items=limits.CHALLENGE_STEPS_MAX)] = ()
    openings: Openings = Openings()
    ended: ShownFault | None = None


@attrs.frozen
class Evidence:
    """A transcript and what follows from it. `binding`: that the peer key is the node's, or a
    validator could answer in a node's place."""

    transcript: Transcript
    binding: PeerBinding
    conclusion: Conclusion
    faults: Annotated[tuple[ShownFault, ...], bounded(items=limits.CHALLENGE_FAULTS_MAX)]
    concluded_at_ms: int


@attrs.frozen
class SignedEvidence:
    """With the signature of the account that the challenge names as the validator."""

    evidence: Evidence
    signature: AccountSignature
