"""A store gives back what it acknowledged, and counts its starts."""

import stat
from pathlib import Path

import pytest
import trio

from p2pool.drivers.store import Store
from p2pool.model.data_dir import LOCK_FILE
from p2pool.model.errors import DataDirInUse, Misconfigured, StoreFailed
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import HardState
from p2pool.model.ports import store as storage
from p2pool.model.ports.store import (
    AppendEntries,
    Batch,
    CompactTo,
    Delete,
    Put,
    ResetLog,
    Restored,
    SaveHardState,
    SaveSnapshot,
    TableRule,
    TruncateFrom,
)
from tests.store.samples import LOG, OTHER_LOG, OTHER_POOL, POOL, entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "data"


async def after(path: Path, *batches: Batch) -> Restored:
    """What a restart finds after these batches."""
    async with Store.open(path, POOL) as store:
        for batch in batches:
            await store.write(batch)
    async with Store.open(path, POOL) as store:
        return store.restored


async def test_a_new_store_is_empty_private_and_named(path: Path) -> None:
    """The first opening makes the directory 0700, the files 0600, and a store id of 16 bytes."""
    async with Store.open(path, POOL) as store:
        assert len(store.restored.store_id) == 16
        assert store.restored.log_id is None
        assert store.restored.hard_state == HardState()
        assert store.restored.entries == ()
        assert set(store.restored.tables) == set(storage.TABLES)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for file in path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


async def test_a_restart_gives_everything_back(path: Path) -> None:
    """Entries, hard state, snapshot and tables come back as they were written."""
    voted = HardState(3, StoreId(b"s" * 16))
    restored = await after(
        path,
        (ResetLog(LOG), SaveHardState(LOG, voted), SaveSnapshot(b"snap")),
        (AppendEntries(tuple(entry(i) for i in range(1, 11))),),
        (TruncateFrom(9), AppendEntries((entry(9, 2),)), CompactTo(3)),
        (Put("meta", b"a", b"1"), Put("meta", b"b", b"2"), Put("meta", b"a", b"3")),
        (Put("orders", b"x", b"1"), Delete("orders", b"x"), Delete("orders", b"none")),
    )
    assert restored.log_id == LOG
    assert restored.hard_state == voted
    assert restored.snapshot == b"snap"
    assert restored.entries == (*(entry(i) for i in range(4, 9)), entry(9, 2))
    assert list(restored.tables["meta"].items()) == [(b"b", b"2"), (b"a", b"3")]
    assert restored.tables["orders"] == {}


async def test_another_log_begins_empty(path: Path) -> None:
    """A reset forgets entries, snapshot and vote, and keeps the named tables."""
    restored = await after(
        path,
        (SaveHardState(LOG, HardState(5)), SaveSnapshot(b"s"), AppendEntries((entry(8),))),
        (Put("bindings", b"k", b"v"), ResetLog(OTHER_LOG)),
    )
    assert restored.log_id == OTHER_LOG
    assert restored.hard_state == HardState()
    assert (restored.snapshot, restored.entries) == (None, ())
    assert restored.tables["bindings"] == {b"k": b"v"}


async def test_each_start_has_a_greater_incarnation(path: Path) -> None:
    """Even with a clock that stands or goes back; the store id stays."""
    seen = []
    for wall_ms in (1_000, 1_000, 5, 9_000):
        async with Store.open(path, POOL, wall_ms=wall_ms) as store:
            seen.append((store.restored.store_id, store.restored.incarnation))
    assert [incarnation for _, incarnation in seen] == [1_000, 1_001, 1_002, 9_000]
    assert len({store_id for store_id, _ in seen}) == 1


async def test_a_cache_drops_its_oldest_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that evicts stays within its rule, in the order of writing."""
    rules = {**storage.TABLES, "bindings": TableRule(2, evicts=True)}
    monkeypatch.setattr("p2pool.drivers.store.apply.TABLES", rules)
    restored = await after(
        path,
        (Put("bindings", b"a", b""), Put("bindings", b"b", b""), Put("bindings", b"a", b"again")),
        (Put("bindings", b"c", b""), Put("orders", b"o", b"")),
    )
    assert list(restored.tables["bindings"]) == [b"a", b"c"]
    assert list(restored.tables["orders"]) == [b"o"]


@pytest.mark.parametrize(
    "bad",
    [
        (AppendEntries((entry(3),)),),
        (AppendEntries((entry(2), entry(4))),),
        (SaveHardState(OTHER_LOG, HardState(9)),),
    ],
    ids=["a gap", "a gap inside", "another log"],
)
async def test_a_hole_in_the_log_is_our_bug(path: Path, bad: Batch) -> None:
    """What contradicts the store ends the agent, and not a byte of the batch is kept."""
    before = await after(path, (ResetLog(LOG), AppendEntries((entry(1),))))
    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError), allow_unwrapped=True):
        async with Store.open(path, POOL) as store:
            await store.write((Put("meta", b"k", b"v"), *bad))
    restored = await after(path)
    assert restored.entries == before.entries
    assert restored.tables["meta"] == {}


def test_an_unknown_table_is_our_bug() -> None:
    """A name that is not in the table of tables is refused where it is written."""
    with pytest.raises(AssertionError):
        Put("nonsense", b"k", b"v")


async def test_one_agent_at_a_time(path: Path) -> None:
    """A second opening is told who holds the directory; after the first one ended it succeeds."""
    async with Store.open(path, POOL):
        with pytest.raises(DataDirInUse, match="held by another agent"):
            async with Store.open(path, POOL):
                pass
    async with Store.open(path, POOL):
        assert (path / LOCK_FILE).exists()


async def test_a_directory_of_another_pool_is_left_alone(path: Path) -> None:
    """The message names both pools; the store still opens for its own."""
    mine = await after(path, (Put("meta", b"k", b"v"),))
    with pytest.raises(DataDirInUse, match=r"belongs to pool 7 .* not to pool 8"):
        async with Store.open(path, OTHER_POOL):
            pass
    again = await after(path)
    assert (again.store_id, again.tables) == (mine.store_id, mine.tables)


async def test_a_directory_that_others_can_read_is_refused(path: Path) -> None:
    """Keys lie there; one that is empty is made private instead."""
    path.mkdir(mode=0o755)
    await after(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)
    with pytest.raises(Misconfigured, match="chmod 700"):
        async with Store.open(path, POOL):
            pass


async def test_a_file_instead_of_a_directory_is_refused(path: Path) -> None:
    """The error says what is wrong with the path."""
    path.write_text("")
    with pytest.raises(Misconfigured, match="not a directory"):
        async with Store.open(path, POOL):
            pass


async def test_many_writers_share_a_commit(path: Path) -> None:
    """A hundred concurrent writes need few commits, and all of them are there afterwards."""
    async with Store.open(path, POOL) as store:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(store.write, (Put("meta", b"%d" % number, b"v"),))
        assert 1 <= store.commits <= 3
    restored = await after(path)
    assert len(restored.tables["meta"]) == 100


async def test_a_closed_store_refuses(path: Path) -> None:
    """A write after the end is an error, never silence."""
    async with Store.open(path, POOL) as store:
        pass
    with pytest.raises(StoreFailed, match="closed"):
        await store.write((Put("meta", b"k", b"v"),))
