"""The events that a node keeps: what a reader has missed is there, or a gap says that it is not."""

import attrs
import pytest

from p2pool.core.log.event_window import SPAN_KEY, EventWindow
from p2pool.model import limits
from p2pool.model.ports.store import EVENTS_TABLE, Delete, PersistOp, Put
from p2pool.model.ports.view import AFTER_ENTRY, Event


def event(index: int, number: int = 0, *, epoch: int = 1, text: str = "happened") -> Event:
    details = (("exit_code", -9), ("node_id", None), ("reason", "müde"))
    return Event(epoch, index, number, 7, "allocation", "t.0", text, details)


def filled(first: int, last: int, *, epoch: int = 1) -> EventWindow:
    """A window of one event for each entry."""
    window = EventWindow()
    window.begin(epoch, first - 1)
    for index in range(first, last + 1):
        window.take(epoch, index, (event(index, epoch=epoch),))
    return window


@attrs.define
class Rows:
    """What is on the disk."""

    events: dict[bytes, bytes] = attrs.field(factory=dict)
    span: bytes | None = None

    def write(self, operations: list[PersistOp]) -> int:
        """Carry operations out; how many they were."""
        for one in operations:
            if isinstance(one, Delete):
                del self.events[one.key]
            elif isinstance(one, Put) and one.table == EVENTS_TABLE:
                self.events[one.key] = one.value
            else:
                assert isinstance(one, Put)
                assert one.key == SPAN_KEY
                self.span = one.value
        return len(operations)

    def read(self) -> EventWindow:
        """The window of the next start."""
        window = EventWindow()
        window.restore(self.events, self.span)
        return window


def test_it_comes_back_from_the_disk_as_it_was() -> None:
    """Every field of every event, in order, and from where on none is missing."""
    window, rows = filled(3, 9), Rows()
    rows.write(window.writes())
    again = rows.read()
    assert again.after((0, 0, 0)) == window.after((0, 0, 0)) == [event(i) for i in range(3, 10)]
    assert (again.floor, again.end) == (window.floor, window.end)


def test_a_write_costs_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """One event more is one row more and one row less, however many are kept; nothing new is
    nothing to write."""
    monkeypatch.setattr(limits, "EVENTS_KEPT_MAX", 100)
    window, rows = filled(1, 100), Rows()
    assert rows.write(window.writes()) == 101
    window.take(1, 101, (event(101),))
    assert rows.write(window.writes()) == 3
    assert rows.write(window.writes()) == 0
    assert len(rows.events) == 100


def test_it_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by bytes, on the disk as in memory; what goes moves the floor."""
    monkeypatch.setattr(limits, "EVENTS_KEPT_MAX", 10)
    window, rows = filled(1, 30), Rows()
    rows.write(window.writes())
    assert window.floor == (1, 20, 0)
    assert len(rows.events) == len(window.after((0, 0, 0))) == 10
    monkeypatch.setattr(limits, "EVENTS_KEPT_MAX_BYTES", 5_000)
    window.take(1, 31, (event(31, text="x" * 4_000),))
    rows.write(window.writes())
    assert window.floor > (1, 20, 0)
    assert sum(map(len, rows.events.values())) <= 5_000
    assert rows.read().after((0, 0, 0)) == window.after((0, 0, 0))


def test_an_entry_that_is_applied_again_tells_nothing_new() -> None:
    """After a start the node goes over the end of its log once more."""
    window = filled(1, 5)
    assert window.take(1, 4, (event(4),)) == ()
    assert window.take(1, 6, (event(6),)) == (event(6),)


def test_a_state_without_its_entries_is_a_gap() -> None:
    """A snapshot took the place of entries 6 to 40: none of what led to it can be told."""
    window = filled(1, 5)
    gap = window.skip(1, 40)
    assert gap is not None
    assert (gap.kind, gap.id) == ("gap", (1, 40, AFTER_ENTRY))
    assert window.floor == gap.id
    assert window.after((1, 2, 0)) == []


def test_a_snapshot_of_what_was_applied_is_no_gap() -> None:
    """It says nothing that was not told."""
    window = filled(1, 5)
    assert window.skip(1, 5) is None
    assert window.after((1, 3, 0)) == [event(4), event(5)]


def test_a_recovery_goes_on_where_the_last_epoch_ended() -> None:
    """Whoever had applied all that the new log builds on has missed nothing; others have."""
    window = filled(1, 5)
    window.begin(2, 5)
    assert window.skip(2, 5) is None
    window.take(2, 6, (event(6, epoch=2),))
    assert [one.id for one in window.after((1, 4, 0))] == [(1, 5, 0), (2, 6, 0)]
    behind = filled(1, 3)
    behind.begin(2)
    assert behind.skip(2, 5) is not None


def test_a_log_that_goes_on_from_nothing_hides_no_epoch_before_it() -> None:
    """A pool that lost all its disks begins anew. A node that followed the epoch before has told
    what it knew of it; one that did not, or that is new, says that there was something."""
    followed = filled(1, 5)
    followed.begin(2)
    assert followed.floor == (0, 0, 0)
    assert [one.id for one in followed.after((1, 4, 0))] == [(1, 5, 0)]
    missed, new, first = filled(1, 5), EventWindow(), EventWindow()
    missed.begin(3)
    new.begin(3)
    first.begin(1)
    assert missed.floor == new.floor == (3, 0, 0)
    assert missed.after((0, 0, 0)) == []
    assert first.floor == (0, 0, 0)


def test_a_log_in_the_place_of_another_forgets_what_that_told() -> None:
    """Two root records of one epoch: the later stands, and its entries have the same ids."""
    window = filled(1, 5)
    window.begin(1)
    assert window.after((0, 0, 0)) == []
    assert window.take(1, 1, (event(1, text="again"),)) == (event(1, text="again"),)


def test_rows_that_are_none_are_missing() -> None:
    """A row that is not ours or not whole moves the floor instead of ending the agent."""
    window, rows = filled(1, 5), Rows()
    rows.write(window.writes())
    rows.events[sorted(rows.events)[2]] = b"\x81\x00"
    again = rows.read()
    assert again.floor == (1, 3, 0)
    assert again.after((0, 0, 0)) == [event(4), event(5)]
    assert Rows(rows.events, None).read().after((0, 0, 0)) == []
