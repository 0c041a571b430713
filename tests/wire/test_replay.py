"""What was seen is refused, what is new is taken, whatever the order in which it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.model import limits
from p2pool.model.errors import Stale
from p2pool.model.ids import PeerKey
from p2pool.model.messages.queries import Ping
from p2pool.model.messages.registry import Channel, Header, Verified
from p2pool.wire.replay import ReplayGuard, StreamSequence, Window
from tests.wire.samples import NODE_ID, NOW_MS

A, B = PeerKey(b"a" * 32), PeerKey(b"b" * 32)


def message(
    sequence: int,
    *,
    channel: Channel = Channel.BEAT,
    key: PeerKey = A,
    incarnation: int = 1,
    offset_ms: int = 0,
) -> Verified:
    """A verified message; its content does not matter here."""
    header = Header(
        node_id=NODE_ID,
        peer_key=key,
        incarnation=incarnation,
        sequence=sequence,
        sent_at_ms=NOW_MS + offset_ms,
    )
    return Verified(header, channel, Ping(1), b"")


def taken(guard: ReplayGuard, *messages: Verified) -> list[bool]:
    """Which of the messages are new."""
    result = []
    for one in messages:
        try:
            guard.accept(one, NOW_MS)
            result.append(True)
        except Stale:
            result.append(False)
    return result


@given(st.lists(st.integers(0, 40)), st.integers(1, 20))
def test_window_is_a_bounded_set(numbers: list[int], width: int) -> None:
    """A window agrees with the plain rule: not seen, and less than `width` below the highest."""
    window, seen = Window(width), set[int]()
    for number in numbers:
        wanted = number not in seen and number > max(seen, default=-1) - width
        try:
            window.accept(number)
            assert wanted
            seen.add(number)
        except Stale:
            assert not wanted
        assert window.seen < 1 << width


def test_a_leap_costs_nothing() -> None:
    """A sequence that jumps by 2**64 makes no number of that size."""
    window = Window(limits.GOSSIP_REPLAY_WINDOW)
    window.accept(0)
    window.accept(2**64 - 1)
    assert window.seen == 1


def test_gossip_comes_in_any_order_once() -> None:
    """Within 64 each is taken once; older ones are not."""
    guard = ReplayGuard()
    assert taken(guard, *[message(n) for n in (64, 1, 2, 1, 64, 0, 65)]) == [
        True,
        True,
        True,
        False,
        False,
        False,
        True,
    ]


def test_streams_only_grow() -> None:
    """A repeated or older frame is refused; one that was dropped on its way is not missed."""
    guard = ReplayGuard()
    raft = [message(n, channel=Channel.RAFT) for n in range(10)]
    assert taken(guard, raft[3], raft[4], raft[4], raft[6], raft[5], raft[9]) == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


@given(st.lists(st.integers(0, 9)))
def test_a_stream_never_takes_a_number_twice(numbers: list[int]) -> None:
    """Whatever comes, what is taken only grows."""
    stream, last = StreamSequence(), -1
    for number in numbers:
        try:
            stream.accept(number)
        except Stale:
            continue
        assert number > last
        last = number


def test_channels_and_peers_count_alone() -> None:
    """One sender's beats say nothing of its announcements, nor of another sender."""
    guard = ReplayGuard()
    first = [message(5), message(5, channel=Channel.ANNOUNCE), message(5, key=B)]
    assert taken(guard, *first, *first) == [True, True, True, False, False, False]


def test_incarnations_only_grow() -> None:
    """A restarted agent counts from 0 again; what its former self said is stale."""
    guard = ReplayGuard()
    assert taken(guard, message(50), message(0, incarnation=2), message(51)) == [True, True, False]
    assert guard.incarnation(A) == 2
    assert guard.incarnation(B) is None


@pytest.mark.parametrize("sign", [-1, 1])
def test_clocks(sign: int) -> None:
    """30 s off is the last to be taken, but Raft and relayed heartbeats have no clock check."""
    limit = limits.CLOCK_SKEW_MAX_MS
    guard = ReplayGuard()
    good, bad = message(1, offset_ms=sign * limit), message(2, offset_ms=sign * (limit + 1))
    assert taken(guard, good, bad) == [True, False]
    assert taken(guard, message(1, channel=Channel.RAFT, offset_ms=sign * 10**9)) == [True]
    guard.accept(bad, NOW_MS, relayed=True)


def test_refused_messages_change_nothing() -> None:
    """A message dated wrongly neither moves a window nor founds an incarnation."""
    guard = ReplayGuard()
    assert taken(guard, message(9, incarnation=9, offset_ms=10**6)) == [False]
    assert len(guard) == 0
    assert taken(guard, message(1)) == [True]


def test_memory_is_bounded() -> None:
    """With more peers than the bound, the one heard longest ago is forgotten."""
    guard = ReplayGuard(peers_max=2)
    keys = [PeerKey(bytes([n]) * 32) for n in range(3)]
    assert all(taken(guard, *[message(1, key=key) for key in keys[:2]]))
    assert taken(guard, message(2, key=keys[0]), message(1, key=keys[2])) == [True, True]
    assert len(guard) == 2
    assert guard.incarnation(keys[1]) is None


def test_a_run_that_began_ahead_of_the_time_gives_way_once_it_is_silent() -> None:
    """An agent ran while its clock was a day ahead, and its disk was wiped: its next run is heard.
    While the first one speaks, another with its key is refused, and its old words stay refused."""
    guard, day_ms = ReplayGuard(), 86_400_000
    first = NOW_MS + day_ms
    assert taken(guard, message(0, channel=Channel.RAFT, incarnation=first)) == [True]
    second = message(0, incarnation=NOW_MS + 1_000, offset_ms=1_000)
    assert taken(guard, second) == [False]
    later = message(0, incarnation=NOW_MS + 1_000, offset_ms=10_000)
    assert taken(guard, later) == [True]
    with pytest.raises(Stale):
        guard.accept(message(1, incarnation=first), NOW_MS, relayed=True)


def test_who_began_in_time_never_gives_way_to_an_earlier_run() -> None:
    """However late that one speaks."""
    guard = ReplayGuard()
    assert taken(guard, message(0, incarnation=NOW_MS)) == [True]
    assert taken(guard, message(0, incarnation=NOW_MS - 1, offset_ms=20_000)) == [False]
