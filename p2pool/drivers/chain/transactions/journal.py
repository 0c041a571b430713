"""What an account has on its way into a block, kept on disk until it is there.

Intuition: who restarts, or runs a command a second time, must not send the same again under the
next number, behind the one that is stuck. So number, hashes and bytes are written before anything
is sent, and read before anything else is sent by that account, by whatever process of this machine
shares the directory.

Invariants: one file per chain and account, of one transaction at most; written whole, for its owner
only, before an endpoint hears of it; one process at a time sends for an account. A file that cannot
be read is never taken for none.
"""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.transactions import record
from p2pool.drivers.chain.transactions.record import PendingTransaction
from p2pool.model import limits
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, Unavailable
from p2pool.model.ids import Address

FOLDER = "transactions"
"""The folder of a data directory."""
_LOCK_POLL_S = 0.1


class Journal(Protocol):
    """Keeps one account's transaction while it is on its way."""

    def held(self) -> AbstractAsyncContextManager[None]:
        """While it is held, nobody else sends for this account."""
        ...

    async def load(self) -> PendingTransaction | None:
        """What is on its way."""
        ...

    async def save(self, transaction: PendingTransaction) -> None:
        """Keep it: from then on it may be sent."""
        ...

    async def clear(self) -> None:
        """It is in a block, or never will be."""
        ...


@attrs.define
class MemoryJournal:
    """Of an account that nobody uses after this process: of a development chain, or a test."""

    kept: PendingTransaction | None = None
    lock: trio.Lock = attrs.field(factory=trio.Lock)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """See the port."""
        async with self.lock:
            yield

    async def load(self) -> PendingTransaction | None:
        """See the port."""
        return self.kept

    async def save(self, transaction: PendingTransaction) -> None:
        """See the port."""
        self.kept = transaction

    async def clear(self) -> None:
        """See the port."""
        self.kept = None


@attrs.define
class FileJournal:
    """One account's journal in a data directory; the folder is made when it is first needed."""

    path: Path
    lock: trio.Lock = attrs.field(factory=trio.Lock)

    @classmethod
    def of(cls, directory: Path, chain_id: int, account: Address) -> "FileJournal":
        """The journal of an account in a data directory."""
        return cls(directory / FOLDER / f"{chain_id}-{address_text(account).lower()}.json")

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """See the port. `Unavailable`: another process has sent for this account for long."""
        async with self.lock:
            file = self._opened()
            try:
                await self._wait_locked(file)
                yield
            finally:
                os.close(file)

    def _misplaced(self) -> Misconfigured:
        file = next(one for one in self.path.parents if one.exists())
        return Misconfigured(
            f"{file} is no directory, and a data directory is meant.",
            hint="Name one that is, or will be: --agent DIR, P2POOL_AGENT or P2POOL_DATA_DIR.",
        )

    def _opened(self) -> int:
        try:
            folder = self.path.parent
            # A mode goes for the last folder alone, and the one above it is an agent's, with keys.
            with suppress(FileExistsError):
                folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(
                self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except NotADirectoryError as error:
            raise self._misplaced() from error
        except OSError as error:
            raise StoreFailed(
                f"Transactions cannot be kept in {self.path.parent}: {error.strerror}.",
                hint="Nothing was sent. Make room, or name another directory: P2POOL_DATA_DIR.",
            ) from error

    async def _wait_locked(self, file: int) -> None:
        with trio.move_on_after(limits.TRANSACTION_DEADLINE_MS / 1000):
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    await trio.sleep(_LOCK_POLL_S)
        raise Unavailable(
            "Another process on this machine has sent for the same account for minutes:"
            f" it holds {self.path.with_suffix('.lock')}.",
            hint="Wait for it, or end it: fuser -v names it.",
        )

    async def load(self) -> PendingTransaction | None:
        """See the port. `Misconfigured`: the file is damaged."""
        return await trio.to_thread.run_sync(self._load)

    async def save(self, transaction: PendingTransaction) -> None:
        """See the port. `StoreFailed`: the disk refuses."""
        await trio.to_thread.run_sync(self._write, record.write(transaction))

    async def clear(self) -> None:
        """See the port."""
        await trio.to_thread.run_sync(self._remove)

    def _load(self) -> PendingTransaction | None:
        try:
            with self.path.open("rb") as file:
                data = file.read(limits.TRANSACTION_FILE_MAX_BYTES + 1)
            if len(data) > limits.TRANSACTION_FILE_MAX_BYTES:
                raise Malformed(f"more than {limits.TRANSACTION_FILE_MAX_BYTES} bytes")
            return record.read(data)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise self._misplaced() from error
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read: {error.strerror}.",
                hint="Run this as the user who sent for this account before.",
            ) from error
        except Malformed as error:
            raise Misconfigured(
                f"{self.path}, which says what this account has sent, is damaged: {error.message}.",
                hint="Look the account up at an explorer of the chain; once nothing of it is"
                " pending there, remove the file.",
            ) from error

    def _write(self, data: bytes) -> None:
        if len(data) > limits.TRANSACTION_FILE_MAX_BYTES:
            raise Malformed("The transaction is too long to be kept.", hint="Send it in parts.")
        aside = self.path.with_name(f".{self.path.name}.new")
        try:
            aside.unlink(missing_ok=True)
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(opened, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
            self._sync_folder()
        except OSError as error:
            raise StoreFailed(
                f"A transaction cannot be kept in {self.path}: {error.strerror}.",
                hint="It was not sent. Make room on that disk, or check whose it is.",
            ) from error

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be removed: {error.strerror}.") from error

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
