"""Requests that come ahead of the answers before them take turns, over all connections.

Intuition: a client that sends hundreds of requests in one breath costs it nothing, and each answer
costs us. One such request is answered at a time, and then nobody's for as long as that took; so
whoever asks and reads waits for one of them at most, and half of the time is left for others.

Invariants: who waits for longest is next. A turn lasts for a bounded time: an answer that takes
longer goes on, and the next begins. Who gives up is passed over, and who comes after it waits for
those before it.
"""

from types import TracebackType

import trio

from p2pool.model import limits


class Turn:
    """`async with`: one request's turn."""

    def __init__(self, before: "Turn | None") -> None:
        """`before`: whose turn comes first."""
        self._before = before
        self._began, self._done = trio.Event(), trio.Event()
        self._gave_up = False
        self._began_s = self._free_s = 0.0

    async def __aenter__(self) -> None:
        """Wait for it."""
        try:
            while (before := self._before) is not None:
                await before.wait()
                self._before = before._before
        except BaseException:
            self._gave_up = True
            # Where all give up, what they waited for is one turn, not a chain that grows.
            while self._before is not None and self._before._gave_up:
                self._before = self._before._before
            raise
        finally:
            self._began_s = trio.current_time()
            self._began.set()

    async def wait(self) -> None:
        """Until the next may have its turn; of one that gave up, nothing is to be waited for but
        those before it."""
        await self._began.wait()
        if self._gave_up:
            return
        with trio.move_on_at(self._began_s + limits.API_TURN_MS / 1000):
            await self._done.wait()
            await trio.sleep_until(self._free_s)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Pass it on."""
        now_s = trio.current_time()
        self._free_s = now_s + (now_s - self._began_s)
        self._done.set()


class Turns:
    """The turns of all connections."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._last: Turn | None = None

    def next(self) -> Turn:
        """A turn after all those given out so far."""
        self._last = Turn(self._last)
        return self._last
