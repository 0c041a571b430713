"""Small messages cost no frames but their own, and large ones still find their window open."""

from functools import partial
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.net.transport.raw_stream import RAW_READ_BYTES, BufferedStream
from p2pool.model.messages.registry import Channel
from tests.net.harness.hosts import Node, introduce, running, wait_members
from tests.net.harness.pieces import Pieces

COUNTERS = (
    "_window_update_partial_slack",
    "_window_update_bytes_read_only",
    "_window_update_full_grow",
    "_window_update_pending_flush",
)


def window_updates(node: Node) -> int:
    """How often a host gave credit on the stream that was given most of it."""
    connections = node.network._host.get_network().get_connections()
    streams = [s for c in connections for s in c.muxed_conn.streams.values()]
    counts: list[int] = [sum(getattr(s, name) for name in COUNTERS) for s in streams]
    return max(counts)


def arrived(one: Node, two: Node, count: int) -> bool:
    """Whether so many frames came."""
    return len(two.frames(Channel.RAFT, one)) == count


async def test_small_frames_cost_no_window_updates_and_large_ones_few() -> None:
    """As shipped each read was answered with one."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            for count in range(1, 101):
                one.network.send(two.key, Channel.RAFT, b"%d" % count)
                await two.wait(partial(arrived, one, two, count))
            assert (
                window_updates(two) < 10
            )  # Some for agreeing on the protocol, one for the window.
            for _ in range(8):
                one.network.send(two.key, Channel.RAFT, b"x" * 512 * 1024)
            await two.wait(partial(arrived, one, two, 108))
            assert 2 <= window_updates(two) < 64


async def read_by(pieces: list[bytes], asked: list[int]) -> list[bytes]:
    """What reads of these sizes give, and then the rest."""
    source: Any = Pieces(pieces)
    stream = BufferedStream(source)
    out = [await stream.read(n) for n in asked]
    while data := await stream.read(None):
        out.append(data)
    return out


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 50)))
def test_a_buffer_gives_the_bytes_in_order_and_never_more_than_asked_for(
    pieces: list[bytes], asked: list[int]
) -> None:
    """However they arrive, and however they are read."""
    out = trio.run(read_by, pieces, asked)
    assert b"".join(out) == b"".join(pieces)
    assert all(len(data) <= n for data, n in zip(out, asked, strict=False))


async def test_what_arrives_together_is_read_at_once() -> None:
    """The length of a message and its body are one system call, not two."""
    source = Pieces([b"12" + b"body", b"next"])
    stream = BufferedStream(source)
    assert (await stream.read(2), await stream.read(4)) == (b"12", b"body")
    assert source._pieces == [b"next"]
    assert RAW_READ_BYTES > 4
