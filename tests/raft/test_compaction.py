"""What stays behind a snapshot, and what a snapshot on its way is worth to a slow follower."""

import pytest

from p2pool.core.raft.log import RaftLog
from p2pool.core.raft.raft import Raft
from p2pool.model import limits
from p2pool.model.errors import Overloaded
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.messages.raft import AppendRequested, SnapshotAnswered, SnapshotSent
from p2pool.model.timing import Now
from tests.raft.harness.cluster import LOG_ID, Cluster
from tests.raft.harness.elected import led


def fill(cluster: Cluster, count: int) -> None:
    for _ in range(count):
        assert cluster.propose(b"x")
        cluster.run(30)


def kept(size: int, keep: int) -> tuple[Cluster, int, Raft]:
    """A leader whose compactions leave a tail."""
    cluster, leader, raft = led(size=size)
    cluster.keep = raft.state.keep_entries = keep
    return cluster, leader, raft


def test_a_follower_a_little_behind_is_served_entries() -> None:
    """Compaction leaves a tail; only one who is further behind gets the snapshot."""
    cluster, leader, raft = kept(3, 10)
    late = (leader + 1) % 3
    fill(cluster, 20)
    cluster.crash(late)
    fill(cluster, 5)
    cluster.do(leader, raft.compact(b"state", cluster.applied[leader]))
    cluster.run(50)
    s = raft.state
    assert (s.snapshot_index - s.log.base_index, len(cluster.disks[leader].entries)) == (10, 10)
    cluster.start(late)
    cluster.run(500)
    assert cluster.applied[late] == s.commit_index
    assert cluster.disks[late].snapshot is None


def test_a_tail_is_there_after_a_restart() -> None:
    """But for its first entry, whose term is all that is needed of it."""
    cluster, leader, raft = kept(1, 10)
    fill(cluster, 20)
    cluster.do(leader, raft.compact(b"state", cluster.applied[leader]))
    fill(cluster, 2)
    before = raft.state
    cluster.crash(leader)
    cluster.start(leader)
    again = cluster.rafts[leader]
    assert again is not None
    s = again.state
    assert (s.log.base_index, s.log.last_index) == (
        before.log.base_index + 1,
        before.log.last_index,
    )
    assert (s.snapshot_index, s.commit_index) == (before.snapshot_index, before.snapshot_index)
    assert s.configuration == before.configuration
    assert s.uncommitted_bytes == s.log.bytes_after(s.commit_index) > 0


def test_a_log_of_another_history_than_its_snapshot_is_our_bug() -> None:
    """A disk that says so is not believed."""
    log = RaftLog()
    with pytest.raises(AssertionError, match="another history"):
        log.restore(3, 2, (Entry(2, 1, 0, 0, b""), Entry(3, 1, 0, 0, b"")))


def test_a_tail_has_a_bound_of_bytes() -> None:
    """A few heavy entries are not kept for the sake of their number."""
    log = RaftLog()
    heavy = bytes(limits.SNAPSHOT_KEEP_BYTES // 4)
    log.append(tuple(Entry(i, 1, 0, 0, heavy) for i in range(1, 11)))
    assert log.tail_before(10, 100) == 6
    assert log.tail_before(10, 2) == 8


def test_a_snapshot_on_its_way_is_not_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later compactions leave it be, and keep what follows on it."""
    monkeypatch.setattr(limits, "SNAPSHOT_CHUNK_BYTES", 32)
    cluster, leader, raft = led()
    late = (leader + 1) % 3
    cluster.crash(late)
    fill(cluster, 30)
    cluster.do(leader, raft.compact(b"one" * 50, cluster.applied[leader]))
    cluster.run(2_000)
    to = cluster.voters[late]
    first = raft.state.snapshot_index
    fill(cluster, 30)
    cluster.do(leader, raft.compact(b"two" * 50, cluster.applied[leader]))
    cluster.run(50)
    assert raft.state.snapshot_index > first == raft.state.log.base_index
    s = raft.state
    answer = SnapshotAnswered(LOG_ID, s.hard.term, s.me, to, first, 64)
    sent = [m for _, m in raft.receive(answer, to.peer_key, cluster.now()).send]
    assert [(m.last_index, m.offset) for m in sent if isinstance(m, SnapshotSent)] == [(first, 64)]
    cluster.start(late)
    cluster.run(3_000)
    assert cluster.applied[late] == s.commit_index
    disk = cluster.disks[late]
    assert (disk.base_index, len(disk.entries)) == (first, s.log.last_index - first)


def test_what_a_snapshot_on_its_way_holds_back_has_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One who never takes it does not let the log grow for ever."""
    monkeypatch.setattr(limits, "SNAPSHOT_HOLD_ENTRIES_MAX", 20)
    cluster, leader, raft = led()
    cluster.crash((leader + 1) % 3)
    for _ in range(3):
        fill(cluster, 30)
        cluster.do(leader, raft.compact(b"state", cluster.applied[leader]))
        cluster.run(500)
    assert raft.state.snapshot_index - raft.state.log.base_index == 20


def test_authority_is_kept_while_a_snapshot_travels() -> None:
    """Small appends that follow on nothing go between its parts, and confirm reads."""
    cluster, leader, raft = led()
    late = (leader + 1) % 3
    cluster.crash(late)
    fill(cluster, 30)
    cluster.do(leader, raft.compact(b"state", cluster.applied[leader]))
    interval = raft.state.timing.append_interval_ms
    parts, beats = 0, 0
    for n in range(1, 2 * limits.SNAPSHOT_RESEND_AFTER_APPENDS + 1):
        out = raft.tick(Now(cluster.now_ms + n * interval, 0))
        mine = [m for key, m in out.send if key == cluster.voters[late].peer_key]
        parts += sum(isinstance(m, SnapshotSent) for m in mine)
        beats += sum(isinstance(m, AppendRequested) and m.previous_index == 0 for m in mine)
        raft.state.quorum_check_ms += interval
    assert (parts, beats) == (2, 2 * limits.SNAPSHOT_RESEND_AFTER_APPENDS)


def test_a_deaf_follower_gets_no_flood_at_any_interval() -> None:
    """What is under way is given up by an answer only: each interval has one empty append."""
    cluster, leader, raft = led()
    late = (leader + 1) % 3
    cluster.cut = {(late, leader), (leader, late)}
    fill(cluster, 3 * limits.APPENDS_IN_FLIGHT_MAX)
    out = raft.tick(Now(raft.state.append_due_ms, 0))
    mine = [m for key, m in out.send if key == cluster.voters[late].peer_key]
    assert [m.entries for m in mine if isinstance(m, AppendRequested)] == [()]
    cluster.cut = set()
    cluster.do(leader, out)
    cluster.run(1_000)
    assert cluster.applied[late] == raft.state.commit_index


def test_appends_under_way_have_a_bound_of_bytes() -> None:
    """So an empty append never waits behind minutes of entries."""
    cluster, _, raft = led()
    sent: dict[bytes, int] = {}
    for _ in range(16):
        out, _ = raft.propose(EntryKind.NODE, bytes(limits.ENTRY_MAX_BYTES), cluster.now())
        for key, m in out.send:
            if isinstance(m, AppendRequested):
                sent[key] = sent.get(key, 0) + sum(len(e.body) for e in m.entries)
    most = limits.APPENDS_IN_FLIGHT_MAX_BYTES + limits.APPEND_BATCH_MAX_BYTES
    assert all(limits.APPENDS_IN_FLIGHT_MAX_BYTES <= size <= most for size in sent.values())


def test_proposals_have_a_bound_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too heavy to wait beside others is refused; alone it is taken."""
    monkeypatch.setattr(limits, "PROPOSALS_IN_FLIGHT_MAX_BYTES", 1000)
    cluster, leader, raft = led()
    cluster.cut = {(leader, i) for i in range(3)}
    out, _ = raft.propose(EntryKind.NODE, bytes(1500), cluster.now())
    cluster.do(leader, out)
    cluster.run(10)
    with pytest.raises(Overloaded, match="bytes"):
        raft.propose(EntryKind.NODE, b"x", cluster.now())
    cluster.cut = set()
    cluster.run(500)
    assert raft.state.uncommitted_bytes == 0
    assert cluster.propose(b"x")
