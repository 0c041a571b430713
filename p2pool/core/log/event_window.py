"""The pool's latest events as this node keeps them, and from where on none is missing.

Intuition: events follow from entries, so each node makes them itself. It keeps the latest, in
memory and on its disk, for readers who come back. They go to the disk with whatever the node writes
next: until then the log that is there has the entries that they follow from, and a snapshot, which
replaces entries, is written with all events up to it.

Invariants: what lies behind `floor` up to `end` is complete, or `floor` moves; an event that was
told is not told again; what is kept is bounded by number and bytes, and the oldest go first.
Source: docs/design/api.md, "Events".
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from p2pool.codec.cbor import canonical
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ports.store import EVENTS_TABLE, Delete, PersistOp, Put
from p2pool.model.ports.view import AFTER_ENTRY, Event, EventId

SPAN_KEY = b"events.span"
"""In the table `meta`: epoch, index and number of the floor, epoch and index of the end."""

_NUMBER_BYTES = (8, 8, 4)


@attrs.define
class EventWindow:
    """`floor`: after this event none is missing; `end`: the epoch and index up to which they were
    taken. `_unwritten`: what is not on the disk yet; `_pruned`: what is there still."""

    floor: EventId = (0, 0, 0)
    end: tuple[int, int] = (0, 0)
    _events: dict[EventId, tuple[Event, int]] = attrs.field(factory=dict)
    _bytes: int = 0
    _unwritten: dict[EventId, bytes] = attrs.field(factory=dict)
    _pruned: list[EventId] = attrs.field(factory=list)
    _span: bytes = b""

    # --- reading ----------------------------------------------------------------------------------

    def after(self, place: EventId) -> list[Event]:
        """The events after a place, oldest first."""
        found: list[Event] = []
        for name in reversed(self._events):
            if name <= place:
                break
            found.append(self._events[name][0])
        return found[::-1]

    @property
    def oldest(self) -> EventId | None:
        """The oldest event that is kept."""
        return next(iter(self._events), None)

    @property
    def last(self) -> EventId:
        """The place of the last event, or of what was missed after it."""
        return max(next(reversed(self._events), self.floor), self.floor)

    # --- what the log does ------------------------------------------------------------------------

    def take(self, epoch: int, index: int, events: Sequence[Event]) -> Sequence[Event]:
        """Keep the events of the next entry; those that are new here."""
        if (epoch, index) <= self.end:
            return ()
        self.end = (epoch, index)
        for event in events:
            data = _encoded(event)
            self._events[event.id] = (event, len(data))
            self._unwritten[event.id] = data
            self._bytes += len(data)
        while (
            len(self._events) > limits.EVENTS_KEPT_MAX or self._bytes > limits.EVENTS_KEPT_MAX_BYTES
        ):
            self.floor = self._drop_oldest()
        return events

    def begin(self, epoch: int, index: int = 0) -> None:
        """Another log begins. `index`: its base follows from what was taken, up to there. Of the
        same epoch, or an earlier one: that log is void, and so is what was told of it. Of one after
        the next: nothing is known of those between."""
        void = epoch < self.end[0] or (epoch == self.end[0] and self.end[1] > index)
        if void or (not index and epoch > self.end[0] + 1):
            self._clear()
            self.floor = (epoch, index, 0)
        self.end = (epoch, index)

    def skip(self, epoch: int, index: int) -> Event | None:
        """The state goes on at an index, without the entries up to there; the gap, if that is
        one."""
        if (epoch, index) <= self.end:
            return None
        self.end = (epoch, index)
        return self.lose("this agent was behind, and took the state without what led to it")

    def lose(self, why: str) -> Event:
        """Give up all that is kept; the event that says so."""
        self._clear()
        self.floor = (*self.end, AFTER_ENTRY)
        return gap(self.floor, None, why)

    # --- the disk ---------------------------------------------------------------------------------

    def writes(self) -> list[PersistOp]:
        """What is not on the disk yet, each once; part of a write that has the commit index."""
        taken: list[PersistOp] = [Delete(EVENTS_TABLE, _key(name)) for name in self._pruned]
        taken += [Put(EVENTS_TABLE, _key(name), data) for name, data in self._unwritten.items()]
        span = b"".join([_key(self.floor), _key((*self.end, 0))])
        if span != self._span:
            taken.append(Put("meta", SPAN_KEY, span))
        self._span, self._unwritten, self._pruned = span, {}, []
        return taken

    def restore(self, rows: Mapping[bytes, bytes], span: bytes | None) -> None:
        """Read back what is on the disk. Rows that are none are as if they were missing."""
        width = sum(_NUMBER_BYTES)
        if span is None or len(span) != 2 * width:
            self._pruned = [name for name in map(_name, rows) if name is not None]
            return
        self._span, floor, end = span, _name(span[:width]), _name(span[width:])
        assert floor is not None
        assert end is not None
        self.floor, self.end = floor, end[:2]
        for key in sorted(rows):
            name, event = _name(key), _decoded(rows[key])
            if name is None or event is None or event.id != name:
                self.floor = max(self.floor, name or self.floor)
                continue
            self._events[name] = (event, len(rows[key]))
            self._bytes += len(rows[key])
        while (oldest := self.oldest) is not None and oldest <= self.floor:
            self._drop_oldest()

    # --- inside -----------------------------------------------------------------------------------

    def _drop_oldest(self) -> EventId:
        name = next(iter(self._events))
        _, size = self._events.pop(name)
        self._bytes -= size
        if self._unwritten.pop(name, None) is None:
            self._pruned.append(name)
        return name

    def _clear(self) -> None:
        while self._events:
            self._drop_oldest()


def gap(at: EventId, oldest: EventId | None, why: str) -> Event:
    """What stands in a stream where events are missing: reading goes on behind `at`."""
    text = f"events up to this one are missing: {why}"
    told = (("oldest", id_text(oldest) if oldest is not None else None),)
    return Event(*at, at_ms=0, kind="gap", subject="events", text=text, details=told)


def id_text(name: EventId) -> str:
    """An id as readers give it back."""
    return ".".join(map(str, name))


def _key(name: EventId) -> bytes:
    """Its place in the table: bytes in the order of the ids."""
    return b"".join(n.to_bytes(size, "big") for n, size in zip(name, _NUMBER_BYTES, strict=True))


def _name(key: bytes) -> EventId | None:
    if len(key) != sum(_NUMBER_BYTES):
        return None
    return (
        int.from_bytes(key[:8], "big"),
        int.from_bytes(key[8:16], "big"),
        int.from_bytes(key[16:], "big"),
    )


def _encoded(event: Event) -> bytes:
    details = [[name, value] for name, value in event.details]
    text = [event.kind, event.subject, event.text]
    return canonical.encode([*event.id, event.at_ms, *text, details])


def _decoded(data: bytes) -> Event | None:
    """The event in a row; None if there is none: a later version may write another form."""
    try:
        epoch, index, number, at_ms, kind, subject, text, details = cast(
            list[Any], canonical.decode(data)
        )
        named = tuple((str(name), value) for name, value in details)
    except (Malformed, TypeError, ValueError):
        return None
    return Event(
        epoch=epoch,
        index=index,
        number=number,
        at_ms=at_ms,
        kind=kind,
        subject=subject,
        text=text,
        details=named,
    )
