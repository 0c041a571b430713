"""The store: batches go in, and once a `write` has returned, its batch survives any crash.

One task owns the connection (apsw.aio gives it a thread): tasks that share a connection share its
transaction, and one task's rollback takes the other's rows with it. Whatever queues up while a
commit waits for the disk becomes durable with the next one (group commit), in order.

Invariant: after the first failure nothing is written again. The effect of a failed sync on the disk
is unknown until the file is opened anew, so a store that failed once refuses (the kernel reports an
`fsync` error only once; Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import apsw
import apsw.aio
import attrs
import trio

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.store.apply import Applier
from p2pool.drivers.store.datadir import DataDirLock, prepare_directory
from p2pool.drivers.store.failures import REOPEN_HINT, store_failure
from p2pool.drivers.store.migrations.migration import Migrated, migrate
from p2pool.drivers.store.schema import configure, open_schema
from p2pool.model import limits
from p2pool.model.errors import StoreFailed
from p2pool.model.ids import NodeId, PoolRef
from p2pool.model.ports.store import Batch, Restored

DATABASE_NAME = "store.db"

log = get_logger(__name__)


@attrs.define(eq=False)
class _Waiting:
    """A batch and the task that waits for it."""

    batch: Batch
    done: trio.Event = attrs.field(factory=trio.Event)
    failure: StoreFailed | None = None


class Store:
    """An open store. `restored` is its content at opening; writes do not change it. `migrated`: the
    version that it was migrated from at this opening, if it was."""

    def __init__(
        self, db: Any, applier: Applier, restored: Restored, migrated: Migrated | None = None
    ) -> None:
        """Used by `open` only. `db` is an apsw.AsyncConnection."""
        self.restored = restored
        self.migrated = migrated
        self.commits = 0
        self._db = db
        self._applier = applier
        self._failed: str | None = None
        self._closed = False
        self._send, self._receive = trio.open_memory_channel[_Waiting](
            limits.STORE_QUEUE_MAX_BATCHES
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        pool: PoolRef,
        *,
        wall_ms: int | None = None,
        vfs: str | None = None,
        held: bool = False,
        node_id: NodeId | None = None,
    ) -> AsyncIterator["Store"]:
        """Lock the data directory, open or create its store for `pool`, and run its writer.

        It first migrates a store that an earlier version wrote, under the same lock. `wall_ms` is
        the wall clock (default: now), `vfs` names an SQLite VFS (for tests). `held`: the caller
        holds the directory's lock. `node_id`: whose it is; None: only read, whosever it is. Raises
        DataDirInUse (held, or another's), Misconfigured (a directory that others
        read), TooOld (a newer version wrote there), StoreFailed. Leaving the block drains all
        writes; leaving by cancellation may lose unawaited ones.
        """
        await trio.to_thread.run_sync(prepare_directory, path)
        with nullcontext() if held else DataDirLock(path):
            # Shielded: it lasts a moment, and its lock has to outlive it.
            with trio.CancelScope(shield=True):
                migrated = await trio.to_thread.run_sync(migrate, path / DATABASE_NAME, pool, vfs)
            if migrated is not None:
                log.info(
                    f"migrated the store from {migrated.before} to {migrated.after}, "
                    f"backup at {migrated.backup}"
                )
            db = await _connect(path / DATABASE_NAME, vfs)
            try:
                try:
                    await db.async_run(configure, db)
                    now_ms = time.time_ns() // 1_000_000 if wall_ms is None else wall_ms
                    restored = await db.async_run(open_schema, db, path, pool, now_ms, node_id)
                    applier = await db.async_run(Applier, db)
                except apsw.Error as error:
                    raise store_failure(f"The store in {path} cannot be read", error) from error
                store = cls(db, applier, restored, migrated)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(store._run_writer)
                    try:
                        yield store
                    finally:
                        store._closed = True
                        store._send.close()
            finally:
                with trio.CancelScope(shield=True):
                    await _close(db)

    async def write(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing; it is when this returns.

        Waits for room when the queue is full. Raises StoreFailed if the disk refuses, and always
        from then on. If cancelled while it waits, the batch may be written or not.
        """
        if self._failed is not None:
            raise StoreFailed(self._failed, hint=REOPEN_HINT)
        if self._closed:
            raise StoreFailed("The store is closed.")
        waiting = _Waiting(batch)
        await self._send.send(waiting)
        await waiting.done.wait()
        if waiting.failure is not None:
            raise waiting.failure

    async def _run_writer(self) -> None:
        async with self._receive:
            async for first in self._receive:
                group = [first]
                while len(group) < limits.STORE_GROUP_MAX_BATCHES:
                    try:
                        group.append(self._receive.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                await self._commit(group)

    async def _commit(self, group: list[_Waiting]) -> None:
        if self._failed is None:
            batches = [waiting.batch for waiting in group]
            try:
                # A cancelled commit would be neither done nor undone: let it end.
                with trio.CancelScope(shield=True):
                    await self._db.async_run(self._applier.commit, batches)
                self.commits += 1
            except apsw.ConstraintError as error:
                raise AssertionError(f"operations that contradict the store: {error}") from error
            except (apsw.Error, OSError) as error:
                self._failed = store_failure("The store refused to write", error).message
        for waiting in group:
            if self._failed is not None:
                waiting.failure = StoreFailed(self._failed, hint=REOPEN_HINT)
            waiting.done.set()


async def _connect(file: Path, vfs: str | None) -> Any:
    """Open the database in a thread of its own. Its mode is 0600 whatever the umask is."""
    await trio.to_thread.run_sync(lambda: file.touch(mode=0o600))
    # Named explicitly: apsw would otherwise search all imported modules for the framework.
    token = apsw.async_controller.set(apsw.aio.Trio)  # type: ignore[arg-type]
    try:
        # Shielded: a connection that nobody holds would keep its thread for ever.
        with trio.CancelScope(shield=True):
            return await apsw.Connection.as_async(str(file), vfs=vfs)
    except apsw.Error as error:
        raise store_failure(f"The database {file} cannot be opened", error) from error
    finally:
        apsw.async_controller.reset(token)


async def _close(db: Any) -> None:
    """Close the connection; a disk that fails now has nothing left to lose."""
    try:
        await db.aclose()
    except apsw.Error:
        await db.aclose(force=True)
