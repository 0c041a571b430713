"""An agent outlives a disk that refuses for a while, and no disk that is damaged."""

from pathlib import Path

import apsw
import attrs
import pytest
import trio

from p2pool.agent.loop import Loop
from p2pool.agent.store_restart import live_with_store
from p2pool.core import effects as fx
from p2pool.core.inputs import PersistFailed, Ticked
from p2pool.drivers.store.store import DATABASE_NAME, Store
from p2pool.model import limits
from p2pool.model.errors import StoreFailed
from p2pool.model.ports.store import Put
from p2pool.model.timing import Now
from tests.store.faults import FaultyDisk, faulty_disk
from tests.store.samples import POOL


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a moment."""
    monkeypatch.setattr(limits, "STORE_REOPEN_MIN_MS", 1)
    monkeypatch.setattr(limits, "STORE_REOPEN_MAX_MS", 20)


async def write(store: Store, key: bytes) -> bool:
    """Write one row; whether the disk took it."""
    try:
        await store.write((Put("meta", key, b"1"),))
    except StoreFailed:
        return False
    return True


@attrs.define
class Lives:
    """What becomes of an agent that writes a row in each life, and ends once it could."""

    path: Path
    rows: list[set[bytes]] = attrs.field(factory=list)
    opened: int = 0

    def store(self) -> object:
        """Open the store; count it."""
        self.opened += 1
        return Store.open(self.path, POOL, vfs="faulty")

    async def live(self, store: Store) -> bool:
        """One life: what it found, and whether it could write."""
        self.rows.append(set(store.restored.tables["meta"]))
        return await write(store, b"life %d" % len(self.rows))


async def test_a_disk_that_filled_and_was_freed_is_used_again(tmp_path: Path) -> None:
    """It is opened anew until it can be, and holds what was promised before, and no more."""
    lives = Lives(tmp_path / "data")

    def freeing(disk: FaultyDisk) -> object:
        disk.full = 1 <= lives.opened < 4
        return lives.store()

    with faulty_disk() as disk:

        async def live(store: Store) -> bool:
            disk.full = len(lives.rows) == 1
            return await lives.live(store)

        async with Store.open(lives.path, POOL, vfs="faulty") as store:
            assert await write(store, b"before")
        lives.rows.append(set())
        with trio.fail_after(30):
            await live_with_store(lambda: freeing(disk), live, trio.Event())  # type: ignore[arg-type,return-value]
    assert lives.opened > 3
    assert [b"before" in rows for rows in lives.rows[1:]] == [True] * (len(lives.rows) - 1)
    assert b"life 2" not in lives.rows[2]


async def test_a_database_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    """Another program holds it for longer than a write waits."""
    lives = Lives(tmp_path / "data")
    with faulty_disk():
        async with Store.open(lives.path, POOL) as store:
            assert await write(store, b"before")
        other = apsw.Connection(str(lives.path / DATABASE_NAME))

        async def live(store: Store) -> bool:
            if not lives.rows:
                other.execute("BEGIN IMMEDIATE")
            done = await lives.live(store)
            if not done:
                other.execute("ROLLBACK")
            return done

        with trio.fail_after(30):
            await live_with_store(lives.store, live, trio.Event())  # type: ignore[arg-type]
        other.close()
    assert len(lives.rows) == 2


async def test_what_cannot_be_opened_at_the_start_or_is_damaged_ends_the_agent(
    tmp_path: Path,
) -> None:
    """With the sentence that says what to do: opening it again would help nobody."""
    lives = Lives(tmp_path / "data")

    async def damage(store: Store) -> bool:
        lives.rows.append(set())
        (lives.path / DATABASE_NAME).write_bytes(b"garbage" * 4096)
        (lives.path / f"{DATABASE_NAME}-wal").unlink(missing_ok=True)
        return False

    with faulty_disk() as disk:
        disk.full = True
        with pytest.raises(StoreFailed):
            await live_with_store(lives.store, lives.live, trio.Event())  # type: ignore[arg-type]
        disk.full = False
        with pytest.raises(StoreFailed, match="damaged"), trio.fail_after(30):
            await live_with_store(lives.store, damage, trio.Event())  # type: ignore[arg-type]


async def test_whoever_asks_an_agent_to_stop_does_not_wait_for_its_disk(tmp_path: Path) -> None:
    """It ends in the pause between two attempts."""
    lives, stop = Lives(tmp_path / "data"), trio.Event()

    async def live(store: Store) -> bool:
        disk.full = True
        stop.set()
        return await lives.live(store)

    with faulty_disk() as disk, trio.fail_after(30):
        await live_with_store(lives.store, live, stop)  # type: ignore[arg-type]
        disk.full = False
    assert len(lives.rows) == 1


class _Refusing:
    """A store that refuses all."""

    async def write(self, batch: object) -> None:
        raise StoreFailed("The disk is full.")


@attrs.define
class _Writer:
    """A node that wants to keep something, until it hears that it cannot."""

    next_wakeup_ms: int = 2**53
    failed: list[str] = attrs.field(factory=list)

    def step(self, events: object, now: Now) -> list[object]:
        """One row for every input."""
        if isinstance(events, PersistFailed):
            self.failed.append(events.reason)
            return []
        return [fx.Persist((Put("meta", b"a", b"1"),))]


async def test_a_loop_says_that_its_store_failed(nursery: trio.Nursery) -> None:
    """To its node, which falls silent, and to whoever opens the store again."""
    node = _Writer()
    loop = Loop(node, _Refusing())  # type: ignore[arg-type]
    nursery.start_soon(loop.run, lambda effect: None)
    await loop.put(Ticked())
    with trio.fail_after(30):
        await loop.store_failed.wait()
        while not node.failed:
            await loop.wait_stepped()
    assert node.failed == ["The disk is full."]
