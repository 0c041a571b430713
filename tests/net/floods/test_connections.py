"""What a peer costs before anything that it sends is a frame: streams, windows, pings, connects."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_SYN,
    TYPE_DATA,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
)

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, FrameStream, encode_frame
from p2pool.drivers.net.transport.pace import Pace
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel
from tests.net.harness.hosts import Node, introduce, running, wait_members

PART = 64 * 1024


def muxer(node: Node, other: Node) -> Any:
    """A node's end of its connection to another."""
    network = node.network._host.get_network()
    return network.get_connections(peer_id_of(other.key))[0].muxed_conn


def head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """A message of the muxer, without its body."""
    return struct.pack(YAMUX_HEADER_FORMAT, 0, kind, flags, stream, length)


async def write_all(connection: Any, count: int, message: bytes) -> None:
    """Say the same so many times, in as few writes as it takes."""
    await connection._write_frame(message * count)


@asynccontextmanager
async def met() -> AsyncIterator[tuple[Node, Node, Node]]:
    """A peer that floods, one that it floods, and one that is in order."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two, running(3) as three:
            introduce(one, two)
            introduce(three, two)
            await wait_members(one, two)
            await wait_members(three, two)
            yield one, two, three


async def hear(three: Node, two: Node) -> None:
    """The one that is in order is heard, as a leader is to be."""
    count = len(two.frames(Channel.RAFT, three))
    three.network.send(two.key, Channel.RAFT, b"append")
    await two.wait(lambda: len(two.frames(Channel.RAFT, three)) > count)


async def test_a_peer_opens_so_many_streams_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is agreed upon in several messages: the surplus is reset unread."""
    monkeypatch.setattr(limits, "STREAMS_PER_PEER_BURST", 70)
    monkeypatch.setattr(limits, "STREAMS_PER_PEER_PER_S", 1)
    monkeypatch.setattr(limits, "STREAMS_PER_PEER_MAX", 1_000)
    async with met() as (one, two, three):
        await hear(one, two)
        opened = b"".join(head(TYPE_WINDOW_UPDATE, FLAG_SYN, 1_001 + 2 * n, 0) for n in range(200))
        await muxer(one, two)._write_frame(opened)
        refused = two.network.counters
        await two.wait(lambda: refused["streams_refused_too_many"] >= 120)
        await hear(three, two)
        # What the flooder has open goes on.
        await hear(one, two)


async def test_what_exceeds_the_window_ends_the_connection() -> None:
    """Nobody reads the stream, and the library would keep all of it."""

    async def reads_nothing(peer_key: PeerKey, stream: FrameStream) -> None:
        await trio.sleep_forever()

    with trio.fail_after(60):
        async with running(1) as one, running(2, accept_logs=reads_nothing) as two:
            introduce(one, two)
            await wait_members(one, two)
            connection = muxer(one, two)
            stream = await one.network.open_stream(two.key, Channel.LOGS)
            number = stream._stream.muxed_stream.stream_id
            part = head(TYPE_DATA, 0, number, PART) + bytes(PART)
            with suppress(*STREAM_ERRORS):
                for _ in range(3 * DEFAULT_WINDOW_SIZE // PART):
                    await connection._write_frame(part)
            await two.wait(lambda: "-" in two.comings(one))


async def test_a_body_longer_than_any_window_is_not_waited_for() -> None:
    """Its head alone ends the connection."""
    async with met() as (one, two, three):
        await hear(one, two)
        stream = next(iter(muxer(one, two).streams))
        length = limits.STREAM_UNREAD_MAX_BYTES + 1
        await muxer(one, two)._write_frame(head(TYPE_DATA, 0, stream, length))
        await two.wait(lambda: "-" in two.comings(one))
        await hear(three, two)


async def test_nothing_stays_of_a_stream_whose_work_is_done() -> None:
    """A hello with more behind it, again and again: what nobody reads is not kept."""
    async with met() as (one, two, three):
        await hear(three, two)
        before = len(muxer(two, one).streams)
        for number in range(20):
            stream = await one.network._host.new_stream(
                peer_id_of(two.key), [PROTOCOLS[Channel.HELLO]]
            )
            await stream.write(encode_frame(b"again %d" % number) + bytes(PART))
            await two.wait(
                lambda n=number: b"again %d" % n in two.frames(Channel.HELLO, one)  # type: ignore[misc]
            )
        held = muxer(two, one)
        await two.wait(lambda: len(held.streams) <= before + 1)
        assert sum(map(len, held.stream_buffers.values())) <= PART


async def test_a_hello_is_short() -> None:
    """Anybody says it: one of a megabyte ends its stream before its body is there."""
    async with met() as (one, two, _):
        stream = await one.network._host.new_stream(peer_id_of(two.key), [PROTOCOLS[Channel.HELLO]])
        await stream.write(encode_frame(bytes(limits.HELLO_MAX_BYTES + 1))[:100])
        await two.wait(lambda: two.network.counters["frames_malformed_hello"] == 1)


async def test_pings_are_answered_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands at once, each of twelve bytes: the connection that they come on waits, no other."""
    monkeypatch.setattr(limits, "CONNECTION_READS_PER_S", 100)
    monkeypatch.setattr(limits, "CONNECTION_READS_BURST", 400)
    async with met() as (one, two, three):
        await hear(three, two)
        held, answered = muxer(two, one), 0
        write = held._write_frame

        async def counted(data: bytes) -> None:
            nonlocal answered
            answered += data[:4] == head(TYPE_PING, FLAG_ACK, 0, 0)[:4]
            await write(data)

        held._write_frame = counted
        began_s = trio.current_time()
        await write_all(muxer(one, two), 2_000, head(TYPE_PING, FLAG_SYN, 0, 7))
        for _ in range(5):
            await hear(three, two)
            await trio.sleep(0.5)
        passed_s = trio.current_time() - began_s
        most = 400 + 100 * passed_s
        assert 0 < answered <= 1 + most / limits.CONNECTION_READS_PER_QUESTION


async def test_a_peer_connects_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time costs two handshakes, and whatever is said to a newcomer."""
    monkeypatch.setattr(limits, "CONNECTS_PER_PEER_BURST", 3)
    monkeypatch.setattr(limits, "CONNECTS_PER_PEER_PER_S", 0)
    with trio.fail_after(60):
        async with running(2) as two:
            async with running(1) as one:
                introduce(one, two)
                await wait_members(one, two)
                for _ in range(5):
                    network = one.network._host.get_network()
                    await network.close_peer(peer_id_of(two.key))
                    await two.wait(lambda: two.comings(one)[-1] == "-")
                    await two.wait(
                        lambda: (
                            two.comings(one)[-1] == "+"
                            or two.network.counters["connections_refused_rate"] > 0
                        )
                    )
                    if two.network.counters["connections_refused_rate"]:
                        break
            assert two.network.counters["connections_refused_rate"] > 0
            assert two.comings(one).count("+") == 3
            async with running(3) as three:
                introduce(three, two)
                await wait_members(three, two)


async def test_a_host_connects_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under however many keys: a handshake is computed before anybody is known."""
    monkeypatch.setattr(limits, "CONNECTS_PER_HOST_BURST", 1)
    monkeypatch.setattr(limits, "CONNECTS_PER_HOST_PER_S", 0)
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two, running(3) as three:
            introduce(one, two)
            await wait_members(one, two)
            introduce(three, two)
            await two.wait(lambda: two.network.counters["connections_refused_rate"] > 0)
            assert two.network.connected() == (one.key,)


async def test_a_pace_lets_a_burst_through_and_then_a_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Waits pay for what was taken, and for no more."""
    pace = Pace(10, 50)
    pace.owe(50)
    began_s = trio.current_time()
    await pace.wait()
    assert trio.current_time() == began_s
    pace.owe(20)
    await pace.wait()
    assert trio.current_time() - began_s == pytest.approx(2)
    await trio.sleep(100)
    pace.owe(50)
    await pace.wait()
    assert trio.current_time() - began_s == pytest.approx(102)
