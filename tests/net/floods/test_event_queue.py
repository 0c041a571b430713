"""The queue from the network to the agent: every peer waits for itself."""

from collections import Counter

import pytest
import trio
import trio.testing

from p2pool.drivers.net import event_queue
from p2pool.drivers.net.event_queue import EventQueue
from p2pool.drivers.net.events import FrameReceived, GossipReceived, NetEvent, PeerConnected
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel

A, B, C = (PeerKey(bytes([n]) * 32) for n in (1, 2, 3))


@pytest.fixture
def counters() -> Counter[str]:
    """What was counted."""
    return Counter()


@pytest.fixture
def queue(counters: Counter[str]) -> EventQueue:
    """Nothing waits."""
    return EventQueue(counters)


async def take(queue: EventQueue, count: int) -> list[bytes]:
    """What the next frames and gossip messages say."""
    found: list[NetEvent] = [await anext(queue) for _ in range(count)]
    return [e.data for e in found if isinstance(e, FrameReceived | GossipReceived)]


async def test_who_floods_waits_for_himself(queue: EventQueue, counters: Counter[str]) -> None:
    """Thousands of one peer's frames, and then one of another: it is next but one."""
    for number in range(5_000):
        queue.put_frame(A, Channel.WORK, b"%d" % number)
    queue.put_frame(B, Channel.RAFT, b"append")
    queue.put_gossip(Channel.BEAT, C, b"beat")
    assert set(await take(queue, 3)) == {b"0", b"append", b"beat"}
    assert counters["events_dropped_work"] == 5_000 - limits.PEER_INPUTS_MAX
    assert counters["events_dropped_raft"] == 0


async def test_what_one_peer_says_keeps_its_order(queue: EventQueue) -> None:
    """Its connection first, and gossip in the line of who signed it."""
    queue.put(PeerConnected(A, (), True))
    queue.put_frame(A, Channel.RAFT, b"1")
    queue.put_frame(B, Channel.RAFT, b"other")
    queue.put_gossip(Channel.BEAT, A, b"2")
    queue.put_frame(A, Channel.WORK, b"3")
    assert isinstance(await anext(queue), PeerConnected)
    said = await take(queue, 4)
    assert [one for one in said if one != b"other"] == [b"1", b"2", b"3"]


async def test_a_stream_is_left_unread_while_its_peers_line_is_long(
    queue: EventQueue, counters: Counter[str], nursery: trio.Nursery
) -> None:
    """A burst larger than the line loses nothing, and waits for nobody but itself."""
    count = 3 * limits.PEER_INPUTS_MAX
    queue.set_member(A, True)

    async def burst() -> None:
        for number in range(count):
            await queue.take_frame(A, Channel.WORK, b"%d" % number)

    nursery.start_soon(burst)
    await trio.testing.wait_all_tasks_blocked()
    assert len(queue) == limits.PEER_INPUTS_MAX // 2 + 1
    with trio.fail_after(5):
        await queue.take_frame(B, Channel.RAFT, b"append")
    said = await take(queue, count + 1)
    assert [one for one in said if one != b"append"] == [b"%d" % n for n in range(count)]
    assert counters["events_dropped_work"] == 0


async def test_many_that_flood_together_leave_room_for_one(
    queue: EventQueue, counters: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all room is taken, the longest line gives way."""
    monkeypatch.setattr(event_queue, "ROOM_FOR_TRAFFIC", 100)
    for number in range(40):
        for flooder in range(10, 15):
            queue.put_frame(PeerKey(bytes([flooder]) * 32), Channel.WORK, b"%d" % number)
    assert len(queue) == 100
    queue.put_frame(A, Channel.RAFT, b"append")
    assert len(queue) == 100
    assert b"append" in await take(queue, 6)


async def test_a_line_is_bounded_by_its_bytes_and_all_lines_are(
    queue: EventQueue, counters: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a megabyte in a frame, from a few peers, would be gigabytes."""
    monkeypatch.setattr(event_queue, "PEER_INPUTS_MAX_BYTES", 100)
    monkeypatch.setattr(event_queue, "INPUT_QUEUE_MAX_BYTES", 250)
    for peer_key in (A, B, C):
        for _ in range(5):
            queue.put_frame(peer_key, Channel.WORK, bytes(30))
    assert len(queue) <= 250 // 30
    found = [await anext(queue) for _ in range(len(queue))]
    whose = Counter(e.peer_key for e in found if isinstance(e, FrameReceived))
    assert set(whose) == {A, B, C}
    assert max(whose.values()) == 3


async def test_a_reader_waits_for_the_next(queue: EventQueue, nursery: trio.Nursery) -> None:
    """Until something comes."""

    async def put() -> None:
        queue.put_frame(A, Channel.WORK, b"late")

    nursery.start_soon(put)
    assert await take(queue, 1) == [b"late"]
    assert len(queue) == 0


def guest(number: int) -> PeerKey:
    """One of many that are no members."""
    return PeerKey(bytes([10 + number]) * 32)


async def test_a_member_waits_for_no_more_than_one_of_all_others(queue: EventQueue) -> None:
    """A hundred strangers spoke first, and are heard as well, now and then."""
    queue.set_member(A, True)
    for number in range(100):
        queue.put_frame(guest(number), Channel.QUERY, b"hello")
    for number in range(20):
        queue.put_frame(A, Channel.RAFT, b"%d" % number)
    queue.put_gossip(Channel.BEAT, B, b"beat")
    said = await take(queue, 24)
    assert [one for one in said if one not in {b"hello", b"beat"}] == [b"%d" % n for n in range(20)]
    assert b"beat" in said
    assert 0 < said.count(b"hello") <= 1 + 24 // limits.MEMBERS_IN_A_ROW


async def test_whose_line_waits_as_a_guests_becomes_a_members(queue: EventQueue) -> None:
    """In its order; and a member that is one no more waits with the others."""
    for number in range(30):
        queue.put_frame(guest(number), Channel.QUERY, b"hello")
    queue.put_frame(A, Channel.HELLO, b"1")
    queue.set_member(A, True)
    queue.put_frame(A, Channel.RAFT, b"2")
    said = await take(queue, 3)
    assert [one for one in said if one != b"hello"] == [b"1", b"2"]
    queue.set_member(A, False)
    queue.put_frame(A, Channel.RAFT, b"3")
    assert b"3" not in await take(queue, 10)


async def test_whoever_is_no_member_gives_way_to_one(
    queue: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short its line is, and not the other way round."""
    monkeypatch.setattr(event_queue, "ROOM_FOR_TRAFFIC", 50)
    for number in range(50):
        queue.put_frame(guest(number), Channel.QUERY, b"hello")
    queue.set_member(A, True)
    for _ in range(60):
        queue.put_frame(A, Channel.RAFT, b"append")
    queue.put_frame(guest(0), Channel.QUERY, b"hello")
    assert await take(queue, 50) == [b"append"] * 50
    assert len(queue) == 0


async def test_a_guest_is_left_unread_while_it_says_too_much(
    queue: EventQueue, autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing of it is dropped; it is read at its pace until it is a member."""
    count = limits.GUEST_FRAMES_BURST + 10 * limits.GUEST_FRAMES_PER_S
    began_s = trio.current_time()
    for number in range(count):
        await queue.take_frame(A, Channel.QUERY, b"%d" % number)
        await anext(queue)
    assert trio.current_time() - began_s == pytest.approx(10, abs=1)
    queue.set_member(A, True)
    began_s = trio.current_time()
    for number in range(count):
        await queue.take_frame(A, Channel.QUERY, b"%d" % number)
        await anext(queue)
    assert trio.current_time() == began_s
