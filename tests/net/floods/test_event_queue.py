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
