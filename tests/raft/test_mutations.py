"""What cannot fail shows nothing: the simulator finds bugs that were planted on purpose."""

from types import ModuleType

import attrs
import pytest

from p2pool.core.raft import confchange, quorum, read_index, replication
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.log import RaftLog
from p2pool.core.raft.state import PendingRead, RaftState
from p2pool.model.log import raft as raft_records
from p2pool.model.log.raft import Configuration, HardState, Snapshot
from p2pool.model.messages.raft import AppendAnswered
from p2pool.model.timing import Now
from tests.raft.harness.scenario import simulate

SEEDS = 120


def found(seeds: int = SEEDS, first: int = 0, **planted: bool) -> bool:
    """Whether some seed tells; most bugs are told by the first few. `first`: the one to try before
    the others, to save time alone."""
    for seed in (first, *(seed for seed in range(seeds) if seed != first)):
        try:
            simulate(seed, **planted)
        except (AssertionError, KeyError):
            return True
    return False


def half(count: int) -> int:
    """Half of the voters are taken for a majority."""
    return max(1, count // 2)


def no_quorum(s: RaftState) -> None:
    """One copy is enough to commit."""
    s.commit_to(max(p.match_index for p in s.progress.values()))


def no_round(s: RaftState, read: PendingRead) -> bool:
    """A leader answers reads because it believes to lead."""
    return True


def no_disk(s: RaftState, term: int, voted_for: bytes | None) -> None:
    """Term and vote are remembered, but not on the disk."""
    s.hard = HardState(term, voted_for)  # type: ignore[arg-type]


def off_by_one(s: RaftState, m: AppendAnswered, now: Now) -> None:
    """A follower is taken to hold one entry more than it says."""
    more = min(m.match_index + 1, s.log.last_index)
    ANSWERED(s, attrs.evolve(m, match_index=more if m.ok else m.match_index), now)


ANSWERED = replication.answered


def anything_goes(s: RaftState, wanted: Configuration, now: Now) -> None:
    """Changes of the committee while the last one is under way, by any number of voters."""


def any_log(self: RaftLog, last_index: int, last_term: int) -> bool:
    """A vote for a candidate whose log is behind."""
    return True


def forgets(s: RaftState, snapshot: Snapshot, data: bytes) -> None:
    """A snapshot is answered for, but not installed."""


@pytest.mark.parametrize(
    ("place", "name", "bug"),
    [
        (raft_records, "majority", half),
        (quorum, "majority", half),
        (replication, "advance_commit", no_quorum),
        (read_index, "_confirmed", no_round),
        (RaftState, "save_hard", no_disk),
        (replication, "answered", off_by_one),
        (confchange, "check", anything_goes),
        (RaftLog, "is_up_to_date", any_log),
        (snapshots, "put_in_place", forgets),
    ],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, place: ModuleType | type, name: str, bug: object
) -> None:
    """Some seed must tell."""
    monkeypatch.setattr(place, name, bug)
    assert found()


def test_a_torn_batch_is_found() -> None:
    """A store that keeps half of a batch breaks what a voter said."""
    assert found(4 * SEEDS, first=40, torn=True)


def test_a_driver_that_speaks_before_it_persists_is_found() -> None:
    """Whatever it claims, its disk does not hold it yet."""
    assert found(speaks_first=True)
