"""The node's recent events, kept for API watchers."""

from collections.abc import AsyncIterator

import trio

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Overloaded
from p2pool.model.ports.view import Event

EventId = tuple[int, int, int]


class EventHub:
    """The latest events, and the listeners for the next ones."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self.kept: BoundedDict[EventId, Event] = BoundedDict(limits.EVENTS_KEPT_MAX)
        self._listeners: list[trio.MemorySendChannel[Event]] = []

    def emit(self, event: Event) -> None:
        """Publish an event; a listener that does not keep up is dropped."""
        self.kept[event.epoch, event.index, event.number] = event
        for listener in tuple(self._listeners):
            try:
                listener.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._listeners.remove(listener)
                listener.close()

    async def listen(self, after: EventId | None) -> AsyncIterator[Event]:
        """Events after an id (None: from now on); `Overloaded` for a reader that is too slow."""
        send, receive = trio.open_memory_channel[Event](limits.SUBSCRIBER_QUEUE_MAX)
        missed = [e for key, e in self.kept.items() if after is not None and key > after]
        self._listeners.append(send)
        try:
            for event in missed:
                yield event
            async for event in receive:
                yield event
        finally:
            if send in self._listeners:
                self._listeners.remove(send)
            send.close()
            receive.close()
        raise Overloaded("This reader is too slow.", hint="Resume after the last event's id.")
