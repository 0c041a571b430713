"""A copy whose task says so ends by itself when no leader is heard; every other one runs on."""

from typing import Any

import pytest

from p2pool.core.worker import events as ev
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import OnDisconnect
from tests.core.worker.workbench import Bench, desired

WINDOW_MS = 20_000
STOPS: dict[str, Any] = {
    "reconnect_window_s": WINDOW_MS // 1000,
    "on_disconnect": OnDisconnect.STOP,
}


def unled(bench: Bench, ms: int, led: bool = False) -> list[ev.WorkerEffect]:
    """Let time pass with or without a leader; what the worker did."""
    bench.at_ms += ms
    bench.worker.led(led, bench.now())
    return bench.turn()


def test_it_ends_once_its_window_is_over() -> None:
    """Not a moment before, and its end is reported as a stop."""
    bench = Bench()
    bench.order(desired(**STOPS))
    unled(bench, 0, led=True)
    assert unled(bench, WINDOW_MS - 1) == []
    assert bench.worker.wakeup_ms() <= bench.at_ms + 1
    assert [type(e) for e in unled(bench, 1)] == [ev.StopContainer]
    report = bench.worker.report(bench.now())
    assert report is not None
    assert [o.state for o in report.outcomes] == [AllocationState.STOPPED]


def test_a_leader_that_is_heard_again_begins_the_window_anew() -> None:
    """Short absences do not add up."""
    bench = Bench()
    bench.order(desired(**STOPS))
    unled(bench, 0, led=True)
    for _ in range(4):
        assert unled(bench, WINDOW_MS - 1) == []
        assert unled(bench, 0, led=True) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"reconnect_window_s": 20},
        {"reconnect_window_s": 20, "on_disconnect": OnDisconnect.KEEP},
        {"reconnect_window_s": -1, "on_disconnect": OnDisconnect.STOP},
    ],
    ids=["by default", "keep", "a window without an end"],
)
def test_every_other_copy_runs_on(spec: dict[str, Any]) -> None:
    """No answer is never an order to stop."""
    bench = Bench()
    bench.order(desired(**spec))
    unled(bench, 0, led=True)
    for _ in range(10):
        assert unled(bench, WINDOW_MS * 10) == []
