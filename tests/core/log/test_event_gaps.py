"""Wherever a log's state comes without the entries that led to it, its events say so."""

from random import Random

import attrs
import pytest

from p2pool.core.log.event_window import SPAN_KEY
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.chain.root_record import PreviousLog, RootRecord
from p2pool.model.ids import PeerKey
from p2pool.model.ports.store import EVENTS_TABLE, Restored
from p2pool.model.ports.view import AFTER_ENTRY, EventId
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME, POOL, ROOT, founded, setting, written
from tests.raft.harness.cluster import voter

LATER = Now(11_000, 11_000)
GIVER = PeerKey(b"g" * 32)


def grown(to: int) -> PoolLog:
    """A log that has applied entries up to this one."""
    pool_log = founded()
    grow(pool_log, to)
    return pool_log


def grow(pool_log: PoolLog, to: int) -> None:
    while pool_log.applied_index < to:
        pool_log.propose(*setting(str(pool_log.applied_index)), LATER)


def ids(pool_log: PoolLog) -> list[EventId]:
    """All that it keeps."""
    return [event.id for event in pool_log.window.after((0, 0, 0))]


def gaps(pool_log: PoolLog) -> list[EventId]:
    """The gaps that it tells."""
    return [event.id for event in pool_log.events if event.kind == "gap"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots come soon, and take all entries with them."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 10)
    monkeypatch.setattr(limits, "SNAPSHOT_KEEP_ENTRIES", 0)


def restarted(kept: Restored) -> PoolLog:
    """The next run from this disk."""
    pool_log = PoolLog(ME, POOL, Random(2))
    pool_log.restore(kept, LATER)
    return pool_log


@pytest.mark.usefixtures("short")
def test_a_snapshot_of_another_is_a_gap() -> None:
    """A node that was away takes the state, and what happens from then on is told."""
    source, late = grown(40), PoolLog(voter(5), POOL, Random(2))
    late.follow_root(ROOT, Now(0, 0))
    assert source.raft is not None
    data, index = source.raft.state.snapshot, source.raft.state.snapshot_index
    assert data is not None
    assert late.adopt_snapshot(data, GIVER)
    assert gaps(late) == [(1, index, AFTER_ENTRY)]
    assert late.window.floor == (1, index, AFTER_ENTRY)
    late.adopt(tuple(source.raft.state.log.between(index + 1, 40)))
    assert ids(late) == [(1, i, 0) for i in range(index + 1, 41)]


@pytest.mark.usefixtures("short")
def test_a_restart_behind_a_snapshot_of_its_own_is_none() -> None:
    """What led to it was told and is kept."""
    before = grown(40)
    again = restarted(written(before))
    assert again.applied_index == 40
    assert gaps(again) == []
    assert ids(again) == ids(before)


def test_a_disk_of_an_earlier_version_has_what_its_log_has() -> None:
    """It kept no events: without a snapshot all of them follow from the log."""
    before = grown(20)
    again = restarted(without_events(written(before)))
    assert gaps(again) == []
    assert ids(again) == ids(before)


@pytest.mark.usefixtures("short")
def test_what_an_earlier_version_wrote_in_between_is_a_gap() -> None:
    """Whether it has kept none at all, or went on with the log after this version had."""
    kept = written(grown(40))
    none = restarted(without_events(kept))
    assert none.window.floor[1] >= 30
    assert none.window.floor[2] == AFTER_ENTRY
    short_of = written(grown(15))
    tables = {**kept.tables, EVENTS_TABLE: short_of.tables[EVENTS_TABLE]}
    tables["meta"] = {**kept.tables["meta"], SPAN_KEY: short_of.tables["meta"][SPAN_KEY]}
    behind = restarted(attrs.evolve(kept, tables=tables))
    assert behind.window.floor == none.window.floor
    assert ids(behind) == ids(none)


def without_events(kept: Restored) -> Restored:
    meta = {key: value for key, value in kept.tables["meta"].items() if key != SPAN_KEY}
    return attrs.evolve(kept, tables={**kept.tables, EVENTS_TABLE: {}, "meta": meta})


def recovered(held: PoolLog) -> RootRecord:
    """The next epoch from the end of a log."""
    log = held.held_log
    assert log is not None
    previous = PreviousLog(log.raft.state.log_id, held.applied_index, log.end_digest())
    return RootRecord(2, ME.node_id, ME.peer_key, ME.store_id, previous)


def test_a_recovery_goes_on_without_a_gap() -> None:
    """At its founder, and at a node that had applied all that it goes on from; one that had not has
    missed something."""
    founder, whole, behind = grown(20), grown(20), grown(15)
    root = recovered(founder)
    founder.events.clear()
    assert founder.follow_root(root, LATER, 5)
    assert founder.refusal == ""
    assert founder.window.floor == (0, 0, 0)
    founder.tick(Now(40_000, 40_000))
    assert founder.raft is not None
    data = founder.raft.state.snapshot
    assert data is not None
    for follower, missed in ((whole, []), (behind, [(2, 20, AFTER_ENTRY)])):
        follower.me = voter(6)
        follower.events.clear()
        assert follower.follow_root(root, LATER, 5)
        assert follower.adopt_snapshot(data, GIVER)
        assert gaps(follower) == missed
    assert ids(whole)[-1] == (1, 20, 0)
    assert ids(founder)[-1][0] == 2


def test_a_log_that_was_false_is_a_gap() -> None:
    """A learner whose state is not what was certified begins anew: nobody goes on from what it
    told, and what it is told again is told to nobody twice."""
    source = grown(12)
    learner = PoolLog(voter(5), POOL, Random(2))
    learner.follow_root(ROOT, Now(0, 0))
    assert source.raft is not None
    entries = tuple(source.raft.state.log.entries)
    learner.adopt(entries[:8])
    learner.events.clear()
    assert learner.discard(LATER)
    assert gaps(learner) == [(1, 8, AFTER_ENTRY)]
    learner.adopt(entries)
    assert ids(learner) == [(1, i, 0) for i in range(9, 13)]
