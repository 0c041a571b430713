"""Frames on real hosts: hello first, order kept, bounds held, standings obeyed."""

import pytest
import trio

from p2pool.model.errors import Malformed, NotAllowed, NotFound
from p2pool.model.limits import PEER_SEND_QUEUE_MAX, STREAM_FRAME_MAX_BYTES
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import echo_lines, introduce, running, wait_members


async def test_hello_both_ways_then_frames_both_ways_in_order() -> None:
    """Two strangers greet each other, and what is sent then arrives in order, small and large."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            assert one.frames(Channel.HELLO, two) == [b"hello 2"]
            assert two.frames(Channel.HELLO, one) == [b"hello 1"]
            sent = [b"%d" % number for number in range(100)] + [b"x" * STREAM_FRAME_MAX_BYTES]
            for frame in sent:
                assert one.network.send(two.key, Channel.RAFT, frame)
                assert two.network.send(one.key, Channel.WORK, frame)
            await two.wait(lambda: len(two.frames(Channel.RAFT, one)) == len(sent))
            await one.wait(lambda: len(one.frames(Channel.WORK, two)) == len(sent))
            assert two.frames(Channel.RAFT, one) == sent
            assert one.frames(Channel.WORK, two) == sent


async def test_nothing_but_hello_before_a_standing_is_set() -> None:
    """Frames for a peer that nobody judged yet are dropped, and the peer is let go in time."""
    with trio.fail_after(30):
        async with running(1, judge=lambda hello: None) as one, running(2) as two:
            introduce(one, two)
            await two.wait(lambda: two.network.standing(one.key) is Standing.MEMBER)
            await one.wait(lambda: one.frames(Channel.HELLO, two) == [b"hello 2"])
            assert not one.network.send(two.key, Channel.RAFT, b"early")
            assert one.network.counters["send_dropped_standing_raft"] == 1
            assert two.network.send(one.key, Channel.RAFT, b"refused")
            await one.wait(lambda: one.network.counters["hello_timeouts"] == 1)
            await one.wait(lambda: one.comings(two) == ["+", "-"])
            assert one.frames(Channel.RAFT, two) == []


async def test_a_guest_gets_query_and_nothing_else() -> None:
    """What a guest sends on other channels is refused, and what we would send it is dropped."""
    with trio.fail_after(30):
        async with running(1, judge=lambda hello: Standing.GUEST) as one, running(2) as two:
            introduce(one, two)
            await two.wait(lambda: two.network.standing(one.key) is not None)
            await one.wait(lambda: one.network.standing(two.key) is not None)
            two.network.send(one.key, Channel.RAFT, b"vote for me")
            await one.wait(lambda: one.network.counters["streams_refused_raft"] > 0)
            two.network.send(one.key, Channel.QUERY, b"who are you")
            await one.wait(lambda: one.frames(Channel.QUERY, two) == [b"who are you"])
            one.network.send(two.key, Channel.QUERY, b"a bootstrap node")
            await two.wait(lambda: two.frames(Channel.QUERY, one) == [b"a bootstrap node"])
            assert not one.network.send(two.key, Channel.WORK, b"order")
            assert one.frames(Channel.RAFT, two) == []


async def test_a_refused_peer_is_disconnected_and_left_alone() -> None:
    """REFUSED ends the connection, and we do not dial that peer again soon."""
    with trio.fail_after(30):
        async with running(1, judge=lambda hello: Standing.REFUSED) as one, running(2) as two:
            introduce(one, two)
            await one.wait(lambda: one.comings(two) == ["+", "-"])
            await two.wait(lambda: two.comings(one) == ["+", "-"])
            await trio.sleep(1.5)
            assert one.network.connected() == ()
            assert one.network.counters["dials_connected"] == 1


async def test_a_lowered_standing_closes_what_it_no_longer_permits() -> None:
    """A member that becomes a guest can send no more Raft frames, though its stream was open."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            two.network.send(one.key, Channel.RAFT, b"while a member")
            await one.wait(lambda: one.frames(Channel.RAFT, two) == [b"while a member"])
            one.network.set_standing(two.key, Standing.GUEST)
            while not one.network.counters["streams_refused_raft"]:
                two.network.send(one.key, Channel.RAFT, b"later")
                await trio.sleep(0.05)
            assert one.frames(Channel.RAFT, two) == [b"while a member"]


@pytest.mark.parametrize(
    ("frame", "written", "why"),
    [
        (b"x" * (STREAM_FRAME_MAX_BYTES + 1), b"\xff\xff\xff\x7f" + b"x" * 100, "over the limit"),
        (b"", bytes(64 * 1024), "empty"),
    ],
    ids=["oversized", "empty"],
)
async def test_a_frame_out_of_bounds_is_refused_on_both_sides(
    frame: bytes, written: bytes, why: str
) -> None:
    """We do not send one; one that comes ends its stream, and nothing else."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            with pytest.raises(Malformed, match=why):
                one.network.send(two.key, Channel.RAFT, frame)
            link = one.network._links[two.key]
            stream = await link.open(Channel.RAFT)
            await stream.write(written)
            await two.wait(lambda: two.network.counters["frames_malformed_raft"] == 1)
            one.network.send(two.key, Channel.RAFT, b"in bounds")
            await two.wait(lambda: two.frames(Channel.RAFT, one) == [b"in bounds"])


async def test_overflow_is_counted_never_awaited() -> None:
    """A full queue, and a peer that is not there, make `send` false and a counter grow."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            assert not one.network.send(two.key, Channel.RAFT, b"nobody there")
            assert one.network.counters["send_dropped_unconnected_raft"] == 1
            introduce(one, two)
            await wait_members(one, two)
            results = [
                one.network.send(two.key, Channel.RAFT, b"x")
                for _ in range(PEER_SEND_QUEUE_MAX + 5)
            ]
            assert results.count(False) == 5
            assert one.network.counters["send_dropped_full_raft"] == 5
            await two.wait(lambda: len(two.frames(Channel.RAFT, one)) == PEER_SEND_QUEUE_MAX)


async def test_an_agent_that_does_not_read_loses_frames_but_not_disconnections() -> None:
    """When the queue of events is full frames are dropped and counted; who left is still told."""
    with trio.fail_after(60):
        async with running(1) as one:
            async with running(2) as two:
                introduce(one, two)
                await wait_members(one, two)
                # From here on nobody awaits while `one` fills up: its reader is kept from running
                # by putting frames in directly.
                for _ in range(5000):
                    one.network._queue.put_frame(two.key, Channel.RAFT, b"x")
                assert one.network.counters["events_dropped_raft"] > 0
            await one.wait(lambda: one.comings(two) == ["+", "-"])


async def test_log_streams_carry_frames_both_ways_to_members_only() -> None:
    """A member opens a log stream, asks, and reads to the end; a guest and a stranger cannot."""
    with trio.fail_after(30):
        async with running(1, accept_logs=echo_lines) as one, running(2) as two:
            with pytest.raises(NotFound):
                await two.network.open_stream(one.key, Channel.LOGS)
            introduce(one, two)
            await wait_members(one, two)
            stream = await two.network.open_stream(one.key, Channel.LOGS)
            await stream.send_frame(b"web.0")
            lines = [await stream.receive_frame(5_000) for _ in range(4)]
            await stream.aclose()
            assert lines == [b"web.0 line 0", b"web.0 line 1", b"web.0 line 2", None]
            two.network.set_standing(one.key, Standing.GUEST)
            with pytest.raises(NotAllowed):
                await two.network.open_stream(one.key, Channel.LOGS)
