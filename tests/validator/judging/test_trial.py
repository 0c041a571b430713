"""Whatever a judge does, a piece gets a verdict in time, and no fault of a judge is a node's."""

import sys
import threading
from typing import Any

import pytest
import trio

from p2pool.model import limits
from p2pool.validator.judging.judge import WorkConclusion, WorkVerdict
from p2pool.validator.judging.trial import Trials, checked
from tests.validator.judging.cases import Judge, work

ODD: Any = 5


async def test_a_verdict_passes_as_it_is() -> None:
    """Right, wrong with its part, and unknown."""
    for verdict in (
        WorkVerdict.right("seen"),
        WorkVerdict.wrong("half of it", 500),
        WorkVerdict.unknown("not there"),
    ):
        judge = Judge({work(): verdict}.get)
        assert await Trials(judge, 10).of(work()) == verdict
        assert judge.asked == [work().key]


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (lambda _: 1 // 0, "The judge failed: ZeroDivisionError"),
        (lambda _: sys.exit(3), "The judge failed: SystemExit: 3"),
        (lambda _: "right", "no verdict: str"),
        (lambda _: None, "no verdict: NoneType"),
        (lambda _: WorkVerdict.wrong("all", 1001), "not how much of it: all"),
        (lambda _: WorkVerdict(WorkConclusion.WRONG, "all"), "not how much of it"),
        (lambda _: WorkVerdict(ODD, "all", 1000), "all"),
        (lambda _: WorkVerdict(WorkConclusion.RIGHT, ODD), "no verdict"),
    ],
)
async def test_a_judge_that_fails_has_no_word(says: Any, told: str) -> None:
    """It raises, ends the program, or answers with nonsense: unknown, with the reason."""
    found = await Trials(Judge(says), 10).of(work())
    assert found.conclusion is WorkConclusion.UNKNOWN
    assert told in found.evidence


async def test_a_judge_that_hangs_is_left_and_stops_no_more_than_its_threads() -> None:
    """After its deadline; once all threads hang, the next piece is told so; then all come back."""
    go = threading.Event()
    judge = Judge(lambda _: go.wait(60) and WorkVerdict.right("late"))
    trials = Trials(judge, 0.05)
    try:
        for number in range(limits.JUDGES_AT_ONCE):
            assert "did not answer in 0.05 s" in (await trials.of(work(number))).evidence
        found = await trials.of(work(9))
        assert "not come back" in found.evidence
        assert len(judge.asked) == limits.JUDGES_AT_ONCE
    finally:
        go.set()
    with trio.fail_after(10):
        while trials.threads.borrowed_tokens:
            await trio.lowlevel.checkpoint()
    assert await Trials(judge, 10).of(work()) == WorkVerdict.right("late")


def test_evidence_is_bounded_and_without_what_urls_hide() -> None:
    """It is somebody else's text, and stays on a disk."""
    long = checked(WorkVerdict.right("é" * 5000))
    assert len(long.evidence.encode()) <= limits.JUDGE_EVIDENCE_MAX_BYTES
    assert "secret" not in checked(WorkVerdict.right("https://a:secret@b.example/x")).evidence
