"""Requests that come ahead of the answers before them take turns, over all connections.

Intuition: a client that sends hundreds of requests in one breath costs it nothing, and each answer
costs us. One such request is answered at a time, and then nobody's for as long as that took; so
whoever asks and reads waits for one of them at most, and half of the time is left for others.

Invariants: who waits for longest is next. A turn lasts for a bounded time: an answer that takes
longer goes on, and the next begins. Who gives up passes its turn on.
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
        self._began_s = self._took_s = 0.0

    async def __aenter__(self) -> None:
        """Wait for it."""
        before, self._before = self._before, None
        try:
            if before is not None:
                await before.wait()
        except BaseException:
            self._done.set()
            raise
        finally:
            self._began_s = trio.current_time()
            self._began.set()

    async def wait(self) -> None:
        """Until the next may have its turn."""
        await self._began.wait()
        longest_s = limits.API_TURN_MS / 1000
        with trio.move_on_at(self._began_s + longest_s):
            await self._done.wait()
            await trio.sleep(self._took_s)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Pass it on."""
        self._took_s = trio.current_time() - self._began_s
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
