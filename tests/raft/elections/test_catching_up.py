"""A follower that is behind: a whole window after the probe, whatever its size; no old term."""

from random import Random

import attrs
import pytest

from p2pool.codec.digests import configuration_hash
from p2pool.core.raft.raft import Raft, RaftRestored
from p2pool.core.raft.state import Ready
from p2pool.model import limits
from p2pool.model.log.raft import HardState
from p2pool.model.messages.raft import AppendAnswered, AppendRequested
from p2pool.model.ports.store import AppendEntries, SaveHardState, TruncateFrom
from tests.raft.harness.cluster import LOG_ID
from tests.raft.harness.figure2 import ME, TIMING, A, acknowledge, at, elected, entry, give


def to_a(out: Ready) -> list[AppendRequested]:
    return [m for _, m in out.send if isinstance(m, AppendRequested) and m.follower == A]


def test_once_the_logs_agree_the_whole_window_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one batch for each round trip; each answer makes room for one more."""
    monkeypatch.setattr(limits, "APPEND_BATCH_MAX_ENTRIES", 1)
    raft, _ = elected(*[1] * 40, term=1)
    s = raft.state
    refused = AppendAnswered(LOG_ID, s.hard.term, ME, A, s.round, False, 0, 5, 0)
    (probe,) = to_a(give(raft, refused))
    assert probe.previous_index == 4
    sent = to_a(acknowledge(raft, 1, 5))
    assert [m.previous_index for m in sent] == list(range(5, 5 + limits.APPENDS_IN_FLIGHT_MAX))
    assert [m.previous_index for m in to_a(acknowledge(raft, 1, 6))] == [21]


def test_the_smallest_window_does_not_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is lost; the empty append that follows is answered, and the entries go again."""
    monkeypatch.setattr(limits, "APPENDS_IN_FLIGHT_MAX", 1)
    raft, out = elected(1, term=1)
    assert [len(m.entries) for m in to_a(out)] == [1]
    (empty,) = to_a(raft.tick(at(5_200)))
    assert not empty.entries
    (again,) = to_a(acknowledge(raft, 1, 1))
    assert [e.index for e in again.entries] == [2]
    acknowledge(raft, 1, 2)
    assert raft.state.commit_index == 2


def idle(hard: HardState, *terms: int) -> Raft:
    """A node without a seat."""
    kept = RaftRestored(hard, None, tuple(entry(i, t) for i, t in enumerate(terms, 1)))
    return Raft(ME, LOG_ID, TIMING, kept, Random(1), configuration_hash, at(0))


def test_whoever_adopts_an_entry_is_in_its_term() -> None:
    """On the disk too: as a candidate it must not ask for votes in a term that is long over."""
    raft = idle(HardState(2))
    out = raft.adopt((attrs.evolve(entry(1, 7)),))
    assert raft.state.hard == HardState(7)
    assert SaveHardState(LOG_ID, HardState(7)) in out.persist
    assert raft.adopt((entry(2, 7),)).persist[0] != SaveHardState(LOG_ID, HardState(7))


def test_a_disk_whose_term_is_below_its_log_is_mended() -> None:
    """An earlier version left it so, and a renewed store has a log and no promises."""
    raft = idle(HardState(), 1, 7)
    assert raft.state.hard == HardState(7)
    assert SaveHardState(LOG_ID, HardState(7)) in raft.recommit(1).persist


def test_what_is_adopted_replaces_another_entry_of_its_term() -> None:
    """A leader may have given two entries of one term and index; a quorum signed this one."""
    raft = idle(HardState(1), 1, 1, 1)
    signed = attrs.evolve(entry(2, 1), body=b"another")
    out = raft.adopt((entry(1, 1), signed))
    assert raft.state.log.entries == [entry(1, 1), signed]
    assert [e.body for e in out.committed] == [entry(1, 1).body, b"another"]
    assert out.persist[-2:] == [TruncateFrom(2), AppendEntries((signed,))]


def test_what_is_adopted_keeps_what_is_held_already() -> None:
    """It is on the disk, and what follows on it may be committed too."""
    raft = idle(HardState(1), 1, 1, 1)
    assert raft.adopt((entry(1, 1), entry(2, 1))).persist == []
    assert (raft.state.log.last_index, raft.state.commit_index) == (3, 2)
