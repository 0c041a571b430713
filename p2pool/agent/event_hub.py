"""The node's events for API watchers: those that it keeps, then the next ones.

Intuition: a reader names the last event that it saw. Whatever it missed since comes first, and
where this node lost some of that, a `gap` says so and up to where. An id that this node has not
reached may come from a faster agent, or from this one before its restart: the reader waits a moment
for it, and is refused after that.

Invariants: each reader gets each event once, in order; nothing is told before the write that it
relies on. Where the log itself becomes void, ids begin below those that were told: who reads is
sent away, and told why.
Source: docs/design/api.md, "Events".
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from p2pool.core.log.event_window import EventWindow, gap, id_text
from p2pool.model import limits
from p2pool.model.errors import Overloaded, Stale
from p2pool.model.ports.agent import EventStream
from p2pool.model.ports.view import Event, EventId


class EventHub:
    """The listeners, and what they may be told of the node's events."""

    def __init__(
        self,
        window: EventWindow,
        reached: Callable[[], tuple[int, int]],
        stepped: Callable[[], Awaitable[None]],
    ) -> None:
        """Nobody listens yet. `reached`: the epoch and index up to which the node has applied its
        log; `stepped` waits for its next step. What is kept from before the start was durable
        then."""
        self._window, self._reached, self._stepped = window, reached, stepped
        self._told, self._voided = window.last, window.voided
        self._listeners: list[trio.MemorySendChannel[Event]] = []

    def emit(self, event: Event) -> None:
        """Publish an event; a listener that does not keep up is dropped."""
        self._follow_window()
        self._told = max(self._told, event.id)
        for listener in tuple(self._listeners):
            try:
                listener.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._listeners.remove(listener)
                listener.close()

    def _follow_window(self) -> None:
        """Where it began anew, below what was told, nobody's place is one any more."""
        if self._voided == self._window.voided:
            return
        self._voided, self._told = self._window.voided, self._window.floor
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    @property
    def voided(self) -> int:
        """How often a log became void whose events were told: then ids begin below them."""
        return self._window.voided

    def begun_anew(self) -> Event:
        """The gap between a void log's events and those that there are now, which come after it."""
        return gap(self._window.floor, self._window.oldest, "the log that they came from is void")

    async def listen(self, after: EventId | None) -> EventStream:
        """Events after an id (None: from now on). `Stale` for an id that this node does not reach
        within a moment; what comes raises `Overloaded` for a reader that is too slow."""
        self._follow_window()
        if after is None:
            begins = max(self._told, self._window.floor)
            return EventStream(begins, self._events(begins, self._voided))
        with trio.move_on_after(limits.EVENTS_AHEAD_WAIT_MS / 1000):
            while after[:2] > self._reached():
                await self._stepped()
        epoch, index = self._reached()
        if after[:2] > (epoch, index):
            raise Stale(
                f"The event {id_text(after)} is of the future for this agent, which has read the"
                f" pool's log up to entry {epoch}.{index}.",
                hint="Ask the agent that told it, or wait until this one has caught up. After a"
                " recovery of the pool begin anew, without an id.",
            )
        self._follow_window()
        return EventStream(after, self._events(after, self._voided))

    async def _events(self, last: EventId, voided: int) -> AsyncIterator[Event]:
        if voided != self._voided:
            raise _void()
        send, receive = trio.open_memory_channel[Event](limits.SUBSCRIBER_QUEUE_MAX)
        missed = self._missed(last)
        self._listeners.append(send)
        try:
            for event in missed:
                last = event.id
                yield event
            async for event in receive:
                if event.id > last:
                    last = event.id
                    yield event
        finally:
            if send in self._listeners:
                self._listeners.remove(send)
            send.close()
            receive.close()
        if voided != self._voided:
            raise _void()
        raise Overloaded("This reader is too slow.", hint="Resume after the last event's id.")

    def _missed(self, after: EventId) -> list[Event]:
        """What was told since, behind the gap if there is one."""
        window = self._window
        found = [event for event in window.after(after) if event.id <= self._told]
        if after >= window.floor:
            return found
        why = "this agent keeps the latest only, and none from before it caught up with the pool"
        return [gap(window.floor, window.oldest, why), *found]


def _void() -> Stale:
    return Stale(
        "The log that these events came from is void: its root record was withdrawn or replaced.",
        hint="Read how the pool is now, then begin anew, without an id.",
    )
