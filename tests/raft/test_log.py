"""The log refuses what Raft's figure 2 forbids, and agrees with a plain list in everything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.core.raft.log import RaftLog
from p2pool.model import limits
from p2pool.model.log.raft import Entry


def entry(index: int, term: int, size: int = 0) -> Entry:
    return Entry(index, term, 0, 0, b"x" * size)


def log(*terms: int, base_index: int = 0, base_term: int = 0) -> RaftLog:
    made = RaftLog(base_index, base_term)
    made.append(tuple(entry(base_index + i, t) for i, t in enumerate(terms, 1)))
    return made


@given(st.lists(st.integers(1, 5), max_size=20).map(sorted), st.integers(0, 20))
def test_compaction_changes_nothing_that_is_still_held(terms: list[int], cut: int) -> None:
    """Indexes and terms after the snapshot stay as they were."""
    whole, part = log(*terms), log(*terms)
    cut = min(cut, whole.last_index)
    part.compact(cut, whole.term_at(cut) or 0)
    assert (part.last_index, part.last_term) == (whole.last_index, whole.last_term)
    for index in range(cut, whole.last_index + 1):
        assert part.term_at(index) == whole.term_at(index)
    assert part.after(cut) == whole.after(cut)


def test_a_snapshot_of_another_history_replaces_the_log() -> None:
    """Figure 13, rule 7: an entry with another term at its index is not kept."""
    held = log(1, 1, 2)
    held.compact(2, 3)
    assert held.entries == []
    assert (held.last_index, held.last_term) == (2, 3)


def test_a_gap_and_a_falling_term_are_our_own_bugs() -> None:
    """They crash instead of making a log that is none."""
    with pytest.raises(AssertionError):
        log(1).append((entry(3, 1),))
    with pytest.raises(AssertionError):
        log(2).append((entry(2, 1),))


@given(
    st.lists(st.integers(1, 4), max_size=8).map(sorted),
    st.lists(st.integers(1, 4), max_size=8).map(sorted),
)
def test_of_two_logs_at_least_one_is_up_to_date(a: list[int], b: list[int]) -> None:
    """Section 5.4.1: the later last term wins, the longer log breaks the tie."""
    one, other = log(*a), log(*b)
    forth = one.is_up_to_date(other.last_index, other.last_term)
    back = other.is_up_to_date(one.last_index, one.last_term)
    assert forth or back
    if forth and back:
        assert (one.last_index, one.last_term) == (other.last_index, other.last_term)


def test_a_batch_fits_a_frame_and_is_never_empty() -> None:
    """One entry of any legal size gets through; many small ones travel together."""
    big = RaftLog()
    big.append(tuple(entry(i, 1, limits.ENTRY_MAX_BYTES) for i in range(1, 5)))
    assert 1 <= len(big.after(0)) < 4
    small = log(*([1] * (limits.APPEND_BATCH_MAX_ENTRIES + 5)))
    assert len(small.after(0)) == limits.APPEND_BATCH_MAX_ENTRIES


def test_fast_back_up_finds_the_edges_of_a_term() -> None:
    """A follower names the first index of its conflicting term; a leader looks for its last."""
    held = log(1, 1, 2, 2, 2, 4)
    assert held.first_of_term(5) == (3, 2)
    assert held.last_up_to(2) == 5
    assert held.last_up_to(3) == 5
    assert held.last_up_to(9) == 6
    assert log(3, base_index=7, base_term=2).last_up_to(2) == 7
