"""A peer that hands out a state which is none ends no agent, and nothing of it reaches the disk."""

from random import Random

import attrs
import pytest

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.entries import decode_snapshot
from p2pool.core.follower.fetcher import Ask
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.fsm.state import Allocation, Task, TaskRecord, from_bytes
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, AllocationId, PeerKey, PoolRef, TaskId
from p2pool.model.log.raft import Configuration, Snapshot
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.messages.raft import SnapshotAnswered, SnapshotSent
from p2pool.model.ports.store import SaveSnapshot
from p2pool.model.tasks.spec import TaskSpec
from p2pool.model.timing import Now
from tests.core.log.founded_log import POOL, ROOT, founded, setting
from tests.raft.harness.cluster import voter

LIAR, HONEST = PeerKey(b"l" * 32), PeerKey(b"h" * 32)


def whole() -> bytes:
    """A snapshot of a log that is long enough to have one."""
    pool_log = founded()
    for _ in range(limits.SNAPSHOT_AFTER_ENTRIES + 1):
        pool_log.propose(*setting("wan"), Now(12_000, 12_000))
    assert pool_log.raft is not None
    snapshot = pool_log.raft.state.snapshot
    assert snapshot is not None
    return snapshot


def follower() -> tuple[FollowerReplica, Ask]:
    """One that is behind, and has asked the liar."""
    pool_log = PoolLog(voter(2), POOL, Random(3))
    pool_log.follow_root(ROOT, Now(0, 0))
    replica = FollowerReplica.of(pool_log)
    replica.want(10_000, LIAR, 1, Now(0, 0))
    ask = replica.ask(1, (LIAR, HONEST), 1, Now(1, 1))
    assert ask is not None
    assert ask.peer_key == LIAR
    return replica, ask


def tell(replica: FollowerReplica, ask: Ask, data: bytes, now: Now) -> None:
    """The whole of a snapshot in one answer."""
    request, name = ask.message.request, replica.log.log_id
    assert name is not None
    answer = StateAnswered(request, name, 10_000, (), len(data), 0, data)
    leader = ask.peer_key  # Whoever is asked leads, by a certificate.
    assert replica.answered(answer, ask.peer_key, 2, leader, now) is None


def damaged(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, state=snapshot.state[:-1])


def of_another_pool(snapshot: Snapshot) -> Snapshot:
    state = from_bytes(snapshot.state)
    state.pool = PoolRef(31337, Address(b"d" * 20), 2)
    return attrs.evolve(snapshot, state=state.to_bytes())


def later_than_it_says(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, index=snapshot.index + 5)


def with_a_task_that_is_unreadable(snapshot: Snapshot) -> Snapshot:
    state = from_bytes(snapshot.state)
    made = TaskRequest(Action.SUBMIT, POOL.pool_id, "", "{}", b"r" * 32, 0, 600)
    signed = SignedRequest(made, b"s" * 65)
    record = TaskRecord(TaskId(b"t" * 16), signed, Address(b"a" * 20), None, 1, 0)
    state.tasks[record.task_id] = Task(record, TaskSpec(name="t", image="i"))
    return attrs.evolve(snapshot, state=state.to_bytes())


def with_a_copy_of_no_task(snapshot: Snapshot) -> Snapshot:
    state = from_bytes(snapshot.state)
    state.put(Allocation(AllocationId(TaskId(b"t" * 16), 0)))
    return attrs.evolve(snapshot, state=state.to_bytes())


def of_another_committee(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, configuration=Configuration((voter(7),)))


LIES = (
    damaged,
    of_another_pool,
    later_than_it_says,
    with_a_task_that_is_unreadable,
    with_a_copy_of_no_task,
    of_another_committee,
)


@pytest.mark.parametrize("lie", LIES)
def test_a_state_that_is_none_is_left_and_another_peer_asked(lie: object) -> None:
    """The next answer, of an honest peer, is taken."""
    assert callable(lie)
    good = whole()
    replica, ask = follower()
    pool_log = replica.log
    pool_log.take_persist()
    tell(replica, ask, encode_struct(lie(decode_snapshot(good))), Now(2, 2))
    assert [o for o in pool_log.take_persist() if isinstance(o, SaveSnapshot)] == []
    assert pool_log.commit_index == 0
    again = replica.ask(3, (LIAR, HONEST), 1, Now(60_000, 60_000))
    assert again is not None
    assert again.peer_key == HONEST
    tell(replica, again, good, Now(60_001, 60_001))
    assert pool_log.commit_index == decode_snapshot(good).index


@pytest.mark.parametrize("lie", LIES)
def test_a_leaders_snapshot_is_looked_into_before_it_is_kept(lie: object) -> None:
    """Raft's own: a bad one changes nothing, counts against its leader, and is not answered for;
    the next leader's is taken."""
    assert callable(lie)
    good = decode_snapshot(whole())
    pool_log = PoolLog(voter(2), POOL, Random(3))
    pool_log.follow_root(ROOT, Now(0, 0))
    before = pool_log.state
    pool_log.take_persist()

    def sends(leader: int, data: bytes, at_ms: int) -> list[int]:
        assert pool_log.log_id is not None
        sent = SnapshotSent(
            pool_log.log_id,
            leader,
            voter(leader),
            voter(2),
            decode_snapshot(data).index,
            good.term,
            0,
            len(data),
            data,
        )
        pool_log.receive(sent, sent.leader.peer_key, Now(at_ms, at_ms))
        answers, pool_log.send = [m for _, m in pool_log.send], []
        return [a.received_bytes for a in answers if isinstance(a, SnapshotAnswered)]

    bad = encode_struct(lie(good))
    assert sends(3, bad, 10) == [0]
    assert sends(3, bad, 20) == []
    assert pool_log.refused == [voter(3).peer_key]
    assert (pool_log.state, pool_log.commit_index) == (before, 0)
    assert [o for o in pool_log.take_persist() if isinstance(o, SaveSnapshot)] == []
    kept = encode_struct(good)
    assert sends(4, kept, 2_000) == [len(kept)]
    assert pool_log.commit_index == good.index
