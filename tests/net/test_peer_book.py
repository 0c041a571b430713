"""The peer book: bounds, back-off with jitter, and who is dialled first."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.peers.peer_book import PeerBook
from p2pool.model.ids import PeerKey
from p2pool.model.limits import (
    ADDRESSES_MAX,
    DIAL_BACKOFF_MAX_MS,
    DIAL_BACKOFF_MIN_MS,
    DIALS_RESERVED,
)

OWN = PeerKey(bytes(32))


def key(number: int) -> PeerKey:
    """A peer key for a number from 1."""
    return PeerKey(number.to_bytes(32, "big"))


def book(max_peers: int = 100) -> PeerBook:
    """An empty book."""
    return PeerBook(OWN, random.Random(7), max_peers)


def at(number: int) -> tuple[str, ...]:
    """One address."""
    return (f"/ip4/10.0.0.{number}/tcp/4001",)


def test_waits_double_up_to_the_bound_with_jitter() -> None:
    """Each failure doubles the wait, of which half is jitter, and the bound holds."""
    peers = book()
    peers.learn(key(1), at(1))
    now_ms = 1_000_000
    for failures in range(30):
        assert peers.due(now_ms, 10, 10) == (KnownPeer(key(1), at(1)),)
        peers.dial_failed(key(1), now_ms)
        due_ms = peers.next_due_ms()
        assert due_ms is not None
        whole_ms = min(DIAL_BACKOFF_MIN_MS * 2**failures, DIAL_BACKOFF_MAX_MS)
        assert whole_ms // 2 <= due_ms - now_ms <= whole_ms
        assert peers.due(due_ms - 1, 10, 10) == ()
        now_ms = due_ms


def test_a_new_address_is_tried_at_once_and_comes_first() -> None:
    """What failed at the old address says nothing about the new one."""
    peers = book()
    peers.learn(key(1), at(1))
    peers.due(0, 10, 10)
    peers.dial_failed(key(1), 0)
    peers.learn(key(1), at(1))
    assert peers.due(1, 10, 10) == ()
    peers.learn(key(1), at(2))
    assert peers.due(1, 10, 10) == (KnownPeer(key(1), at(2) + at(1)),)


def test_a_peer_is_not_dialled_twice_at_once_nor_while_connected() -> None:
    """Being dialled and being connected both take it out of what is due."""
    peers = book()
    peers.learn(key(1), at(1))
    assert len(peers.due(0, 10, 10)) == 1
    assert peers.due(0, 10, 10) == ()
    peers.connected(key(1))
    assert peers.due(10**9, 10, 10) == ()
    peers.disconnected(key(1), 5_000)
    assert peers.due(5_000 + DIAL_BACKOFF_MIN_MS, 10, 10) != ()


def test_a_refused_peer_waits_long_though_it_disconnects() -> None:
    """The disconnection that follows a refusal does not bring the dial forward."""
    peers = book()
    peers.learn(key(1), at(1))
    peers.due(0, 10, 10)
    peers.connected(key(1))
    peers.refused(key(1), 1_000)
    peers.connected(key(1))
    peers.disconnected(key(1), 1_100)
    assert peers.due(1_000 + DIAL_BACKOFF_MAX_MS // 2 - 1, 10, 10) == ()


def test_a_silent_peer_waits_a_little_longer_each_time_until_it_says_hello() -> None:
    """Its hello, or our reading of it, may have been late for once: that costs half a second."""
    peers = book()
    peers.learn(key(1), at(1))
    waits_ms = []
    for turn in (0, 1, 2, None, 4):
        assert peers.due(0, 10, 10) or peers.due(10**9, 10, 10)
        peers.connected(key(1))
        if turn is None:
            peers.judged(key(1))
        peers.silent(key(1), 0)
        due_ms = peers.next_due_ms()
        assert due_ms is None, "it is connected still"
        peers.disconnected(key(1), 0)
        due_ms = peers.next_due_ms()
        assert due_ms is not None
        waits_ms.append(due_ms)
    for turn, wait_ms in enumerate(waits_ms):
        longest_ms = DIAL_BACKOFF_MIN_MS << (turn if turn < 3 else turn - 3)
        assert longest_ms // 2 <= wait_ms <= longest_ms


def test_wanted_peers_pass_the_number_that_is_aimed_at() -> None:
    """Without room only those are dialled that somebody has something to say to."""
    peers = book()
    for number in (1, 2, 3):
        peers.learn(key(number), at(number))
    assert peers.due(0, 0, 10) == ()
    peers.want(key(3))
    assert [peer.peer_key for peer in peers.due(0, 0, 10)] == [key(3)]
    assert [peer.peer_key for peer in peers.due(0, 1, 10)] == [key(1)]


def test_a_full_book_displaces_the_one_that_failed_most_never_a_bootstrap_node() -> None:
    """Who answers, and where to begin, is kept."""
    peers = book(max_peers=3)
    peers.learn(key(1), at(1), bootstrap=True)
    peers.learn(key(2), at(2))
    peers.learn(key(3), at(3))
    peers.due(0, 10, 10)
    for number in (1, 3):
        peers.dial_failed(key(number), 0)
    peers.connected(key(2))
    assert peers.learn(key(4), at(4))
    assert [n for n in range(1, 5) if peers.addresses(key(n))] == [1, 2, 4]
    peers.connected(key(4))
    assert not peers.learn(key(5), at(5))
    assert len(peers) == 3


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), max_size=200))
@settings(deadline=None)
def test_the_bounds_hold_whatever_is_learnt(told: list[tuple[int, int]]) -> None:
    """Never more peers or addresses than allowed, and never ourselves."""
    peers = book(max_peers=5)
    for number, address in told:
        peers.learn(key(number), at(address))
    assert len(peers) <= 5
    assert peers.addresses(OWN) == ()
    assert all(len(peers.addresses(key(number))) <= ADDRESSES_MAX for number in range(13))


def test_addresses_that_keep_changing_jump_no_queue() -> None:
    """Of a peer that never connects one new address counts; the others wait their turn."""
    peers = book()
    peers.learn(key(1), at(1))
    for number in range(2, 6):
        peers.due(0, 10, 10)
        peers.dial_failed(key(1), 0)
        peers.learn(key(1), at(number))
        assert bool(peers.due(1, 10, 10)) is (number == 2)
    peers.connected(key(1))
    peers.disconnected(key(1), 1)
    peers.learn(key(1), at(9))
    assert peers.due(1, 10, 10)


def test_made_up_peers_leave_slots_for_those_that_somebody_wants() -> None:
    """However many are due before them."""
    peers = book()
    for number in range(1, 40):
        peers.learn(key(number), at(number))
    assert len(peers.due(0, 100, 8)) == 8 - DIALS_RESERVED
    assert peers.due(0, 100, DIALS_RESERVED) == ()
    peers.want(key(39))
    assert peers.due(0, 100, DIALS_RESERVED) == (KnownPeer(key(39), at(39)),)
