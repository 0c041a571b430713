"""How entries and snapshots travel: once each, in order, and counted only when they are there."""

import pytest

from p2pool.codec.entries import encode_snapshot
from p2pool.core.raft.raft import Raft
from p2pool.model import limits
from p2pool.model.log.raft import Configuration, EntryKind, Snapshot
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
)
from p2pool.model.timing import Now
from tests.raft.harness.cluster import LOG_ID, Cluster, voter
from tests.raft.harness.elected import led


def test_entries_ahead_of_their_answers_travel_once() -> None:
    """Pipelining: ten proposals in a row are ten entries for each follower, not a hundred."""
    cluster, _, raft = led()
    sent: list[int] = []
    for _ in range(10):
        out, _ = raft.propose(EntryKind.NODE, b"x", cluster.now())
        sent += [e.index for _, m in out.send if isinstance(m, AppendRequested) for e in m.entries]
    assert sorted(sent) == sorted(sent[::2] * 2)
    assert len(sent) == 20


def test_what_is_held_travels_in_one_frame() -> None:
    """All that one step proposes costs each follower one append, and one answer."""
    cluster, _, raft = led()
    for _ in range(10):
        out, _ = raft.propose(EntryKind.NODE, b"x", cluster.now(), hold=True)
        assert not out.send
    sent = [m for _, m in raft.flush(()).send if isinstance(m, AppendRequested)]
    assert [len(m.entries) for m in sent] == [10, 10]


def test_who_waits_is_told_of_a_commit_at_once_and_once() -> None:
    """The one that asked for it hears it now, the others with the next append."""
    cluster, leader, raft = led()
    cluster.run(1_000)
    waits = cluster.voters[(leader + 1) % 3]
    assert not raft.flush((waits.node_id,)).send
    raft.propose(EntryKind.NODE, b"x", cluster.now())
    s = raft.state
    other = cluster.voters[(leader + 2) % 3]
    answer = AppendAnswered(
        s.log_id, s.hard.term, s.me, other, s.round, True, s.log.last_index, 0, 0
    )
    raft.receive(answer, other.peer_key, cluster.now())
    assert s.commit_index == s.log.last_index
    ((key, frame),) = raft.flush((waits.node_id,)).send
    assert isinstance(frame, AppendRequested)
    assert (key, frame.commit_index, frame.entries) == (waits.peer_key, s.commit_index, ())
    assert not raft.flush((waits.node_id,)).send


def test_a_follower_that_does_not_answer_gets_no_flood() -> None:
    """Flow control: so many appends are under way at most; the rest waits."""
    cluster, _, raft = led()
    sent = 0
    for _ in range(200):
        out, _ = raft.propose(EntryKind.NODE, b"x", cluster.now())
        sent += len([m for _, m in out.send if isinstance(m, AppendRequested)])
    assert sent == 2 * limits.APPENDS_IN_FLIGHT_MAX


def test_a_lost_append_is_sent_again() -> None:
    """The next interval's append follows on it, and is refused."""
    cluster, leader, raft = led()
    late = (leader + 1) % 3
    cluster.cut = {(leader, late)}
    cluster.propose(b"x")
    cluster.run(20)
    cluster.cut = set()
    cluster.run(2 * raft.state.timing.append_interval_ms)
    assert cluster.applied[late] == raft.state.log.last_index


def lone() -> tuple[Cluster, Raft]:
    """A follower with the first entry only, and nobody who speaks but the test."""
    cluster = Cluster(1, size=3)
    found = cluster.rafts[2]
    assert found is not None
    return cluster, found


def snapshot(index: int, state: bytes) -> bytes:
    group = Configuration((voter(0), voter(1), voter(2)))
    return encode_snapshot(Snapshot(LOG_ID, index, 1, 0, group, state))


def part(
    data: bytes, index: int, begin: int, end: int, leader: int = 0, term: int = 2
) -> SnapshotSent:
    return SnapshotSent(
        LOG_ID, term, voter(leader), voter(2), index, 1, begin, len(data), data[begin:end]
    )


def received(cluster: Cluster, raft: Raft, sent: SnapshotSent) -> int:
    out = raft.receive(sent, sent.leader.peer_key, cluster.now(), proven=True)
    answer = out.send[0][1]
    assert isinstance(answer, SnapshotAnswered)
    return answer.received_bytes


def test_a_snapshot_that_is_no_snapshot_is_not_answered_for() -> None:
    """The leader takes what is received in full for a match: only an installed one is."""
    cluster, raft = lone()
    assert received(cluster, raft, part(b"nonsense", 9, 0, 8)) == 0
    cluster.now_ms += limits.SNAPSHOT_REFUSED_MS
    assert received(cluster, raft, part(snapshot(8, b"s"), 9, 0, 999)) == 0
    assert raft.state.commit_index == 0
    good = snapshot(9, b"s")
    assert raft.receive(part(good, 9, 0, 5), voter(0).peer_key, cluster.now()).send == []
    cluster.now_ms += limits.SNAPSHOT_REFUSED_MS
    assert received(cluster, raft, part(good, 9, 0, len(good))) == len(good)
    assert raft.state.commit_index == 9


def test_parts_of_two_snapshots_are_never_mixed() -> None:
    """Another index, leader or term begins anew, whatever the lengths."""
    cluster, raft = lone()
    one, other = snapshot(9, b"a" * 50), snapshot(8, b"b" * 50)
    assert len(one) == len(other)
    assert received(cluster, raft, part(one, 9, 0, 40)) == 40
    assert received(cluster, raft, part(other, 8, 40, 80)) == 0
    assert received(cluster, raft, part(one, 9, 0, 40)) == 40
    assert received(cluster, raft, part(one, 9, 40, 80, leader=1, term=3)) == 0


def test_a_snapshot_in_parts_survives_repetition_and_gaps() -> None:
    """What came is said, so the leader goes on from there."""
    cluster, raft = lone()
    data = snapshot(9, b"s" * 100)
    assert received(cluster, raft, part(data, 9, 0, 40)) == 40
    assert received(cluster, raft, part(data, 9, 0, 40)) == 40
    assert received(cluster, raft, part(data, 9, 80, 120)) == 40
    assert received(cluster, raft, part(data, 9, 40, len(data))) == len(data)
    assert received(cluster, raft, part(data, 9, 0, 40)) == len(data)


def test_an_answer_that_comes_twice_does_not_make_two_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part is asked for by what is new, so a repeated answer asks for nothing."""
    monkeypatch.setattr(limits, "SNAPSHOT_CHUNK_BYTES", 32)
    cluster, leader, raft = led()
    late = (leader + 1) % 3
    cluster.crash(late)
    for _ in range(30):
        cluster.propose(b"x")
        cluster.run(50)
    cluster.do(leader, raft.compact(b"state" * 50, cluster.applied[leader]))
    begun = [*raft.tick(Now(cluster.now_ms + 150, 0)).send]
    assert [m.offset for _, m in begun if isinstance(m, SnapshotSent)] == [0]
    to, me, s = cluster.voters[late], raft.state.me, raft.state
    answer = SnapshotAnswered(LOG_ID, s.hard.term, me, to, s.log.base_index, 32)
    first = raft.receive(answer, to.peer_key, cluster.now()).send
    again = raft.receive(answer, to.peer_key, cluster.now()).send
    assert [m.offset for _, m in first if isinstance(m, SnapshotSent)] == [32]
    assert again == []
