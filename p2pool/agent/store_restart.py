"""An agent lives as long as its store does, and again once the store can be opened anew.

Intuition: a disk that was full is freed, and another program that held the database lets go. The
node that failed to write must not go on, because nobody knows what of it is on the disk: it stays
silent for a moment, so that whoever asks learns why. Then the store is closed, opened, checked and
read like at any start, and another node begins from it.

Invariants: nothing of the failed node's memory outlives it; pauses grow to a bound; what cannot be
opened at the first start, or is damaged, ends the agent with its sentence.
Source: docs/design/storage.md, "When the disk refuses".
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import trio

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.store.failures import is_damaged
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.errors import StoreFailed

log = get_logger(__name__)

OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
Live = Callable[[Store], Awaitable[bool]]
"""Lives with an open store. True: somebody asked it to stop; False: the store failed."""


async def live_with_store(open_store: OpenStore, live: Live, stop: trio.Event) -> None:
    """Open the store and live with it, again after each failed write, until `stop` is set."""
    opened, pause_ms = False, limits.STORE_REOPEN_MIN_MS
    while True:
        try:
            async with open_store() as store:
                opened, pause_ms = True, limits.STORE_REOPEN_MIN_MS
                if await live(store):
                    return
        except StoreFailed as error:
            if not opened or is_damaged(error):
                raise
            log.error("the store cannot be opened", why=error.message, again_in_ms=pause_ms)
            if await stopped_within(stop, pause_ms):
                return
            pause_ms = min(2 * pause_ms, limits.STORE_REOPEN_MAX_MS)
        else:
            log.warning("the agent begins anew: opening its store")


async def stopped_within(stop: trio.Event, for_ms: int) -> bool:
    """Wait a while; whether somebody asked to stop meanwhile."""
    with trio.move_on_after(for_ms / 1000):
        await stop.wait()
    return stop.is_set()


async def first_of(*events: trio.Event) -> None:
    """Wait until one of the events is set."""

    async def watch(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(watch, event)
