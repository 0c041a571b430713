"""A follower replica notices by itself that its log is another one, or was begun anew."""

from random import Random

import attrs
import pytest

from p2pool.codec.entries import encode_body
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.fsm.state import history_after
from p2pool.core.log.pool_log import COMMIT_KEY, META_TABLE, PoolLog
from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.log.certificates import SignedHistory
from p2pool.model.log.entries import LevelRaised
from p2pool.model.log.raft import Configuration, Entry
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.ports.store import Put, ResetLog
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now
from tests.core.log.founded_log import POOL, ROOT, founded, setting
from tests.raft.harness.cluster import voter

GIVER, LIAR = PeerKey(b"g" * 32), PeerKey(b"l" * 32)


def at(ms: int) -> Now:
    return Now(ms, ms)


def newcomer() -> tuple[PoolLog, tuple[Entry, ...]]:
    """The empty log of a node without a seat, and the entries that others hold."""
    pool_log = founded()
    for _ in range(4):
        pool_log.propose(*setting("wan"), at(11_000))
    assert pool_log.raft is not None
    log = PoolLog(voter(2), POOL, Random(3))
    log.follow_root(ROOT, at(0))
    return log, tuple(pool_log.raft.state.log.entries)


def waiting() -> FollowerReplica:
    """One that was given entries for which nobody vouches yet, and has a question under way."""
    log, entries = newcomer()
    replica = FollowerReplica.of(log)
    replica.want(100, GIVER, 1, at(0))
    ask = replica.ask(1, (GIVER,), 1, at(1))
    assert ask is not None
    assert log.log_id is not None
    answer = StateAnswered(1, log.log_id, 100, entries, 0, 0, b"")
    assert replica.answered(answer, GIVER, 2, None, at(2)) is None
    assert replica.quarantine.waiting is not None
    assert replica.ask(2, (GIVER,), 1, at(3)) is not None
    return replica


def begun_anew(replica: FollowerReplica) -> None:
    assert replica.discard(at(10))


def another_log(replica: FollowerReplica) -> None:
    later = attrs.evolve(ROOT, epoch=ROOT.epoch + 1)
    assert replica.log.follow_root(later, at(10), 1)


@pytest.mark.parametrize("change", [begun_anew, another_log])
def test_what_was_asked_and_given_of_the_last_log_counts_no_more(change: object) -> None:
    """The question under way, the index that was wanted, and what waits are forgotten."""
    assert callable(change)
    replica = waiting()
    assert replica.wakeup_ms() is not None
    change(replica)
    assert replica.wakeup_ms() is None
    assert replica.quarantine.waiting is None
    assert replica.fetcher.log_id == replica.log.log_id
    assert replica.ask(3, (GIVER,), 1, at(11)) is None


def test_a_log_is_not_thrown_away_again_at_once() -> None:
    """A peer that lies again and again would otherwise have it fetched for ever."""
    replica = waiting()
    assert replica.discard(at(10))
    assert any(isinstance(op, ResetLog) for op in replica.log.take_persist())
    assert not replica.discard(at(9 + limits.DISCARD_PAUSE_MS))
    assert replica.log.take_persist() == []
    assert replica.discard(at(10 + limits.DISCARD_PAUSE_MS))


def test_nobody_waits_for_a_leader_that_lied() -> None:
    """A request here waits for what the leader has, which lied lately and is not asked: what others
    give is kept, and they are not asked for it again and again (250 times a second, for ever)."""
    log, entries = newcomer()
    assert log.log_id is not None
    replica, asked = FollowerReplica.of(log), 0
    replica.quarantine._lied(LIAR, at(0))
    for ms in range(2_000, 2_100):
        replica.want(100, LIAR, 1, at(ms))
        ask = replica.ask(ms, (GIVER, LIAR), 1, at(ms))
        if ask is not None:
            asked += 1
            assert ask.peer_key == GIVER
            answer = StateAnswered(ms, log.log_id, 100, entries, 0, 0, b"")
            replica.answered(answer, GIVER, ms + 1, LIAR, at(ms))
    assert replica.quarantine.waiting is not None
    assert asked < 5


def raising() -> tuple[PoolLog, tuple[Entry, ...], StateAnswered]:
    """A newcomer, and what a certified leader gives it: the level rises twice at once."""
    pool_log = founded()
    for level in (DISTRUST_LEVEL, FeatureLevel(DISTRUST_LEVEL + 1)):
        pool_log.propose(*encode_body(LevelRaised(level, "9.0.0")), at(11_000))
    assert pool_log.raft is not None
    entries = tuple(pool_log.raft.state.log.entries)
    assert pool_log.log_id is not None
    answer = StateAnswered(1, pool_log.log_id, entries[-1].index, entries, 0, 0, b"")
    log = PoolLog(voter(2), POOL, Random(3))
    log.follow_root(ROOT, at(0))
    return log, entries, answer


def test_no_leaders_word_makes_a_replica_too_old() -> None:
    """From the level on at which voters sign the history, their word is needed; here it comes."""
    log, entries, answer = raising()
    replica = FollowerReplica.of(log)
    replica.want(100, GIVER, 1, at(0))
    assert replica.ask(1, (GIVER,), 1, at(1)) is not None
    replica.answered(answer, GIVER, 2, GIVER, at(2))
    assert log.too_old is None
    assert log.applied_index == entries[-2].index
    assert log.distrusts
    history = history_after(log.history, entries[-1])
    log.histories.sign(SignedHistory(entries[-1].index, history))
    replica._prove(at(3))
    assert log.too_old is not None


def test_a_seat_that_comes_before_a_level_ends_the_fetching() -> None:
    """What its leader gave it beyond comes by appends, like all that follows."""
    leader = founded()
    leader.change(Configuration((leader.me,), (voter(2),)), at(11_000))
    leader.propose(*encode_body(LevelRaised(BASE_LEVEL, "9.0.0")), at(11_000))
    leader.propose(*setting("wan"), at(11_000))
    assert leader.raft is not None
    assert leader.log_id is not None
    entries = tuple(leader.raft.state.log.entries)
    answer = StateAnswered(1, leader.log_id, entries[-1].index, entries, 0, 0, b"")
    log = PoolLog(voter(2), POOL, Random(3))
    log.follow_root(ROOT, at(0))
    replica = FollowerReplica.of(log)
    replica.want(100, GIVER, 1, at(0))
    assert replica.ask(1, (GIVER,), 1, at(1)) is not None
    replica.answered(answer, GIVER, 2, GIVER, at(2))
    assert log.role is RaftRole.LEARNER
    assert log.applied_index == entries[-2].index


def test_what_nobody_signed_is_given_up_for_what_a_quorum_signed() -> None:
    """A replica that holds another log than the voters signed, from before they did, starts over;
    it blames one giver first."""
    log, entries, answer = raising()
    replica = FollowerReplica.of(log)
    replica.want(100, GIVER, 1, at(0))
    replica.ask(1, (GIVER,), 1, at(1))
    replica.answered(answer, GIVER, 2, GIVER, at(2))
    last = entries[-1]
    log.histories.sign(SignedHistory(last.index, Digest(b"x" * 32)))
    for number in range(limits.CONTRADICTIONS_MAX):
        assert replica.compare() is None
        replica.quarantine.add((last,), GIVER, at(3 + number))
        replica._prove(at(3 + number))
    assert replica.take_liars() == [GIVER] * limits.CONTRADICTIONS_MAX
    found = replica.compare()
    assert found is not None
    assert replica.discard(at(10))
    assert log.distrusts
    assert replica.compare() is None


def test_the_commit_index_is_written_for_what_is_signed() -> None:
    """Alone, if nothing else is to be written."""
    pool_log = founded()
    pool_log.take_persist()
    assert pool_log.take_persist() == []
    pool_log.keep_commit()
    assert pool_log.take_persist() == [
        Put(META_TABLE, COMMIT_KEY, pool_log.commit_index.to_bytes(8, "big"))
    ]
