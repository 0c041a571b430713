"""A follower's progress moves by its table alone, and a snapshot is under way in SNAPSHOT alone."""

from collections.abc import Callable

import pytest

from p2pool.core.raft.progress import (
    TRANSITIONS,
    Progress,
    ProgressEvent,
    ProgressState,
    Sending,
)
from p2pool.model.log.raft import Entry

MOVES: dict[ProgressEvent, Callable[[Progress], None]] = {
    ProgressEvent.AGREED: lambda p: p.agreed(5),
    ProgressEvent.REFUSED: lambda p: p.refused(3),
    ProgressEvent.COMPACTED: lambda p: p.compacted(Sending(9, 1, b"state")),
    ProgressEvent.INSTALLED: lambda p: p.installed(9),
}
WAYS: dict[ProgressState, tuple[ProgressEvent, ...]] = {
    ProgressState.PROBE: (),
    ProgressState.REPLICATE: (ProgressEvent.AGREED,),
    ProgressState.SNAPSHOT: (ProgressEvent.COMPACTED,),
}


def reached(state: ProgressState) -> Progress:
    """A progress in that state, with an append under way."""
    progress = Progress(4)
    progress.sent((Entry(4, 1, 0, 0, bytes(100)),))
    for event in WAYS[state]:
        MOVES[event](progress)
    assert progress.state is state
    return progress


@pytest.mark.parametrize("state", ProgressState)
@pytest.mark.parametrize("event", ProgressEvent)
def test_every_pair_of_state_and_event(state: ProgressState, event: ProgressEvent) -> None:
    """The table's row happens; what it has no row for is refused, and changes nothing."""
    progress = reached(state)
    wanted = TRANSITIONS[state].get(event)
    if wanted is None:
        with pytest.raises(AssertionError, match=state.name):
            MOVES[event](progress)
        assert progress == reached(state)
        return
    MOVES[event](progress)
    assert progress.state is wanted
    assert (progress.sending is not None) is (wanted is ProgressState.SNAPSHOT)


@pytest.mark.parametrize("event", [ProgressEvent.REFUSED, ProgressEvent.COMPACTED])
def test_who_goes_back_forgets_what_is_under_way(event: ProgressEvent) -> None:
    """It would follow on something that the follower lacks."""
    progress = reached(ProgressState.REPLICATE)
    progress.sent((Entry(5, 1, 0, 0, b""), Entry(6, 1, 0, 0, bytes(100))))
    assert progress.next_index == 7
    MOVES[event](progress)
    assert (len(progress.in_flight), progress.in_flight_bytes) == (0, 0)
    assert progress.next_index < 7


def test_only_who_agrees_is_sent_ahead_of_the_answers() -> None:
    """A probe waits for the answer to the last append."""
    assert not reached(ProgressState.PROBE).has_room
    assert reached(ProgressState.REPLICATE).has_room
