"""What clients asked and were told, as Jepsen records it: a line of JSON for each event.

`invoke` begins an operation. `ok` is its answer. `fail` says that it certainly had no effect: it
was never sent, or refused (`value` says which). `info` says that nobody knows: it may have had its
effect, may still have it, or never. Times are of one monotonic clock, from the start of the run.

A request that is sent again after a time-out is the same request: the pool promises to carry it out
once, so all that was sent of it is one operation with one effect at most, from the first time that
it was sent to the first answer; a refusal is an operation of its own, that saw the object as it
was. That keeps the number of operations of unknown outcome small, and takes nothing away: an effect
that comes twice, or after the answer, is one that no order of the operations explains.
"""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import attrs

from tests.chaos.history.linearizability import Operation
from tests.chaos.history.models import DONE, REFUSED, Call

NOT_SENT = "not sent"


@attrs.frozen
class Event:
    """One line. `number` joins an end to its beginning; `key` names the object (`task/...`)."""

    at_ns: int
    process: str
    type: str
    kind: str
    key: str
    number: int
    request: str = ""
    agent: str = ""
    value: Any = None
    error: str = ""


@attrs.define
class History:
    """The events of a run, in memory and in a file. Only one thread writes."""

    file: TextIO
    begun_ns: int = attrs.field(factory=time.monotonic_ns)
    events: list[Event] = attrs.field(factory=list)
    count: int = 0

    @classmethod
    def to(cls, path: Path) -> "History":
        """A history that is kept line by line, so that a run that is cut short leaves it."""
        return cls(path.open("w", buffering=1))

    def now_ns(self) -> int:
        """Nanoseconds since the start."""
        return time.monotonic_ns() - self.begun_ns

    def invoke(
        self,
        process: str,
        kind: str,
        key: str,
        request: str = "",
        agent: str = "",
        value: Any = None,
    ) -> Event:
        """An operation begins."""
        self.count += 1
        return self._keep(
            Event(self.now_ns(), process, "invoke", kind, key, self.count, request, agent, value)
        )

    def end(self, begun: Event, type: str, value: Any = None, error: str = "") -> Event:
        """An operation ends with `ok`, `fail` or `info`."""
        return self._keep(
            attrs.evolve(begun, at_ns=self.now_ns(), type=type, value=value, error=error)
        )

    def _keep(self, event: Event) -> Event:
        self.events.append(event)
        self.file.write(json.dumps(attrs.asdict(event)) + "\n")
        return event

    def close(self) -> None:
        """No more events."""
        self.file.close()


def read(path: Path) -> list[Event]:
    """The events in a file."""
    return [Event(**json.loads(line)) for line in path.read_text().splitlines()]


@attrs.define
class _Request:
    """All that is known of one request: when it was first sent, when it was first answered."""

    process: str
    call: Call
    sent_ns: int | None = None
    done_ns: int | None = None


def operations(events: Iterable[Event]) -> dict[str, list[Operation]]:
    """The operations on each object, for the checker."""
    begun: dict[int, Event] = {}
    ended: dict[int, Event] = {}
    for event in events:
        (begun if event.type == "invoke" else ended)[event.number] = event
    found: dict[str, list[Operation]] = {}
    requests: dict[tuple[str, str, str], _Request] = {}
    for number, start in begun.items():
        if not start.key:
            continue
        end = ended.get(number)
        mine = found.setdefault(start.key, [])
        if start.kind == "read":
            if end is not None and end.type == "ok":
                call = Call("read")
                mine.append(Operation(start.at_ns, end.at_ns, call, end.value, start.process))
            continue
        call = Call(start.kind, start.request)
        kept = requests.setdefault(
            (start.key, start.kind, start.request), _Request(start.process, call)
        )
        if end is not None and end.type == "fail":
            if end.value == REFUSED:
                mine.append(Operation(start.at_ns, end.at_ns, call, REFUSED, start.process))
            continue
        kept.sent_ns = min(start.at_ns, kept.sent_ns or start.at_ns)
        if end is not None and end.type == "ok":
            kept.done_ns = min(end.at_ns, kept.done_ns or end.at_ns)
    for (key, _, _), one in requests.items():
        if one.done_ns is not None:
            assert one.sent_ns is not None
            found[key].append(Operation(one.sent_ns, one.done_ns, one.call, DONE, one.process))
        elif one.sent_ns is not None:
            found[key].append(Operation(one.sent_ns, None, one.call, process=one.process))
    return found


def unanswered(events: Iterable[Event]) -> Mapping[str, Event]:
    """Requests that were sent, and neither done nor refused: by request, the last event of each."""
    open_ones: dict[str, Event] = {}
    settled: set[str] = set()
    for event in events:
        if not event.request:
            continue
        if event.type == "info":
            open_ones[event.request] = event
        if event.type == "ok" or event.value == REFUSED:
            settled.add(event.request)
    return {r: e for r, e in open_ones.items() if r not in settled}
