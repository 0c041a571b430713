"""What others say of a peer's addresses is a hint: bounded, tried once, and paid for if wrong."""

import random
from collections import Counter
from types import SimpleNamespace

from p2pool.drivers.net.peers.dialer import Dialler
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


def dialler_of(peers: PeerBook, counters: Counter[str]) -> Dialler:
    """One that may dial nothing."""
    network = SimpleNamespace(get_connections=lambda *_: [])
    host = SimpleNamespace(get_network=lambda: network)
    return Dialler(host, peers, counters, lambda: 0, lambda peer_key, target: False)


async def test_an_honest_source_does_not_pay_for_addresses_that_are_not_dialled_from_here() -> None:
    """Most members may be behind routers, with addresses of their own networks: whoever names them
    says the truth, and costs no dial."""
    peers, counters = book(), Counter[str]()
    dialler = dialler_of(peers, counters)
    for number in range(10, 10 + 2 * limits.HINTS_WRONG_BURST):
        at_home = f"/ip4/192.168.1.{number}/tcp/4001"
        assert peers.hint(key(number), (at_home,), OTHER, dialler.now_ms())
        for peer in peers.due(dialler.now_ms(), 10, 10):
            await dialler._dial(peer)
    assert counters["dials_refused_range"] == 2 * limits.HINTS_WRONG_BURST
    assert len(peers) == 0
    assert not peers.hint(key(10), ("/ip4/192.168.1.10/tcp/4001",), OTHER, dialler.now_ms())
    assert peers.hint(MEMBER, some(1, 1), OTHER, dialler.now_ms())


async def test_a_name_is_paid_for_where_it_leads_to_such_an_address() -> None:
    """It was looked up: whoever makes up names would have that done for nothing."""
    peers = book()
    dialler = dialler_of(peers, Counter())
    for number in range(10, 10 + 2 * limits.HINTS_WRONG_BURST):
        name = ("/dns4/localhost/tcp/4001",)
        if not peers.hint(key(number), name, LIAR, dialler.now_ms()):
            break
        for peer in peers.due(dialler.now_ms(), 10, 10):
            await dialler._dial(peer)
    assert number < 10 + limits.HINTS_WRONG_BURST + 10


def test_a_full_book_drops_nobody_for_a_hint() -> None:
    """What peers say of themselves comes first."""
    peers = PeerBook(OWN, random.Random(7), 1)
    peers.learn(MEMBER, some(0))
    assert not peers.hint(OTHER, some(1), LIAR, 0)
    assert peers.addresses(MEMBER) == some(0)
