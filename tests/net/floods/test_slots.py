"""Who gives way to a newcomer: decided by where they come from and how much they have shown."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.drivers.net.host.address_groups import NOWHERE, groups_of
from p2pool.drivers.net.host.slots import Slot, Slots, Stage
from p2pool.model import limits

HOME = groups_of("127.0.0.1")
AWAY = groups_of("203.0.113.7")
NEXT = groups_of("203.0.113.8")
HOSTS = [HOME, AWAY, NEXT, groups_of("2001:db8::1"), NOWHERE]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places that a test fills soon: 4 half open, 2 shaking hands, 3 strangers, 5 guests, and 4 for
    members at least."""
    for name, value in {
        "CONNECTIONS_MAX": 14,
        "SLOTS_HALF_OPEN_MAX": 4,
        "SLOTS_HANDSHAKE_MAX": 2,
        "SLOTS_STRANGERS_MAX": 3,
        "SLOT_KEPT_MIN_MS": 5,
    }.items():
        monkeypatch.setattr(limits, name, value)


def come(slots: Slots, groups: object = HOME, now_ms: int = 0) -> tuple[Slot, list[Slot]]:
    """A newcomer that gets in."""
    slot, displaced = slots.come(groups, now_ms)  # type: ignore[arg-type]
    assert slot is not None
    return slot, displaced


def at(slots: Slots, stage: Stage, groups: object = HOME, now_ms: int = 0) -> Slot:
    """A connection that has come so far, whoever gave way to it."""
    slot, _ = come(slots, groups, now_ms)
    for step in range(1, stage + 1):
        assert slots.reach(slot, Stage(step)) is not None
    return slot


def test_the_oldest_silent_one_of_a_full_house_gives_way() -> None:
    """All from one address, the newcomer too; one that has spoken is not the quietest."""
    slots = Slots(4)
    held = [come(slots, HOME, number)[0] for number in range(4)]
    held[0].heard(4)
    assert come(slots, HOME, 10)[1] == [held[1]]
    assert come(slots, HOME, 11)[1] == [held[2]]
    assert slots.reach(held[1], Stage.STRANGER) is None
    assert slots.count(Stage.HALF_OPEN) == 4


def test_one_that_spoke_and_then_stalls_is_the_quietest_in_the_end() -> None:
    """A byte is worth a while, not a place."""
    slots = Slots(4)
    spoke, _ = come(slots, HOME, 0)
    spoke.heard(1)
    for _ in range(3):
        come(slots, HOME, limits.SPOKE_PATIENCE_MS + 2)
    assert come(slots, HOME, limits.SPOKE_PATIENCE_MS + 3)[1] == [spoke]


def test_who_crowds_displaces_his_own() -> None:
    """However quiet the others are: first of the crowded network, in it of the crowded address."""
    slots = Slots(4)
    alone, _ = come(slots, HOME, 0)
    near, _ = come(slots, NEXT, 1)
    first, _ = come(slots, AWAY, 2)
    second, _ = come(slots, AWAY, 3)
    assert come(slots, HOME, 10)[1] == [first]
    assert come(slots, AWAY, 11)[1] == [second]
    assert alone in slots._taken[Stage.HALF_OPEN]
    assert near in slots._taken[Stage.HALF_OPEN]


def test_who_has_just_come_is_left_the_moment_of_a_handshake() -> None:
    """In a crowd of one address the newcomer waits outside, for as long; from elsewhere it does
    not."""
    slots = Slots(4)
    first, _ = come(slots, HOME, 0)
    for _ in range(3):
        come(slots, HOME, 1)
    assert slots.come(HOME, 4) == (None, [])
    assert come(slots, AWAY, 4)[1] == [first]
    assert come(slots, HOME, 6)[1] != []


def test_each_stage_has_places_of_its_own() -> None:
    """Whoever only opens sockets costs no stranger its place, nor strangers a guest."""
    slots = Slots(4)
    guests = [at(slots, Stage.GUEST) for _ in range(5)]
    strangers = [at(slots, Stage.STRANGER) for _ in range(3)]
    for number in range(50):
        come(slots, HOME, 10 * number)
    assert all(slots.reach(one, one.stage) == [] for one in guests + strangers)
    for number in range(50):
        at(slots, Stage.STRANGER, HOME, 1_000 + number)
    assert all(slots.reach(one, one.stage) == [] for one in guests)


def test_members_have_every_place_that_they_need_and_nobody_takes_one() -> None:
    """A full house of members turns others away; with one guest in it, that one gives way."""
    slots = Slots(4)
    members = [at(slots, Stage.MEMBER) for _ in range(13)]
    guest = at(slots, Stage.GUEST)
    late, _ = come(slots)
    assert slots.reach(late, Stage.HANDSHAKE) == [guest]
    assert slots.reach(late, Stage.MEMBER) == []
    other, _ = come(slots, AWAY)
    assert slots.reach(other, Stage.HANDSHAKE) is None
    assert all(slots.reach(one, Stage.MEMBER) == [] for one in members)


def test_guests_leave_members_their_places() -> None:
    """However many there are."""
    slots = Slots(4)
    for number in range(50):
        at(slots, Stage.GUEST, HOME, number)
    assert slots.opened() <= limits.CONNECTIONS_MAX - 4
    for _ in range(4):
        member, displaced = come(slots)
        assert displaced == []
        for step in range(1, Stage.MEMBER + 1):
            slots.reach(member, Stage(step))


def test_a_member_that_is_one_no_more_may_have_to_go() -> None:
    """It is a guest like others, and the quietest of those gives way."""
    slots = Slots(4)
    member = at(slots, Stage.MEMBER, HOME, 9)
    guests = [at(slots, Stage.GUEST, HOME, number) for number in range(5)]
    assert slots.reach(member, Stage.GUEST) == [guests[0]]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_comes_places_are_bounded_and_members_stay(seed: int) -> None:
    """Connections of all kinds come, speak, get further and leave in any order."""
    rng, slots, now_ms = random.Random(seed), Slots(4), 0
    live: set[Slot] = set()
    for _ in range(120):
        now_ms += rng.randrange(10, 1_000)
        known = sorted(live, key=id)
        act = rng.random()
        gone: list[Slot] = []
        if act < 0.5 or not known:
            slot, gone = come(slots, rng.choice(HOSTS), now_ms)
            live.add(slot)
        elif act < 0.8:
            slot = rng.choice(known)
            reached = slots.reach(slot, Stage(rng.randint(slot.stage, Stage.MEMBER)))
            if reached is None:
                assert sum(one.stage is Stage.MEMBER for one in live) >= limits.CONNECTIONS_MAX
                live.discard(slot)
            gone = reached or []
            assert slot not in gone
        elif act < 0.9:
            rng.choice(known).heard(now_ms)
        else:
            live.discard(slot := rng.choice(known))
            slots.leave(slot)
        assert all(one.stage is not Stage.MEMBER for one in gone)
        live -= set(gone)
        assert len(slots) == len(live)
        assert slots.opened() <= limits.CONNECTIONS_MAX
        assert slots.count(Stage.HALF_OPEN) <= 4
        assert slots.count(Stage.STRANGER) <= 3
        assert slots.count(Stage.GUEST) <= 5


@pytest.mark.parametrize(
    ("one", "other", "narrow", "wide"),
    [
        ("203.0.113.7", "203.0.113.7", True, True),
        ("203.0.113.7", "203.0.113.8", False, True),
        ("203.0.113.7", "203.0.114.7", False, False),
        ("203.0.113.7", "::ffff:203.0.113.7", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::1", True, True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False, True),
        ("2001:db8:1:2::1", "2001:db8:2:2::1", False, False),
        ("fe80::1%eth0", "fe80::1", True, True),
        ("no address", "203.0.113.7", False, False),
    ],
)
def test_addresses_that_one_has_together_are_one_group(
    one: str, other: str, narrow: bool, wide: bool
) -> None:
    """One IPv4 address and its /24, a /64 of IPv6 and its /48."""
    first, second = groups_of(one), groups_of(other)
    assert (first.narrow == second.narrow, first.wide == second.wide) == (narrow, wide)
