"""A log of one voter, which leads it."""

from random import Random

from p2pool.codec.entries import encode_body
from p2pool.core.log.pool_log import PoolLog
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Address, PoolRef
from p2pool.model.log.entries import Setting
from p2pool.model.timing import Now
from tests.raft.harness.cluster import voter

ME = voter(1)


POOL = PoolRef(31337, Address(b"c" * 20), 1)


ROOT = RootRecord(1, ME.node_id, ME.peer_key, ME.store_id)


def founded() -> PoolLog:
    """The only voter of a log, which leads."""
    pool_log = PoolLog(ME, POOL, Random(1))
    pool_log.follow_root(ROOT, Now(0, 0))
    pool_log.tick(Now(10_000, 10_000))
    assert pool_log.leads
    return pool_log


def setting(value: str) -> tuple[int, bytes]:
    return encode_body(Setting("timing", value))
