"""From a reading thread to a waiting task: the task takes everything that has arrived at once.

Intuition: waking the task costs as much as reading fifty log lines. So the thread wakes it once,
for everything that arrives before it runs: one item on a quiet stream, many on a busy one.

Invariants: at most `LOG_BATCH_MAX_CHUNKS` items and `LOG_BATCH_MAX_BYTES` bytes wait, or one larger
item; then the thread waits for the task. A departing task frees the thread at once.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from p2pool.model import limits

T = TypeVar("T")


class Gone(Exception):
    """Raised in the thread: no reader is left."""


class Handover(Generic[T]):
    """Create it in trio's thread. `size` returns an item's size in bytes."""

    def __init__(self, size: Callable[[T], int] = lambda item: 0) -> None:
        """Nothing waits."""
        self._size = size
        self._token = trio.lowlevel.current_trio_token()
        self._changed = threading.Condition()
        self._items: list[T] = []
        self._bytes = 0
        self._ended = self._gone = False
        self._filled = trio.Event()

    @property
    def waiting(self) -> int:
        """The number of waiting items."""
        return len(self._items)

    def put(self, item: T) -> None:
        """From the thread: hand an item over, waiting for room. Gone: no reader is left."""
        size = self._size(item)
        with self._changed:
            while not self._gone and self._full(size):
                self._changed.wait()
            if self._gone:
                raise Gone
            self._items.append(item)
            self._bytes += size
            first = len(self._items) == 1
        if first:
            try:
                self._token.run_sync_soon(self._wake)
            except trio.RunFinishedError as error:
                raise Gone from error

    def _full(self, size: int) -> bool:
        most = limits.LOG_BATCH_MAX_CHUNKS
        over = self._bytes + size > limits.LOG_BATCH_MAX_BYTES
        return bool(self._items) and (over or len(self._items) >= most)

    def _wake(self) -> None:
        self._filled.set()

    def end(self) -> None:
        """From the task's side: the thread has ended, and nothing more will come."""
        self._ended = True
        self._filled.set()

    def leave(self) -> None:
        """From the task: stop taking items for good."""
        with self._changed:
            self._gone = True
            self._items.clear()
            self._changed.notify()

    async def take(self) -> list[T]:
        """Everything that waits, as soon as something does; empty at the end."""
        while True:
            with self._changed:
                taken, self._items, self._bytes = self._items, [], 0
                self._changed.notify()
            if taken or self._ended:
                await trio.lowlevel.checkpoint()
                return taken
            await self._filled.wait()
            self._filled = trio.Event()
