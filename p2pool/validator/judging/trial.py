"""Runs a judge on one piece, in a thread and for a bounded time.

Intuition: a plug-in is somebody else's program. It may raise, answer with nonsense, or never come
back; all of that is its own fault, and says nothing of the work.

Invariants: a verdict is well formed, and its evidence bounded; a judge that does not come back
keeps its thread, and no further one begins while `JUDGES_AT_ONCE` of them do.
"""

import attrs
import trio

from p2pool.codec.text.clip import clipped
from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.validator.judging.judge import (
    WHOLE_PERMILLE,
    SubmittedWork,
    WorkConclusion,
    WorkJudge,
    WorkVerdict,
)


@attrs.define
class Trials:
    """Runs the judge of a validator."""

    judge: WorkJudge
    deadline_s: float
    threads: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(limits.JUDGES_AT_ONCE)
    )

    async def of(self, work: SubmittedWork) -> WorkVerdict:
        """What the judge says of a piece; unknown if it says nothing that can be used."""
        began = False

        def run() -> object:
            nonlocal began
            began = True
            return self.judge.judge(work)

        with trio.move_on_after(self.deadline_s):
            try:
                given = await trio.to_thread.run_sync(
                    run, abandon_on_cancel=True, limiter=self.threads
                )
            except (Exception, SystemExit) as error:  # noqa: BLE001  It is the plug-in's.
                said = _bounded(f"The judge failed: {type(error).__name__}: {error}")
                return WorkVerdict.unknown(said)
            return checked(given)
        if began:
            return WorkVerdict.unknown(f"The judge did not answer in {self.deadline_s:g} s.")
        return WorkVerdict.unknown("The judge has not come back from earlier pieces.")


def checked(given: object) -> WorkVerdict:
    """A verdict as it may be kept; unknown for what is none."""
    if type(given) is not WorkVerdict or not isinstance(given.evidence, str):
        return WorkVerdict.unknown(f"The judge answers with no verdict: {type(given).__name__}.")
    evidence, shortfall = _bounded(given.evidence), given.shortfall_permille
    match given.conclusion:
        case WorkConclusion.WRONG:
            if type(shortfall) is int and 0 < shortfall <= WHOLE_PERMILLE:
                return WorkVerdict.wrong(evidence, shortfall)
            said = f"The judge says wrong, and not how much of it: {evidence}"
            return WorkVerdict.unknown(_bounded(said))
        case WorkConclusion.RIGHT:
            return WorkVerdict.right(evidence)
        case _:
            return WorkVerdict.unknown(evidence)


def _bounded(text: str) -> str:
    return clipped(safe_text(text), limits.JUDGE_EVIDENCE_MAX_BYTES)
