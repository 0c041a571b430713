"""What others say of a peer's addresses is a hint: bounded, tried once, and paid for if wrong."""

import random

from p2pool.drivers.net.peers.peer_book import PeerBook
from p2pool.model import limits
from p2pool.model.ids import PeerKey

OWN = PeerKey(bytes(32))


def key(number: int) -> PeerKey:
    """A peer key for a number from 1."""
    return PeerKey(number.to_bytes(32, "big"))


def book() -> PeerBook:
    """An empty book."""
    return PeerBook(OWN, random.Random(7))


def some(begin: int, count: int = 8) -> tuple[str, ...]:
    """So many addresses."""
    return tuple(f"/ip4/8.8.{begin}.{n}/tcp/1" for n in range(count))


LIAR, OTHER, MEMBER = key(1), key(2), key(3)


def test_a_hint_comes_after_what_the_peer_said_and_displaces_none_of_it() -> None:
    """However often it is said, and whichever is said first."""
    peers = book()
    peers.hint(MEMBER, some(1), LIAR, 0)
    peers.learn(MEMBER, some(0))
    for turn in range(20):
        peers.hint(MEMBER, some(turn), LIAR, 0)
    assert peers.addresses(MEMBER)[:8] == some(0)


def test_one_source_fills_the_room_neither_of_a_peer_nor_of_all() -> None:
    """The next one that knows an address still finds room."""
    peers = book()
    for number in range(10, 200):
        for turn in range(3):
            peers.hint(key(number), some(turn), LIAR, 0)
    held = [len(peers.addresses(key(number))) for number in range(10, 200)]
    assert max(held) == limits.HINTS_PER_PEER_AND_SOURCE_MAX
    assert sum(held) == limits.HINTS_PER_SOURCE_MAX
    assert peers.hint(key(10), some(9, 1), OTHER, 0)
    assert some(9, 1)[0] in peers.addresses(key(10))
    assert peers.hint(key(199), some(9, 1), OTHER, 0)


def test_a_hint_is_tried_once() -> None:
    """It is gone then, with the peer if that is all we had of it, and not taken again for a
    while, whoever repeats it."""
    peers = book()
    peers.hint(MEMBER, some(1, 1), LIAR, 0)
    (dial,) = peers.due(0, 10, 10)
    peers.failed_at(MEMBER, dial.addresses[0], 0)
    peers.dial_failed(MEMBER, 0)
    assert len(peers) == 0
    for source in (LIAR, OTHER):
        assert not peers.hint(MEMBER, some(1, 1), source, 1_000)
    assert peers.hint(MEMBER, some(1, 1), OTHER, limits.DIAL_BACKOFF_MAX_MS)


def test_a_hint_brings_no_dial_of_a_known_peer_forward() -> None:
    """Or whoever invents addresses has one dialled as often as it likes."""
    peers = book()
    peers.learn(MEMBER, some(0, 1))
    for _ in range(6):
        peers.due(10**6, 10, 10)
        peers.dial_failed(MEMBER, 10**6)
    assert peers.hint(MEMBER, some(1), LIAR, 10**6)
    assert peers.due(10**6 + 1_000, 10, 10) == ()


def test_who_gives_bad_hints_is_soon_heard_no_more() -> None:
    """Others are; and so is it, once time has paid for its mistakes."""
    peers = book()
    for turn in range(200):
        if not peers.hint(MEMBER, some(turn, 1), LIAR, 0):
            break
        peers.failed_at(MEMBER, some(turn, 1)[0], 0)
    assert turn == limits.HINTS_WRONG_BURST
    assert peers.hint(MEMBER, some(201, 1), OTHER, 0)
    assert peers.hint(MEMBER, some(202, 1), LIAR, 5_000)


def test_a_full_book_drops_nobody_for_a_hint() -> None:
    """What peers say of themselves comes first."""
    peers = PeerBook(OWN, random.Random(7), 1)
    peers.learn(MEMBER, some(0))
    assert not peers.hint(OTHER, some(1), LIAR, 0)
    assert peers.addresses(MEMBER) == some(0)
