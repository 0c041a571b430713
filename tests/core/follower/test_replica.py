"""A follower replica notices by itself that its log is another one, or was begun anew."""

from random import Random

import attrs
import pytest

from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.queries import StateAnswered
from p2pool.model.ports.store import ResetLog
from p2pool.model.timing import Now
from tests.core.log.founded_log import POOL, ROOT, founded, setting
from tests.raft.harness.cluster import voter

GIVER = PeerKey(b"g" * 32)


def at(ms: int) -> Now:
    return Now(ms, ms)


def waiting() -> FollowerReplica:
    """One that was given entries for which nobody vouches yet, and has a question under way."""
    pool_log = founded()
    for _ in range(4):
        pool_log.propose(*setting("wan"), at(11_000))
    assert pool_log.raft is not None
    entries = tuple(pool_log.raft.state.log.entries)
    log = PoolLog(voter(2), POOL, Random(3))
    log.follow_root(ROOT, at(0))
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
