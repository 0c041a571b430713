"""What a judge of work is given, and what it answers.

    class Ours:
        def judge(self, work: SubmittedWork) -> WorkVerdict:
            return WorkVerdict.right("looked at it") if seen(work.key) else WorkVerdict.wrong("...")

    def make(options: Mapping[str, str]) -> WorkJudge:      # the entry point, "p2pool.work_judges"
        return Ours()

Intuition: what right work is, only those know who ask for it; so p2pool says which piece, and a
plug-in says what became of the look at it. It may take its time, block, and ask whom it likes.

Invariants: a judge changes nothing here; its word leads to an act only by the validator's policy.
Unknown is no verdict against anybody.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

import attrs

from p2pool.model.ids import Address, NodeId, PoolRef

WHOLE_PERMILLE = 1000


@attrs.frozen(kw_only=True)
class SubmittedWork:
    """A piece of work as the chain has it. `key`: of work that is a file, the file's SHA-256.
    `block`: where it was submitted."""

    pool: PoolRef
    node_id: NodeId
    provider: Address
    key: bytes
    units: int
    block: int


class WorkConclusion(StrEnum):
    """What a judge says of a piece."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@attrs.frozen
class WorkVerdict:
    """What a judge says, and why, in words. `shortfall_permille`: of wrong work, the part of its
    units that were not done."""

    conclusion: WorkConclusion
    evidence: str
    shortfall_permille: int = 0

    @classmethod
    def right(cls, evidence: str) -> "WorkVerdict":
        """It is what it says."""
        return cls(WorkConclusion.RIGHT, evidence)

    @classmethod
    def wrong(cls, evidence: str, shortfall_permille: int = WHOLE_PERMILLE) -> "WorkVerdict":
        """So much of it is not."""
        return cls(WorkConclusion.WRONG, evidence, shortfall_permille)

    @classmethod
    def unknown(cls, why: str) -> "WorkVerdict":
        """Nobody can say."""
        return cls(WorkConclusion.UNKNOWN, why)


class WorkJudge(Protocol):
    """Judges one piece after the other, in a thread."""

    def judge(self, work: SubmittedWork) -> WorkVerdict:
        """What it says of a piece. Whatever it raises is its own fault, and nobody else's."""
        ...


MakeJudge = Callable[[Mapping[str, str]], WorkJudge]
"""What an entry point names. `options`: of the policy, as they stand there; `Misconfigured` for
those that do not fit."""
