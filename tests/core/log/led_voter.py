"""A voter far behind its leader, and a snapshot of their log that is ahead of it."""

from random import Random

import attrs

from p2pool.codec.entries import decode_snapshot, encode_body
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.core.log.pool_log import PoolLog
from p2pool.model import features, limits
from p2pool.model.features import FeatureLevel
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.raft import Configuration, Entry, Snapshot
from p2pool.model.messages.raft import AppendRequested
from p2pool.model.timing import Now
from tests.core.log.founded_log import ME, POOL, ROOT, founded, setting
from tests.raft.harness.cluster import voter

BOTH = Configuration((ME, voter(2)))


def whole() -> bytes:
    """A snapshot of a log that is long enough to have one."""
    pool_log = founded()
    for _ in range(limits.SNAPSHOT_AFTER_ENTRIES + 1):
        pool_log.propose(*setting("wan"), Now(12_000, 12_000))
    assert pool_log.raft is not None
    snapshot = pool_log.raft.state.snapshot
    assert snapshot is not None
    return snapshot


def led_voter(
    level: FeatureLevel = features.DISTRUST_LEVEL, seats: Configuration = BOTH, number: int = 2
) -> PoolLog:
    """A voter of a committee of two, or a node with another seat or none, far behind its leader, in
    a pool of such a level."""
    me = voter(number)
    pool_log = PoolLog(me, POOL, Random(3))
    pool_log.follow_root(ROOT, Now(0, 0))
    raft = pool_log.raft
    assert raft is not None
    assert pool_log.log_id is not None
    kind, body = encode_body(seats)
    first = Entry(1, 1, kind, 0, body)
    frame = AppendRequested(pool_log.log_id, 1, ME, me, 0, 0, 1, 1, (first,))
    pool_log.receive(frame, ME.peer_key, Now(5, 5))
    assert pool_log.state is not None
    pool_log.state.level = level
    pool_log.send = []
    assert raft.state.is_voter == (me in seats.voters)
    return pool_log


def of_two(level: FeatureLevel = features.DISTRUST_LEVEL) -> Snapshot:
    """A snapshot of that log, ahead of the voter."""
    good = decode_snapshot(whole())
    state, both = decode_state(good.state), (ME, voter(2))
    state.level = level
    state.chain = CommitteeChain(1, both)
    return attrs.evolve(good, state=encode_state(state), configuration=Configuration(both))
