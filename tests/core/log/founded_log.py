"""A log of one voter, which leads it."""

from random import Random

from p2pool.codec.entries import encode_body
from p2pool.core.log.pool_log import META_TABLE, PoolLog
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Address, PoolRef
from p2pool.model.log.entries import Setting
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.ports.store import (
    TABLES,
    AppendEntries,
    CompactTo,
    Put,
    Restored,
    SaveHardState,
    SaveSnapshot,
)
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


def written(pool_log: PoolLog) -> Restored:
    """What the disk holds after everything that the log wrote, in the order of writing."""
    hard, snapshot, log_id = HardState(), None, None
    entries: dict[int, Entry] = {}
    tables: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES}
    for op in pool_log.take_persist():
        match op:
            case SaveHardState():
                hard, log_id = op.hard_state, op.log_id
            case AppendEntries():
                entries |= {e.index: e for e in op.entries}
            case SaveSnapshot():
                snapshot = op.snapshot
            case CompactTo():
                entries = {i: e for i, e in entries.items() if i > op.index}
            case Put():
                tables[op.table][op.key] = op.value
            case _:
                pass
    kept = tuple(e for _, e in sorted(entries.items()))
    assert log_id is not None
    assert tables[META_TABLE]
    return Restored(ME.store_id, 1, log_id, hard, snapshot, kept, tables)
