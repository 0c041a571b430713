"""A peer that hands out a state which is none ends no agent, and nothing of it reaches the disk."""

from random import Random

import attrs
import pytest

from p2pool.codec.entries import decode_snapshot, encode_body, encode_snapshot
from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.core.follower.fetcher import Ask
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import Allocation, PoolState, Task, TaskRecord
from p2pool.core.fsm.storage.rows import decode_state, digest_in, encode_state
from p2pool.core.log.kept_certificate import restore_certificate
from p2pool.core.log.pool_log import META_TABLE, PoolLog
from p2pool.core.raft import snapshot as snapshots
from p2pool.model import features, limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.errors import Malformed
from p2pool.model.features import FeatureLevel
from p2pool.model.ids import Address, AllocationId, PeerKey, PoolRef, TaskId
from p2pool.model.log.certificates import Link
from p2pool.model.log.entries import Certify, Noop
from p2pool.model.log.raft import Configuration, Entry, Snapshot
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.messages.raft import AppendRequested, SnapshotAnswered, SnapshotSent
from p2pool.model.ports.store import Put, SaveSnapshot
from p2pool.model.states import AllocationState, RaftRole
from p2pool.model.tasks.spec import TaskSpec
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME, POOL, ROOT, founded, setting
from tests.core.log.led_voter import led_voter, of_two, whole
from tests.raft.harness.cluster import voter

LIAR, HONEST = PeerKey(b"l" * 32), PeerKey(b"h" * 32)


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
    state = decode_state(snapshot.state)
    state.pool = PoolRef(31337, Address(b"d" * 20), 2)
    return attrs.evolve(snapshot, state=encode_state(state))


def later_than_it_says(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, index=snapshot.index + 5)


def with_a_task_that_is_unreadable(snapshot: Snapshot) -> Snapshot:
    state = decode_state(snapshot.state)
    made = TaskRequest(Action.SUBMIT, POOL.pool_id, "", "{}", b"r" * 32, 0, 600)
    signed = SignedRequest(made, b"s" * 65)
    record = TaskRecord(TaskId(b"t" * 16), signed, Address(b"a" * 20), None, 1, 0)
    state.tasks[record.task_id] = Task(record, TaskSpec(name="t", image="i"))
    return attrs.evolve(snapshot, state=encode_state(state))


def with_a_copy_of_no_task(snapshot: Snapshot) -> Snapshot:
    state = decode_state(snapshot.state)
    state.put(Allocation(AllocationId(TaskId(b"t" * 16), 0)))
    return attrs.evolve(snapshot, state=encode_state(state))


def of_another_committee(snapshot: Snapshot) -> Snapshot:
    return attrs.evolve(snapshot, configuration=Configuration((voter(7),)))


def with_a_lost_copy_of_no_node(snapshot: Snapshot) -> Snapshot:
    """Whoever places it anew would have to leave behind a copy that was nowhere."""
    state = decode_state(snapshot.state)
    spec = spec_json({"name": "t", "image": "busybox:1"})
    made = TaskRequest(Action.SUBMIT, POOL.pool_id, "", spec, b"r" * 32, 0, 600)
    record = TaskRecord(
        TaskId(b"t" * 16), SignedRequest(made, b"s" * 65), Address(b"a" * 20), None, 1, 0
    )
    state.put_task(Task(record, parse_spec(spec, state.level)))
    state.put(Allocation(AllocationId(record.task_id, 0), AllocationState.LOST))
    return attrs.evolve(snapshot, state=encode_state(state))


def with_a_change_of_the_future(snapshot: Snapshot) -> Snapshot:
    """Nobody could give it up, nor change the committee before."""
    state = decode_state(snapshot.state)
    link = Link(2, 1, state.log_time_ms + 10**9, state.chain.voters)
    state.chain = attrs.evolve(state.chain, links=(link,))
    return attrs.evolve(snapshot, state=encode_state(state))


def dated_ahead_of_its_state(snapshot: Snapshot) -> Snapshot:
    """No digest covers that date, and no entry after it may have an earlier one."""
    return attrs.evolve(snapshot, last_proposed_at_ms=2**62)


def with_a_learner_twice(snapshot: Snapshot) -> Snapshot:
    """No digest covers the learners."""
    voters = snapshot.configuration.voters
    return attrs.evolve(snapshot, configuration=Configuration(voters, (voter(7), voter(7))))


LIES = (
    with_a_lost_copy_of_no_node,
    with_a_change_of_the_future,
    dated_ahead_of_its_state,
    with_a_learner_twice,
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
    tell(replica, ask, encode_snapshot(lie(decode_snapshot(good))), Now(2, 2))
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

    bad = encode_snapshot(lie(good))
    assert sends(3, bad, 10) == [0]
    assert sends(3, bad, 20) == []
    assert pool_log.refused == [voter(3).peer_key]
    assert (pool_log.state, pool_log.commit_index) == (before, 0)
    assert [o for o in pool_log.take_persist() if isinstance(o, SaveSnapshot)] == []
    kept = encode_snapshot(good)
    assert sends(4, kept, 2_000) == [len(kept)]
    assert pool_log.commit_index == good.index


# --- a living voter -------------------------------------------------------------------------------


def given(
    pool_log: PoolLog, data: bytes, index: int, term: int = 1, proof: tuple[bytes, ...] = ()
) -> list[int]:
    """The answers to a whole snapshot of the leader, with what it says to prove it."""
    assert pool_log.log_id is not None
    last_term, size = decode_snapshot(data).term, len(data)
    sent = SnapshotSent(
        pool_log.log_id, term, ME, voter(2), index, last_term, 0, size, data, certificate=proof
    )
    pool_log.receive(sent, ME.peer_key, Now(10 * term, 10 * term))
    answers, pool_log.send = [m for _, m in pool_log.send], []
    return [a.received_bytes for a in answers if isinstance(a, SnapshotAnswered)]


def test_a_voter_installs_no_snapshot_on_its_leaders_word() -> None:
    """Not a readable one, either, unless a quorum certified the digest of its state there."""
    pool_log, good = led_voter(), of_two()
    data, before = encode_snapshot(good), pool_log.state
    assert given(pool_log, data, good.index) == [0]
    assert pool_log.state is before
    pool_log = led_voter()
    pool_log.certify(good.index, digest_in(good.state + b"another"), ())
    assert given(pool_log, data, good.index) == [0]
    pool_log = led_voter()
    pool_log.certify(good.index, digest_in(good.state), ())
    assert given(pool_log, data, good.index) == [len(data)]
    assert pool_log.commit_index == good.index


def test_nor_does_a_learner() -> None:
    """It waits for a certified one, like a voter; in a pool of an earlier level there are none."""
    for level, taken in ((features.BASE_LEVEL, True), (features.DISTRUST_LEVEL, False)):
        seats = Configuration((ME,), (voter(2),))
        pool_log, good = led_voter(level, seats), of_two(level)
        assert pool_log.role is RaftRole.LEARNER
        data = encode_snapshot(good)
        assert given(pool_log, data, good.index) == [len(data) if taken else 0]
        if not taken:
            assert pool_log.raft is not None
            pool_log.raft.state.refused = None
            pool_log.certify(good.index, digest_in(good.state), ())
            assert given(pool_log, data, good.index) == [len(data)]


def kept_certificate(pool_log: PoolLog) -> tuple[bytes, ...]:
    """What a log would have of its snapshot's certificate after a restart."""
    ops = [o for o in pool_log.take_persist() if isinstance(o, Put)]
    rows = {o.key: o.value for o in ops if o.table == META_TABLE}
    assert pool_log.raft is not None
    again = attrs.evolve(pool_log.raft.state, snapshot_certificate=())
    restore_certificate(again, rows)
    return again.snapshot_certificate


def test_only_what_was_checked_is_kept_as_a_snapshots_certificate() -> None:
    """A giver may send a true snapshot with any bytes as its proof: whoever leads with those later
    would have its snapshots refused."""
    good = of_two()
    data, signed, forged = encode_snapshot(good), (b"signed",), (b"forged",)
    pool_log = led_voter()
    pool_log.certify(good.index, digest_in(good.state), signed)
    assert given(pool_log, data, good.index, proof=forged) == [len(data)]
    assert pool_log.raft is not None
    assert pool_log.raft.state.snapshot_certificate == signed
    assert kept_certificate(pool_log) == signed


def test_nor_is_any_other_kept_of_one_that_was_fetched() -> None:
    """Nobody vouches for a first snapshot: what proves it comes later, and only if it fits."""
    data = whole()
    good, signed = decode_snapshot(data), (b"signed",)
    for digest, proof in (
        (digest_in(good.state), signed),
        (digest_in(good.state + b"another"), ()),
    ):
        replica, ask = follower()
        name = replica.log.log_id
        assert name is not None
        answer = StateAnswered(
            ask.message.request, name, 10_000, (), len(data), 0, data, certificate=(b"forged",)
        )
        assert replica.answered(answer, LIAR, 2, LIAR, Now(2, 2)) is None
        assert replica.log.commit_index == good.index
        assert replica.log.raft is not None
        s = replica.log.raft.state
        assert s.snapshot_certificate == ()
        replica.log.certify(good.index, digest, signed)
        assert s.snapshot_certificate == proof
        assert kept_certificate(replica.log) == proof


def test_a_certified_state_comes_with_no_second_committee() -> None:
    """What is certified is the state, with its voters; those to come would be the leader's word."""
    pool_log, good = led_voter(), of_two()
    voters = good.configuration.voters
    joint = attrs.evolve(good, configuration=Configuration((voter(7),), (), voters))
    pool_log.certify(good.index, digest_in(good.state), ())
    assert given(pool_log, encode_snapshot(joint), good.index) == [0]
    assert pool_log.configuration.voters == voters


# --- its learners, which no digest covers ---------------------------------------------------------


def changes(pool_log: PoolLog, wanted: Configuration) -> Configuration:
    """The committee that a voter has after its leader's next entry, which changes it."""
    assert pool_log.log_id is not None
    raft, begin = pool_log.raft, pool_log.last_index
    assert raft is not None
    s = raft.state
    term, at_ms = s.log.last_term, s.snapshot_at_ms
    entry = Entry(begin + 1, term, *encode(wanted, at_ms))
    frame = AppendRequested(pool_log.log_id, term, ME, voter(2), begin, term, begin, 1, (entry,))
    pool_log.receive(frame, ME.peer_key, Now(20_000, 20_000))
    return pool_log.configuration


def encode(wanted: Configuration, at_ms: int) -> tuple[int, int, bytes]:
    """What an entry has of a change of the committee."""
    level = features.DISTRUST_LEVEL if wanted.is_joint else features.BASE_LEVEL
    kind, body = encode_body(wanted, level)
    return kind, at_ms, body


def installed(level: FeatureLevel = features.DISTRUST_LEVEL) -> PoolLog:
    """A voter that has a true state from a giver that left out the learner, `voter(7)`."""
    pool_log, good = led_voter(level), of_two(level)
    pool_log.certify(good.index, digest_in(good.state), (b"signed",))
    data = encode_snapshot(good)
    assert given(pool_log, data, good.index) == [len(data)]
    return pool_log


LEARNER = voter(7)
PROMOTED = (
    Configuration((ME, voter(2), LEARNER)),
    Configuration((ME, voter(2), LEARNER, voter(8)), (voter(9),), (ME, voter(2))),
)


@pytest.mark.parametrize("wanted", PROMOTED)
def test_a_giver_that_leaves_out_a_learner_has_no_honest_change_refused(
    wanted: Configuration,
) -> None:
    """Or this voter would never follow the leader that makes the learner a voter."""
    pool_log = installed()
    assert changes(pool_log, wanted) == wanted
    assert pool_log.entries_refused == []


def test_what_a_snapshot_does_not_say_is_asked_of_all_that_follows() -> None:
    """From the first configuration that is held on, and of the voters always; at the first level
    all voters judge as they did."""
    both = (ME, voter(2))
    pool_log = installed()
    first = Configuration(both, (LEARNER,))
    assert changes(pool_log, first) == first
    assert changes(pool_log, Configuration((*both, voter(8)), (LEARNER,))) == first
    pool_log = installed()
    assert changes(pool_log, Configuration((ME, voter(7), voter(8)))) == Configuration(both)
    pool_log = installed(features.BASE_LEVEL)
    assert changes(pool_log, PROMOTED[0]) == Configuration(both)


@pytest.mark.parametrize("seated", [False, True])
def test_no_giver_makes_a_node_a_learner(seated: bool) -> None:
    """It would stop to fetch and take what its leader likes to send, also after a restart. Who has
    a seat by an entry keeps it."""
    group = Configuration((ME, voter(2)), (LEARNER,) if seated else ())
    pool_log, good = led_voter(seats=group, number=7), of_two()
    assert pool_log.role is (RaftRole.LEARNER if seated else RaftRole.IDLE)
    assert pool_log.raft is not None
    pool_log.raft.state.role = RaftRole.IDLE
    pool_log.certify(good.index, digest_in(good.state), (b"signed",))
    pool_log.take_persist()
    seats = Configuration((ME, voter(2)), (LEARNER, voter(8)))
    data = encode_snapshot(attrs.evolve(good, configuration=seats))
    assert pool_log.adopt_snapshot(data, LIAR)
    assert pool_log.commit_index == good.index
    assert pool_log.role is (RaftRole.LEARNER if seated else RaftRole.IDLE)
    assert pool_log.must_fetch is not seated
    (saved,) = [o.snapshot for o in pool_log.take_persist() if isinstance(o, SaveSnapshot)]
    kept = decode_snapshot(saved).configuration
    assert kept.learners == ((LEARNER, voter(8)) if seated else (voter(8),))


@pytest.mark.parametrize("true", [True, False])
def test_what_a_snapshot_covers_stays_only_if_it_leads_there(true: bool) -> None:
    """A leader may have given this voter other entries of the same term: it hands on none."""
    leader, pool_log = founded(), led_voter()
    for _ in range(4):
        leader.propose(*encode_body(Noop(ME.node_id)), Now(10_000, 10_000))
    assert leader.raft is not None
    assert leader.state is not None
    assert pool_log.raft is not None
    assert pool_log.state is not None
    first = pool_log.raft.state.log.entries[0]
    state = PoolState(POOL, 1)
    sent = [first, *leader.raft.state.log.entries[1:]]
    for entry in sent:
        apply_entry(state, entry)
    held = [attrs.evolve(e, proposed_at_ms=e.proposed_at_ms + (not true)) for e in sent[1:]]
    term, more = held[-1].term, Entry(held[-1].index + 1, held[-1].term, 99, 10_001, b"")
    log_id = leader.raft.state.log_id
    frame = AppendRequested(log_id, term, ME, voter(2), 1, 1, 1, 1, (*held, more))
    pool_log.receive(frame, ME.peer_key, Now(6, 6))
    assert pool_log.last_index == more.index
    snapshot = attrs.evolve(
        of_two(),
        index=state.applied_index,
        term=state.applied_term,
        last_proposed_at_ms=state.log_time_ms,
        state=encode_state(state),
    )
    pool_log.certify(snapshot.index, digest_in(snapshot.state), ())
    data = encode_snapshot(snapshot)
    pool_log.send = []
    assert given(pool_log, data, snapshot.index, term) == [len(data)]
    log = pool_log.raft.state.log
    assert (log.base_index, log.last_index) == ((0, 7) if true else (6, 6))


def test_in_a_pool_of_an_earlier_level_leaders_prove_nothing() -> None:
    """An old leader's snapshot has no certificate, and a new voter takes it."""
    pool_log, good = led_voter(features.BASE_LEVEL), of_two(features.BASE_LEVEL)
    data = encode_snapshot(good)
    assert given(pool_log, data, good.index) == [len(data)]


@pytest.mark.parametrize("level", [features.BASE_LEVEL, features.DISTRUST_LEVEL])
def test_a_state_of_a_later_version_ends_no_agent_on_one_leaders_word(level: FeatureLevel) -> None:
    """It is refused, and people are told; a quorum's word for the same state counts."""
    pool_log, good = led_voter(level), of_two()
    pool_log.newest_level = features.BASE_LEVEL
    data = encode_snapshot(good)
    assert given(pool_log, data, good.index) == [0]
    assert pool_log.too_old is None
    pool_log.certify(good.index, digest_in(good.state), ())
    assert pool_log.raft is not None
    pool_log.raft.state.refused = None
    assert given(pool_log, data, good.index, 2) == [0]
    assert pool_log.too_old is not None


def test_a_leader_makes_its_snapshot_where_a_quorum_certifies_the_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its question, with the signatures for whoever asks; before that only after a long wait."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 10)
    pool_log = founded()
    assert pool_log.state is not None
    assert pool_log.raft is not None
    pool_log.state.level, s = features.DISTRUST_LEVEL, pool_log.raft.state
    for _ in range(12):
        pool_log.propose(*setting("wan"), Now(12_000, 12_000))
    assert s.snapshot is None
    asked = pool_log.propose(*encode_body(Certify(ME, 12_000)), Now(12_000, 12_000))
    point = pool_log.points[-1]
    pool_log.propose(*setting("lan"), Now(12_000, 12_000))
    pool_log.certify(point.index, point.state_digest, (b"signed",))
    assert (s.snapshot_index, s.snapshot_certificate) == (asked.index, (b"signed",))
    assert s.certified_index == asked.index
    for _ in range(50):
        pool_log.propose(*setting("wan"), Now(12_000, 12_000))
    assert s.snapshot_index > asked.index
    assert s.snapshot_certificate == ()


def test_a_state_that_no_snapshot_holds_is_a_problem_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log goes on, and is compacted once the state fits again."""
    monkeypatch.setattr(limits, "SNAPSHOT_AFTER_ENTRIES", 5)
    pool_log = founded()
    assert pool_log.raft is not None
    s = pool_log.raft.state

    def too_large(*args: object) -> bytes:
        raise Malformed("A state has 1 byte at most.")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "encode_snapshot", too_large)
        for _ in range(8):
            pool_log.propose(*setting("wan"), Now(12_000, 12_000))
    assert (pool_log.unkept, s.snapshot) == ("A state has 1 byte at most.", None)
    for _ in range(8):
        pool_log.propose(*setting("lan"), Now(12_000, 12_000))
    assert (pool_log.unkept, s.snapshot is None) == (None, False)
