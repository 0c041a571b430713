"""Whether a history is linearizable: the search of Wing and Gong, with Lowe's memoisation.

Intuition: a register that many clients use at once is correct when all operations can be put in
one order that (a) a single-threaded register would give the same answers in, and (b) respects real
time: what returned before another began comes before it. The search tries the operations that may
come first one after the other, and goes on from the state that each leaves behind; a pair of
(operations done, state left) that was seen once is never gone into again, which is what makes
histories of thousands of operations cheap. Operations whose outcome nobody knows (a time-out, a
broken connection) have no end: they may take effect at any time after they began, or never.

Locality (Herlihy and Wing): a history is linearizable if that of each object is, so callers split
theirs by key. Equal times count as overlapping, which can only make a history more acceptable.

Source: Wing and Gong, *Testing and verifying concurrent objects* (1993); Lowe, *Testing for
linearizability* (2017); the layout of the search is that of Athalye's porcupine.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import attrs

STEPS_MAX = 2_000_000
"""So many steps of the search for one object, then it is given up as undecided."""


class _Unknown:
    """The result of an operation that never came back."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = _Unknown()


class Undecided(Exception):
    """The search was given up: too many operations of unknown outcome overlap."""


@attrs.frozen
class Operation:
    """One operation on one object. `returned` None goes with the result UNKNOWN."""

    invoked: int
    returned: int | None
    call: Any
    result: Any = UNKNOWN
    process: str = ""

    def __attrs_post_init__(self) -> None:
        """No operation ends before it begins."""
        assert self.returned is None or self.invoked <= self.returned
        assert (self.returned is None) == (self.result is UNKNOWN)


@attrs.frozen
class Model:
    """A single-threaded object: `step(state, call, result)` gives the next state, or None where
    that call could not have had that result in that state. UNKNOWN fits any state."""

    initial: Hashable
    step: Callable[[Any, Any, Any], Any]


@attrs.frozen
class Verdict:
    """`stuck`: the first operation that no order explains, with `explained` ones before it."""

    linearizable: bool
    stuck: Operation | None = None
    explained: int = 0


@attrs.define(eq=False)
class _Event:
    """A call or a return in the doubly linked list of events in the order of time."""

    operation: Operation
    bit: int
    end: "_Event | None" = None
    previous: "_Event | None" = None
    next: "_Event | None" = None

    def unlink(self) -> None:
        """Take it out; it remembers where it was."""
        assert self.previous is not None
        self.previous.next = self.next
        if self.next is not None:
            self.next.previous = self.previous

    def relink(self) -> None:
        """Put it back where it was; in the reverse order of `unlink`."""
        assert self.previous is not None
        self.previous.next = self
        if self.next is not None:
            self.next.previous = self


def _events(operations: Sequence[Operation]) -> _Event:
    """The head of the list of events; at one time calls come before returns."""
    timed: list[tuple[tuple[int, int, int], _Event]] = []
    for number, operation in enumerate(operations):
        call = _Event(operation, 1 << number)
        timed.append(((operation.invoked, 0, number), call))
        if operation.returned is not None:
            call.end = _Event(operation, 1 << number)
            timed.append(((operation.returned, 1, number), call.end))
    head = last = _Event(Operation(0, 0, None, None), 0)
    for _, event in sorted(timed, key=lambda pair: pair[0]):
        last.next, event.previous = event, last
        last = event
    return head


def check(model: Model, operations: Sequence[Operation], steps_max: int = STEPS_MAX) -> Verdict:
    """Whether one object's operations are linearizable. Raises Undecided after `steps_max`."""
    head = _events(operations)
    open_ended = {1 << n for n, o in enumerate(operations) if o.returned is None}
    waiting = len(operations) - len(open_ended)
    state, done, most = model.initial, 0, -1
    stuck: Operation | None = None
    seen: set[tuple[int, Any]] = set()
    taken: list[tuple[_Event, Any]] = []
    event = head.next
    for _ in range(steps_max):
        if waiting == 0:
            return Verdict(True, None, len(operations))
        assert event is not None, "the return of an operation that waits is in the list"
        if event.end is not None or event.bit in open_ended:
            after = model.step(state, event.operation.call, event.operation.result)
            if after is None or (done | event.bit, after) in seen:
                event = event.next
                continue
            seen.add((done | event.bit, after))
            taken.append((event, state))
            state, done = after, done | event.bit
            _take(event)
            waiting -= event.bit not in open_ended
            event = head.next
            continue
        # The end of an operation that was not put in order yet: this way leads nowhere.
        if done.bit_count() > most:
            most, stuck = done.bit_count(), event.operation
        if not taken:
            return Verdict(False, stuck, most)
        event, state = taken.pop()
        done &= ~event.bit
        waiting += event.bit not in open_ended
        _give_back(event)
        event = event.next
    raise Undecided(f"{len(operations)} operations were not decided in {steps_max} steps")


def _take(call: _Event) -> None:
    call.unlink()
    if call.end is not None:
        call.end.unlink()


def _give_back(call: _Event) -> None:
    if call.end is not None:
        call.end.relink()
    call.relink()
