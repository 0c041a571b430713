"""Frames and queues by themselves: any cut of the bytes gives the same frames, bounds hold."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.net.events import KnownPeer
from p2pool.drivers.net.peers.addresses import dialable_of, parse_full_address, peer_id_of
from p2pool.drivers.net.transport.frames import (
    FrameReader,
    SendQueue,
    encode_frame,
)
from p2pool.model.errors import Malformed, Misconfigured
from p2pool.model.ids import PeerKey
from p2pool.model.limits import FRAMES_PER_TURN_MAX, STREAM_FRAME_MAX_BYTES
from tests.net.harness.pieces import Pieces


async def read_all(pieces: list[bytes]) -> list[bytes]:
    """All frames to the end."""
    reader = FrameReader(Pieces(pieces))
    frames = []
    while (frame := await reader.receive()) is not None:
        frames.append(frame)
    return frames


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.integers(1, 50))
def test_however_the_bytes_are_cut_the_frames_are_the_same(frames: list[bytes], cut: int) -> None:
    """Encoding, cutting into pieces and reading gives the frames back."""
    joined = b"".join(encode_frame(frame) for frame in frames)
    pieces = [joined[start : start + cut] for start in range(0, len(joined), cut)]
    assert trio.run(read_all, pieces) == frames


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_refusal(data: bytes) -> None:
    """Nothing but Malformed comes out of bytes that are no frames."""
    pieces = [data] if data else []
    try:
        trio.run(read_all, pieces)
    except Malformed:
        return


async def test_golden_bytes() -> None:
    """The length is an unsigned varint, as in every libp2p protocol."""
    assert encode_frame(b"ab") == b"\x02ab"
    assert encode_frame(b"x" * 300)[:3] == b"\xac\x02x"
    assert encode_frame(bytes(STREAM_FRAME_MAX_BYTES))[:3] == b"\x80\x80\x40"
    with pytest.raises(Malformed):
        encode_frame(bytes(STREAM_FRAME_MAX_BYTES + 1))
    with pytest.raises(Malformed, match="empty"):
        encode_frame(b"")
    with pytest.raises(Malformed, match="empty"):
        await read_all([b"\x02ab\x00"])
    with pytest.raises(Malformed, match="inside a frame"):
        await read_all([b"\x05abc"])


async def test_other_tasks_run_between_frames_that_have_all_arrived() -> None:
    """A buffer full of the smallest frames holds nobody up, however many there are."""
    count, steps = 64 * FRAMES_PER_TURN_MAX, 0

    async def step() -> None:
        nonlocal steps
        while True:
            steps += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        assert await read_all([encode_frame(b"x") * count]) == [b"x"] * count
        assert steps >= count // FRAMES_PER_TURN_MAX - 1
        nursery.cancel_scope.cancel()


def test_a_queue_is_bounded_by_frames_and_by_bytes() -> None:
    """What does not fit is refused; what was taken makes room."""
    queue = SendQueue(max_frames=3, max_bytes=10)
    assert [queue.put(b"abcd"), queue.put(b"abcd"), queue.put(b"abcd")] == [True, True, False]
    assert queue.put(b"")
    assert not queue.put(b"")
    assert queue.take() == (3, b"abcdabcd")
    assert queue.put(b"0123456789")
    assert queue.clear() == 1
    assert len(queue) == 0


def test_addresses_are_read_strictly() -> None:
    """A bootstrap address names its peer; what cannot be dialled is left out of a peer's."""
    peer_key = PeerKey(
        bytes.fromhex("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
    )
    text = f"/ip4/10.0.0.1/tcp/4001/p2p/{peer_id_of(peer_key)}"
    assert parse_full_address(text) == KnownPeer(peer_key, ("/ip4/10.0.0.1/tcp/4001",))
    for bad in ("", "/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/tcp/4001/p2p/nonsense"):
        with pytest.raises(Misconfigured, match=r"Write it as|Not the peer id"):
            parse_full_address(bad)
    given_ = (text, "/ip4/1.2.3/tcp/1", "/ip4/1.2.3.4/udp/1", "junk", "/dns4/example.org/tcp/70000")
    assert dialable_of(peer_key, (*given_, "/dns4/example.org/tcp/1")) == (
        "/ip4/10.0.0.1/tcp/4001",
        "/dns4/example.org/tcp/1",
    )
