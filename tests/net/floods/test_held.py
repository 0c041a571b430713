"""What strangers and guests make us hold: bytes that nobody has read, or that they do not take."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_DATA, TYPE_PING
from multiaddr import Multiaddr

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, encode_frame
from p2pool.drivers.net.transport.muxer import PoolStream
from p2pool.model import limits
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import Node, introduce, listening_at, running, wait_members
from tests.net.harness.stranger import HUGE, frame, line, secured, stranger, tcp_to

KIB = 1024
MIB = 1024 * KIB
SOON_S = 3
"""Less than any handshake may take."""


def guests(hello: bytes) -> Standing | None:
    """Members are those that the harness makes."""
    return Standing.MEMBER if hello.startswith(b"hello ") else Standing.GUEST


def guests_all(hello: bytes) -> Standing | None:
    """Nobody is a member."""
    return Standing.GUEST


def unread(node: Node) -> int:
    """How many bytes of all its streams a node has received and not read."""
    connections = node.network._host.get_network().get_connections()
    return sum(len(b) for c in connections for b in c.muxed_conn.stream_buffers.values())


class Most(trio.abc.Instrument):
    """The most bytes that a node held unread, looked at after each turn of any task."""

    def __init__(self, node: Node) -> None:
        """Of `node`."""
        self._node = node
        self.bytes = 0

    def __enter__(self) -> "Most":
        """Begin to look."""
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Look no more."""
        trio.lowlevel.remove_instrument(self)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task had its turn."""
        self.bytes = max(self.bytes, unread(self._node))


async def hear(three: Node, two: Node) -> None:
    """Who is in order is heard."""
    count = len(two.frames(Channel.RAFT, three))
    three.network.send(two.key, Channel.RAFT, b"append")
    await two.wait(lambda: len(two.frames(Channel.RAFT, three)) > count)


# --- before the handshake -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begin",
    [HUGE, line("/multistream/1.0.0") + line("/noise") + b"\xff\xff"],
    ids=["line", "noise"],
)
async def test_a_handshake_is_short(begin: bytes) -> None:
    """Who claims to say much before anybody knows him is not listened to: 32 KiB are enough."""
    async with running(2) as two, tcp_to(two) as stream:
        with trio.fail_after(SOON_S):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(begin + bytes(32 * KIB))
                while await stream.receive_some():
                    pass


async def test_agreeing_on_a_muxer_is_short() -> None:
    """Behind Noise the library would read as much as a line claims, without end."""
    async with running(2) as two, tcp_to(two) as stream:
        session = await secured(stream, two, bytes(32))
        with trio.fail_after(SOON_S):
            with suppress(trio.BrokenResourceError):
                await session.conn.write_msg(line("/multistream/1.0.0") + HUGE + bytes(32 * KIB))
                while await stream.receive_some():
                    pass


async def test_agreeing_on_a_protocol_is_short() -> None:
    """A line of a stream that claims to be long is not waited for; nor are a hundred short ones."""
    async with running(2, guests) as two, stranger(two, 9) as one:
        network = two.network._host.get_network()
        with trio.fail_after(SOON_S):
            await two.wait(lambda: bool(network.get_connections()))
            (connection,) = network.get_connections()
            await one.open(line("/multistream/1.0.0") + HUGE + bytes(2 * KIB))
            await one.open(line("/multistream/1.0.0") + 100 * line("/none"))
            await two.wait(lambda: bool({1, 3} & set(connection.muxed_conn.streams)))
            await two.wait(lambda: not {1, 3} & set(connection.muxed_conn.streams))


# --- streams --------------------------------------------------------------------------------------


async def test_a_frame_beyond_the_window_is_not_read() -> None:
    """Not even one, on a stream that has only just been opened."""
    async with running(2, guests) as two, stranger(two, 9) as one:
        with Most(two) as most, trio.fail_after(SOON_S):
            await one.open(b"")
            with suppress(*STREAM_ERRORS):
                await one.write(frame(TYPE_DATA, 0, 1, bytes(MIB)))
            await one.wait_end()
            assert two.network.counters["connections_cut"] == 1
        assert most.bytes <= 256 * KIB


async def test_the_streams_of_a_stranger_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of fifteen keeps its window, and waits for a standing that does not come."""
    monkeypatch.setattr(limits, "GUEST_HELD_MAX_BYTES", 300 * KIB, raising=False)
    async with running(2, guests) as two, stranger(two, 9) as one:
        with Most(two) as most, trio.fail_after(SOON_S):
            with suppress(*STREAM_ERRORS):
                for _ in range(15):
                    number = await one.open(b"", PROTOCOLS[Channel.RAFT])
                    await one.write(frame(TYPE_DATA, 0, number, bytes(30 * KIB)))
            await one.wait_end()
        assert most.bytes <= 300 * KIB


async def test_a_stranger_has_few_streams() -> None:
    """Sixteen at once; one more is reset before anything of it is kept."""
    async with running(2, guests) as two, stranger(two, 9) as one:
        with trio.fail_after(SOON_S):
            for _ in range(40):
                await one.open(b"", PROTOCOLS[Channel.RAFT])
            await two.wait(lambda: two.network.counters["streams_refused_too_many"] == 24)


async def test_what_comes_on_a_stream_that_is_gone_is_bounded() -> None:
    """A peer may not know yet that a stream was reset; but it cannot have more than its window on
    the way. Two streams are gone, whose windows a stranger's pace reads in four seconds."""
    async with running(2, guests) as two, stranger(two, 9) as one:
        with trio.fail_after(4 * SOON_S):
            await one.greet(b"a guest")
            await two.wait(lambda: bool(two.network.connected()))
            number = await one.open(b"", PROTOCOLS[Channel.RAFT])
            await two.wait(lambda: two.network.counters["streams_refused_raft"] == 1)
            with suppress(*STREAM_ERRORS):
                for _ in range(16):
                    await one.write(frame(TYPE_DATA, 0, number, bytes(64 * KIB)))
            await one.wait_end()


async def test_guests_together_are_bounded_and_the_largest_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three strangers each within their bounds; who holds most goes, whoever came last, and a
    member is heard all the time."""
    monkeypatch.setattr(limits, "GUESTS_HELD_MAX_BYTES", 130 * KIB, raising=False)
    async with running(2, guests) as two, running(3) as three:
        introduce(three, two)
        with trio.fail_after(10):
            await wait_members(three, two)
            async with stranger(two, 9) as one, stranger(two, 8) as other, stranger(two, 7) as last:
                with Most(two) as most:
                    for who, parts in ((one, 4), (other, 3), (last, 3)):
                        number = await who.open(b"", PROTOCOLS[Channel.RAFT])
                        for _ in range(parts):
                            await who.write(frame(TYPE_DATA, 0, number, bytes(15 * KIB)))
                        await hear(three, two)
                    with trio.fail_after(SOON_S):
                        await one.wait_end()
                    assert len(two.network.connected()) >= 3
                    assert most.bytes <= 130 * KIB
                await hear(three, two)


async def test_what_is_not_decrypted_yet_and_not_come_to_counts_too() -> None:
    """A message of Noise without its last byte, or one full of pings behind a slow pace."""
    async with running(2, guests) as two, stranger(two, 9) as one, stranger(two, 8) as other:
        with trio.fail_after(SOON_S):
            network = two.network._host.get_network()
            await two.wait(lambda: len(network.get_connections()) == 2)
            room = two.network._host.room
            raw = one.session.conn.read_writer.read_write_closer
            await raw.write(b"\xff\xff" + bytes(60 * KIB))
            await other.write(frame(TYPE_PING, FLAG_SYN, 0, length=7) * 5_000)
            await two.wait(lambda: room.held > 90 * KIB)
            await trio.aclose_forcefully(raw.stream.stream)
            await two.wait(lambda: len(network.get_connections()) == 1)
            assert room.held <= 64 * KIB


async def test_a_frame_of_a_guest_is_held_until_the_agent_takes_it() -> None:
    """The agent is busy: what a guest says waits outside, and not in the queue."""
    async with running(2, guests) as two, stranger(two, 9) as one:
        with trio.fail_after(2 * SOON_S):
            await one.greet(b"a guest")
            await two.wait(lambda: bool(two.network.connected()))
            (key,) = two.network.connected()
            await two.wait(lambda: two.network.standing(key) is Standing.GUEST)
            busy = two.hold()
            number = await one.open(b"", PROTOCOLS[Channel.QUERY])
            body = encode_frame(bytes(60 * KIB))
            for _ in range(4):
                await one.write(frame(TYPE_DATA, 0, number, body))
            await trio.sleep(0.5)
            assert len(two.network._queue) <= 1
            busy.set()
            await two.wait(lambda: two.network.counters["received_query"] == 4)


async def test_a_frame_costs_the_same_however_many_streams_there_are() -> None:
    """No walk over the streams."""
    async with running(1) as one, running(2) as two:
        introduce(one, two)
        with trio.fail_after(SOON_S):
            await wait_members(one, two)
            await hear(one, two)
            (connection,) = two.network._host.get_network().get_connections()
            held, walks = connection.muxed_conn, []

            def walk(streams: Any) -> Any:
                walks.append(len(streams))
                return dict.items(streams)

            kind: Any = type("Watched", (type(held.streams),), {"items": walk})
            watched = kind.__new__(kind)
            watched.__dict__.update(getattr(held.streams, "__dict__", {}))
            watched.update(held.streams)
            held.streams = watched
            await hear(one, two)
        assert walks == []


# --- what they do not take ------------------------------------------------------------------------


async def test_a_guest_that_asks_and_never_reads_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is queued towards it is little, and it has to take some of it in a while."""
    monkeypatch.setattr(limits, "GUEST_TAKES_MS", 1_000, raising=False)
    answer = bytes(200 * KIB)
    async with running(2, guests) as two, stranger(two, 9) as one:
        with trio.fail_after(2 * SOON_S):
            await one.greet(b"a guest")
            await two.wait(lambda: bool(two.network.connected()))
            (key,) = two.network.connected()
            await two.wait(lambda: two.network.standing(key) is Standing.GUEST)
            sent = sum(two.network.send(key, Channel.QUERY, answer) for _ in range(100))
            assert 0 < sent * len(answer) <= 512 * KIB
            await two.wait(lambda: two.network.connected() == ())


async def test_a_guest_that_was_cut_off_and_is_back_at_once_is_owed_as_little_as_before() -> None:
    """It has another connection before the end of the last is told: that one has bounds too, and
    is answered."""
    async with running(2, guests_all) as two, running(3) as three:
        with trio.fail_after(2 * SOON_S):
            introduce(three, two)
            await two.wait(lambda: two.network.standing(three.key) is Standing.GUEST)
            link = two.network._links[three.key]
            two.network.send(three.key, Channel.QUERY, b"before")
            await three.wait(lambda: three.frames(Channel.QUERY, two) == [b"before"])
            swarm = three.network._host.get_network()
            (old,) = swarm.get_connections()
            await swarm.dial_addr(Multiaddr(listening_at(two)[0]), old.muxed_conn.peer_id)
            ours = two.network._host.get_network()
            await two.wait(lambda: len(ours.get_connections(link.peer_id)) == 2)
            (first, _) = ours.get_connections(link.peer_id)
            connections = [first]
            link._host = SimpleNamespace(
                room=link._host.room,
                new_stream=link._host.new_stream,
                get_network=lambda: SimpleNamespace(get_connections=lambda _: connections),
            )
            link._owed.overdraw()
            await two.wait(lambda: len(ours.get_connections(link.peer_id)) == 1)
            assert two.network._links[three.key] is link
            two.network.greet(three.key)
            await trio.sleep(0.1)
            answer = bytes(200 * KIB)
            sent = sum(two.network.send(three.key, Channel.QUERY, answer) for _ in range(20))
            assert 0 < sent * len(answer) <= 512 * KIB
            assert link._queues[Channel.QUERY].waiting_bytes <= 512 * KIB
            while three.frames(Channel.QUERY, two)[-1] != answer:
                two.network.send(three.key, Channel.QUERY, answer)
                await trio.sleep(0.2)
            await two.wait(lambda: not link._owed.held)
            assert two.network._links[three.key] is link


async def test_a_guest_that_asks_now_and_then_over_a_slow_link_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has a while for each answer, whenever it asks: a tick that finds one on its way proves
    nothing."""
    monkeypatch.setattr(limits, "GUEST_TAKES_MS", 1_000)
    write = PoolStream.write

    async def slowly(stream: PoolStream, data: bytes) -> None:
        await trio.sleep(0.25)
        await write(stream, data)

    async with running(2, guests_all) as two, running(3) as three:
        with trio.fail_after(4 * SOON_S):
            introduce(three, two)
            await two.wait(lambda: two.network.standing(three.key) is Standing.GUEST)
            await three.wait(lambda: three.network.standing(two.key) is Standing.MEMBER)
            assert two.network.send(three.key, Channel.QUERY, b"one")
            await three.wait(lambda: three.frames(Channel.QUERY, two) == [b"one"])
            monkeypatch.setattr(PoolStream, "write", slowly)
            for number in range(3):
                await trio.sleep(1.13)
                assert two.network.send(three.key, Channel.QUERY, b"answer %d" % number)
                await trio.sleep(0.75)
            assert len(three.frames(Channel.QUERY, two)) == 1 + 3
            assert two.network.counters["guests_not_taking"] == 0


@pytest.mark.parametrize("number", [9, 1], ids=["guest", "member"])
async def test_who_takes_no_answer_of_the_muxer_is_cut_off(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings without end, and nobody reads their answers: the library would wait for ever."""
    monkeypatch.setattr(limits, "STREAM_WRITE_TIMEOUT_MS", 1_000)
    monkeypatch.setattr(limits, "CONNECTION_READS_PER_QUESTION", 0)
    ping = frame(TYPE_PING, FLAG_SYN, 0, length=7)
    async with running(2, guests) as two, stranger(two, number) as one:
        with trio.fail_after(4 * SOON_S):
            await one.greet(b"hello 1" if number == 1 else b"a guest")
            await two.wait(lambda: bool(two.network.connected()))
            with suppress(*STREAM_ERRORS):
                with trio.move_on_after(SOON_S):
                    while True:
                        await one.write(ping * 5_000)
            await two.wait(lambda: two.network.connected() == ())


async def test_a_write_that_is_cancelled_does_not_end_the_connection() -> None:
    """It is written whole: half a message of Noise would be the last that the other side reads."""
    async with running(1) as one, running(2) as two:
        introduce(one, two)
        with trio.fail_after(2 * SOON_S):
            await wait_members(one, two)
            await hear(one, two)
            (connection,) = one.network._host.get_network().get_connections()
            muxed = connection.muxed_conn
            raw = muxed.secured_conn.conn.read_writer.read_write_closer.stream
            write = raw._stream.write

            async def slow(data: bytes) -> None:
                await write(data[: len(data) // 2])
                await trio.sleep(0.2)
                await write(data[len(data) // 2 :])

            raw._stream.write = slow
            with trio.move_on_after(0.1):
                await muxed._write_frame(frame(TYPE_PING, FLAG_SYN, 0, length=7))
            raw._stream.write = write
            await hear(one, two)
            assert two.comings(one) == ["+"]
