"""A follower says itself what it lacks, and may lie: what is sent to it again has a budget."""

import pytest

from p2pool.core.raft.raft import Raft
from p2pool.core.raft.state import Ready
from p2pool.model import limits
from p2pool.model.log.raft import EntryKind, Voter
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
)
from tests.raft.harness.cluster import Cluster
from tests.raft.harness.elected import led

HEAVY = bytes(200 * 1024)
ENTRIES = 30
ROUNDS_PER_S = 200
SECONDS = 4
BURST, PER_S = 1024 * limits.SENT_AGAIN_KIB_BURST, 1024 * limits.SENT_AGAIN_KIB_PER_S


def heavy() -> tuple[Cluster, int, Raft]:
    """A leader of a log of some megabytes, all of it committed by others than its liar."""
    cluster, leader, raft = led()
    liar = (leader + 1) % 3
    cluster.cut = {(leader, liar), (liar, leader)}
    for _ in range(ENTRIES):
        assert cluster.propose(HEAVY)
        cluster.run(100)
    assert raft.state.commit_index == raft.state.log.last_index > ENTRIES
    return cluster, liar, raft


def drawn(out: Ready, to: Voter) -> int:
    """How many bytes of entries, or of a snapshot, a step sends to a follower."""
    told = [m for key, m in out.send if key == to.peer_key]
    entries = [e for m in told if isinstance(m, AppendRequested) for e in m.entries]
    parts = [m for m in told if isinstance(m, SnapshotSent)]
    return sum(len(e.body) for e in entries) + sum(len(m.data) for m in parts)


def answer(raft: Raft, by: Voter, ok: bool, index: int) -> AppendAnswered:
    """A follower accepts up to an index, or refuses with it as the hint."""
    s = raft.state
    match, hint = (index, 0) if ok else (0, index)
    return AppendAnswered(s.log_id, s.hard.term, s.me, by, s.round, ok, match, hint, 0)


def allowed(once: int, seconds: int) -> int:
    """What a follower may draw: all of it once, its budget, and the frame that overdrew it."""
    again = BURST + seconds * PER_S
    return once + again + limits.APPEND_BATCH_MAX_BYTES


def test_who_takes_back_what_it_said_draws_no_more_than_its_budget() -> None:
    """It accepts and refuses in turn, as fast as it can."""
    cluster, liar, raft = heavy()
    by, held = cluster.voters[liar], raft.state.log.last_index - ENTRIES
    once = raft.state.log.bytes_after(0)
    total = 0
    for _ in range(SECONDS * ROUNDS_PER_S):
        cluster.now_ms += 1000 // ROUNDS_PER_S
        total += drawn(raft.tick(cluster.now()), by)
        for ok, index in ((False, 1), (True, held)):
            said = answer(raft, by, ok, index)
            total += drawn(raft.receive(said, by.peer_key, cluster.now()), by)
    assert once // 2 < total <= allowed(once, SECONDS)


def test_who_was_told_too_much_again_catches_up_when_time_has_paid() -> None:
    """A budget that is spent delays a follower, and loses it nothing."""
    cluster, liar, raft = heavy()
    by, held = cluster.voters[liar], raft.state.log.last_index - ENTRIES
    for _ in range(20):
        for ok, index in ((False, 1), (True, held)):
            raft.receive(answer(raft, by, ok, index), by.peer_key, cluster.now())
    said = answer(raft, by, False, 1)
    assert drawn(raft.receive(said, by.peer_key, cluster.now()), by) == 0
    cluster.cut = set()
    cluster.run(BURST // PER_S * 1000)
    assert cluster.applied[liar] == raft.state.commit_index


def test_entries_without_a_body_cost_too() -> None:
    """Each has to be found, encoded and sealed, however short it is."""
    cluster, liar, raft = heavy()
    by, held = cluster.voters[liar], raft.state.log.last_index
    for _ in range(limits.APPEND_BATCH_MAX_ENTRIES):
        cluster.do((liar + 2) % 3, raft.propose(EntryKind.NODE, b"", cluster.now(), hold=True)[0])
        cluster.run(10)
    count = 0
    for _ in range(2_000):
        for ok, index in ((False, 1), (True, held)):
            out = raft.receive(answer(raft, by, ok, index), by.peer_key, cluster.now())
            frames = [m for key, m in out.send if key == by.peer_key]
            count += sum(len(m.entries) for m in frames if isinstance(m, AppendRequested))
    most = BURST // limits.SENT_AGAIN_ENTRY_BYTES
    assert count <= most + 3 * limits.APPEND_BATCH_MAX_ENTRIES


def test_one_loss_costs_an_honest_follower_no_wait() -> None:
    """All that was under way goes out again in the answer to its refusal and what follows."""
    cluster, liar, raft = heavy()
    by, last = cluster.voters[liar], raft.state.log.last_index
    held = last - ENTRIES
    raft.receive(answer(raft, by, False, held + 1), by.peer_key, cluster.now())
    first = drawn(raft.receive(answer(raft, by, True, held), by.peer_key, cluster.now()), by)
    assert first >= limits.APPENDS_IN_FLIGHT_MAX_BYTES
    again = drawn(raft.receive(answer(raft, by, False, held + 1), by.peer_key, cluster.now()), by)
    again += drawn(raft.receive(answer(raft, by, True, held), by.peer_key, cluster.now()), by)
    assert again >= first


def test_who_was_away_catches_up_as_fast_as_the_line() -> None:
    """What it is sent for the first time costs nothing: only what was under way when it went does,
    also where frames overtake each other, so that many are refused for one that was lost."""
    for delay_ms in (1, 5):
        cluster, liar, raft = heavy()
        cluster.cut, cluster.delay_ms = set(), delay_ms
        cluster.run(300)
        assert cluster.applied[liar] == raft.state.commit_index
        left = raft.state.progress[cluster.voters[liar].store_id].repeats.left_bytes
        under_way = limits.APPENDS_IN_FLIGHT_MAX_BYTES + 2 * limits.APPEND_BATCH_MAX_BYTES
        assert left >= (BURST - under_way if delay_ms == 1 else 0)


@pytest.mark.parametrize("step", [1, limits.SNAPSHOT_CHUNK_BYTES])
def test_a_snapshot_is_not_drawn_byte_by_byte_or_again_and_again(step: int) -> None:
    """A part begins where a part ends, and one that went out before counts against the budget."""
    cluster, liar, raft = heavy()
    by, s = cluster.voters[liar], raft.state
    cluster.do((liar + 2) % 3, raft.compact(bytes(2 * 1024 * 1024), s.commit_index))
    cluster.run(50)
    assert s.snapshot is not None
    total = 0
    for n in range(SECONDS * 100):
        cluster.now_ms += 10
        total += drawn(raft.tick(cluster.now()), by)
        for received in (0, step * (1 + n % 5)):
            said = SnapshotAnswered(s.log_id, s.hard.term, s.me, by, s.snapshot_index, received)
            total += drawn(raft.receive(said, by.peer_key, cluster.now()), by)
        refusal = answer(raft, by, False, 1)
        total += drawn(raft.receive(refusal, by.peer_key, cluster.now()), by)
    assert 0 < total <= allowed(len(s.snapshot), SECONDS)
    if step == 1:
        assert total <= (2 + SECONDS) * limits.SNAPSHOT_CHUNK_BYTES
