"""The timing profile is a setting of the log: in force at every node once it is applied there."""

from random import Random

from p2pool.codec.entries import encode_body
from p2pool.core.log.pool_log import META_TABLE, PoolLog
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
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
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.core.log.founded_log import ME, POOL, ROOT, founded, setting
from tests.raft.harness.cluster import voter


def timing(pool_log: PoolLog) -> Profile:
    assert pool_log.raft is not None
    found = [p for p, t in TIMINGS.items() if t == pool_log.raft.state.timing]
    return found[0]


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


def test_a_setting_is_in_force_when_it_is_applied() -> None:
    """And the next one after it; a value that this version does not know changes nothing."""
    pool_log = founded()
    assert timing(pool_log) is Profile.DEFAULT
    for value, wanted in (("lan", Profile.LAN), ("wan", Profile.WAN), ("mars", Profile.WAN)):
        pool_log.propose(*setting(value), Now(11_000, 11_000))
        assert timing(pool_log) is wanted


def test_a_setting_is_in_force_after_a_restart() -> None:
    """From the entries of the log."""
    pool_log = founded()
    pool_log.propose(*setting("lan"), Now(11_000, 11_000))
    again = PoolLog(ME, POOL, Random(2))
    again.restore(written(pool_log), Now(0, 20_000))
    assert timing(again) is Profile.LAN


def test_a_setting_in_a_snapshot_is_in_force() -> None:
    """After a restart, and at a node that takes the snapshot from a peer."""
    pool_log = founded()
    pool_log.propose(*setting("wan"), Now(11_000, 11_000))
    for _ in range(limits.SNAPSHOT_AFTER_ENTRIES):
        pool_log.propose(*encode_body(Setting("committee", "3")), Now(12_000, 12_000))
    assert pool_log.raft is not None
    s = pool_log.raft.state
    assert s.snapshot is not None
    assert s.log.base_index > limits.SNAPSHOT_AFTER_ENTRIES - limits.SNAPSHOT_KEEP_ENTRIES - 10
    peer = PoolLog(voter(2), POOL, Random(3))
    peer.follow_root(ROOT, Now(0, 0))
    peer.absorb(peer.raft.adopt_snapshot(s.snapshot))  # type: ignore[union-attr]
    assert timing(peer) is Profile.WAN
    again = PoolLog(ME, POOL, Random(2))
    again.restore(written(pool_log), Now(0, 20_000))
    assert timing(again) is Profile.WAN
    assert again.commit_index == pool_log.commit_index


def test_another_log_begins_with_the_default() -> None:
    """What the former one was set to is not its own."""
    pool_log = founded()
    pool_log.propose(*setting("lan"), Now(11_000, 11_000))
    other = voter(9)
    later = RootRecord(2, other.node_id, other.peer_key, other.store_id)
    assert pool_log.follow_root(later, Now(12_000, 12_000), block=9)
    assert timing(pool_log) is Profile.DEFAULT
