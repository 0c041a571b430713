"""What validators found of nodes, as the policy weighs it.

Intuition: a finding is the short form of a check, whose evidence lies elsewhere and is named by its
digest. The policy knows no challenge and no proof: it counts what was found, by whom, when.

Invariants: a finding is of one validator, one node and one time; its id is a digest of its
evidence, so the same evidence is the same finding. What could not be decided is inconclusive, and
counts for nothing.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import attrs

from p2pool.model.ids import Address, NodeId

WHOLE_PPM = 1_000_000
"""All of what a node claims."""


class FindingKind(StrEnum):
    """What a check found. Each but the first two is a failure, and has a rule of its own."""

    PASSED = "passed"
    """It showed what it claims."""
    INCONCLUSIVE = "inconclusive"
    """Nobody can say: a window that was missed, an endpoint that did not answer, our own fault."""
    OFFLINE = "offline"
    """It did not answer, or not to us."""
    REFUSED = "refused"
    """It declined to be checked by us, as a node whose devices are leased may: it is a failure only
    of one that answers others meanwhile."""
    BAD_ANSWER = "bad_answer"
    """What it answered cannot be checked: it is malformed, or not of what it committed to."""
    UNOPENED = "unopened"
    """It fell silent, or declined, when it had the secret and had to open what was drawn: by then a
    cheat knows that it is caught, so this is no mere absence."""
    LATE = "late"
    """It answered rightly, and after the time that its hardware needs."""
    SHORT_MEMORY = "short_memory"
    """It holds less memory than it claims."""
    FEWER_DEVICES = "fewer_devices"
    """It shows fewer devices at one time than it claims, or one twice."""
    WRONG_PRODUCT = "wrong_product"
    """What it computed is wrong, or is not what it committed to."""
    REPLAYED = "replayed"
    """It answered with what was made for another seed, node or connection."""
    CONTRADICTED = "contradicted"
    """It signed two answers that cannot both be true."""
    WRONG_WORK = "wrong_work"
    """Work that it submitted is not what it says."""


FAILURES: tuple[FindingKind, ...] = tuple(
    kind for kind in FindingKind if kind not in (FindingKind.PASSED, FindingKind.INCONCLUSIVE)
)


@attrs.frozen
class WrongPiece:
    """A piece of work that is not what it says: so many of its units are to be taken back."""

    pool_id: int
    key: bytes
    units: int


@attrs.frozen(kw_only=True)
class Finding:
    """What one validator found of one node at one time. `finding_id`: a digest of the evidence.
    `shortfall_ppm`: the part of what is claimed that was not shown, in millionths. `proven`: the
    node's own signature proves it, so no validator can have invented it. `piece`: of wrong work
    that the chain can take back."""

    finding_id: bytes
    validator: Address
    provider: Address
    node_id: NodeId
    kind: FindingKind
    at_ms: int
    shortfall_ppm: int = WHOLE_PPM
    proven: bool = False
    piece: WrongPiece | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against the node."""
        return self.kind in FAILURES


KIND_OF_FAULT: Mapping[str, FindingKind] = {
    "wrong-product": FindingKind.WRONG_PRODUCT,
    "wrong-memory": FindingKind.SHORT_MEMORY,
    "slow-memory": FindingKind.SHORT_MEMORY,
    "bad-opening": FindingKind.BAD_ANSWER,
    "bad-answer": FindingKind.BAD_ANSWER,
    "slow-fill": FindingKind.LATE,
    "slow-product": FindingKind.LATE,
    "no-answer": FindingKind.OFFLINE,
    "declined": FindingKind.REFUSED,
}
"""What the faults of a hardware challenge count as; the gravest first, for one challenge may show
several."""


def kind_of_faults(faults: Iterable[str]) -> FindingKind:
    """What a challenge with these faults counts as: as its gravest; `PASSED` with none. One that
    nobody knows is inconclusive, since nothing may follow from it."""
    found = set(faults)
    if not found <= KIND_OF_FAULT.keys():
        return FindingKind.INCONCLUSIVE
    return next((kind for one, kind in KIND_OF_FAULT.items() if one in found), FindingKind.PASSED)
