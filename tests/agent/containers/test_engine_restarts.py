"""What ended with its engine is told apart from what ended by itself, by listings and times."""

import pytest

from p2pool.agent.containers.engine_restarts import EngineRestarts
from p2pool.model import limits
from p2pool.model.ids import AllocationId, Digest, TaskId, Token
from p2pool.model.ports.runtime import ContainerState, ContainerStatus

COPY = AllocationId(TaskId(b"1" * 16), 0)
KEY = (COPY, 1)
HOLD_MS = limits.KILLED_HOLD_MS


def status(
    code: int | None = None, finished_ms: int = 0, started_ms: int = 1_000
) -> ContainerStatus:
    """A container that runs, or ended."""
    state = ContainerState.EXITED if finished_ms else ContainerState.RUNNING
    return ContainerStatus(
        COPY,
        1,
        Token(1, 1, 1),
        Digest(b"h" * 32),
        state,
        exit_code=code,
        started_at_ms=started_ms,
        finished_at_ms=finished_ms,
    )


def after_a_listing() -> EngineRestarts:
    """An agent that has seen the container run, at 10,000."""
    made = EngineRestarts(booted_ms=0)
    made.judge([status()], 10_000, 10_000)
    return made


@pytest.mark.parametrize("code", [0, 1, 3, 139])
def test_an_end_of_its_own_is_told_at_once(code: int) -> None:
    """Whatever becomes of the engine later."""
    judged = after_a_listing().judge([status(code, 10_500)], 10_600, 10_600)
    assert (judged.statuses[0].exit_code, judged.interrupted, judged.held) == (code, (), False)


@pytest.mark.parametrize("code", [137, 143, 255, None])
def test_a_kill_is_believed_once_the_engine_went_on_answering(code: int | None) -> None:
    """Until then it is shown as running; then it is its own end."""
    known = after_a_listing()
    judged = known.judge([status(code, 10_500)], 10_600, 10_600)
    assert (judged.statuses[0].state, judged.held) == (ContainerState.RUNNING, True)
    judged = known.judge([status(code, 10_500)], 10_500 + HOLD_MS, 10_500 + HOLD_MS)
    assert (judged.statuses[0].exit_code, judged.interrupted, judged.held) == (code, (), False)


def test_what_was_killed_right_before_the_engine_went_ended_with_it() -> None:
    """The listing that showed it was the engine's last word."""
    known = after_a_listing()
    known.judge([status(137, 10_500)], 10_600, 10_600)
    known.went_away(10_700)
    judged = known.judge([status(137, 10_500)], 12_000, 12_000)
    assert (judged.interrupted, judged.statuses[0].exit_code) == ((KEY,), 137)


def test_what_was_killed_while_the_engine_was_away_ended_with_it() -> None:
    """But not what ended before, nor what ended with a code of its own."""
    known = after_a_listing()
    known.went_away(10_700)
    assert known.judge([status(137, 10_500)], 60_000, 60_000).interrupted == (KEY,)
    for before in (status(137, 1_500), status(0, 10_500), status(3, 10_500)):
        known = after_a_listing()
        if before.exit_code == 137:
            known.judge([before], 10_200, 10_200)
        known.went_away(10_700)
        assert known.judge([before], 60_000, 60_000).interrupted == ()


def test_after_a_reboot_it_is_known_by_the_machine() -> None:
    """A new agent finds what began before the boot and was killed; a mere restart finds nothing."""
    killed = status(137, 20_000, started_ms=5_000)
    assert EngineRestarts(booted_ms=30_000).judge([killed], 60_000, 60_000).interrupted == (KEY,)
    assert EngineRestarts(booted_ms=1_000).judge([killed], 60_000, 60_000).interrupted == ()
    finished = status(0, 20_000, started_ms=5_000)
    assert EngineRestarts(booted_ms=30_000).judge([finished], 60_000, 60_000).interrupted == ()


def test_a_listing_that_was_under_way_when_the_engine_left_takes_nothing_back() -> None:
    """It saw the container run; the next one is what counts."""
    known = after_a_listing()
    known.went_away(10_700)
    known.judge([status()], 10_400, 10_900)
    judged = known.judge([status(137, 10_500)], 60_000, 60_000)
    assert judged.interrupted == (KEY,)
