"""What connections make us hold: nobody is over a bound, and nothing is given back twice."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.net.transport.room import Account, Overrun, Room

ROOM, ONE, MEMBER = 100, 40, 1_000


def account(room: Room, cut: list[int], name: int) -> Account:
    """A guest's, whose end is noted."""
    return Account(room, ONE, lambda: cut.append(name))


def test_who_holds_more_than_one_may_is_cut_off() -> None:
    """And what it held is given back at once; later words of it count no more."""
    room, cut = Room(ROOM), list[int]()
    one = account(room, cut, 1)
    one.take(ONE)
    with pytest.raises(Overrun):
        one.take(1)
    one.give(ONE)
    assert (cut, room.held, one.held) == ([1], 0, 0)
    with pytest.raises(Overrun):
        one.take(1)


def test_the_largest_gives_way_and_not_who_came_last() -> None:
    """A newcomer's few bytes have room, however full it is."""
    room, cut = Room(ROOM), list[int]()
    accounts = [account(room, cut, name) for name in range(4)]
    for one, size in zip(accounts, (20, 40, 39, 1), strict=True):
        one.take(size)
    assert cut == []
    accounts[3].take(1)
    assert (cut, room.held) == ([1], 61)


def test_a_member_has_a_bound_of_its_own() -> None:
    """What it holds fills no room of guests, until it is a guest again."""
    room, cut = Room(ROOM), list[int]()
    one = account(room, cut, 1)
    one.take(30)
    one.leave(MEMBER)
    one.take(MEMBER - 30)
    assert (room.held, one.shared, cut) == (0, False, [])
    one.give(MEMBER - 30)
    one.enter(room, ONE)
    assert (room.held, one.shared) == (30, True)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(("take", "give", "leave", "enter", "close")),
            st.integers(0, 50),
        ),
        max_size=60,
    )
)
def test_the_room_holds_what_its_guests_hold(steps: list[tuple[int, str, int]]) -> None:
    """Whatever they do, in whatever order."""
    room, cut = Room(ROOM), list[int]()
    accounts = [account(room, cut, name) for name in range(4)]
    for name, step, size in steps:
        one = accounts[name]
        with suppress(Overrun):
            if step == "take":
                one.take(size)
            elif step == "give":
                one.give(min(size, one.held))
            elif step == "leave":
                one.leave(MEMBER)
            elif step == "enter":
                one.enter(room, ONE)
            else:
                one.close()
        assert room.held == sum(a.held for a in room.accounts) >= 0
        assert room.accounts == {a for a in accounts if a.shared and a.held}
        assert step != "take" or room.held <= ROOM
