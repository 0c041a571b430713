"""Challenge streams are open to guests, so what a guest may open of them is little."""

from contextlib import suppress

import pytest
import trio

from p2pool.drivers.net import dedicated_streams
from p2pool.drivers.net.transport.frames import FrameStream
from p2pool.model.errors import NotAllowed, Unavailable
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import Node, echo_lines, introduce, running


def a_guest(hello: bytes) -> Standing | None:
    """Judges everybody as a guest."""
    return Standing.GUEST


async def known(node: Node, other: Node) -> None:
    """Until a node has judged another one."""
    await node.wait(lambda: node.network.standing(other.key) is not None)


async def told(stream: FrameStream) -> list[bytes | None]:
    """What the other side says to a frame, to its end."""
    await stream.send_frame(b"here")
    return [await stream.receive_frame(5_000) for _ in range(4)]


async def test_a_guest_opens_a_challenge_and_no_log() -> None:
    """A validator, which takes no part in gossip, reaches a node that takes it for a guest."""
    with trio.fail_after(60):
        async with (
            running(1, a_guest, accept_challenges=echo_lines, accept_logs=echo_lines) as node,
            running(2, gossip=False) as validator,
        ):
            introduce(validator, node)
            await known(validator, node)
            await known(node, validator)
            stream = await validator.network.open_stream(node.key, Channel.CHALLENGE)
            assert await told(stream) == [*(b"here line %d" % n for n in range(3)), None]
            await stream.aclose()
            with pytest.raises(NotAllowed):
                await validator.network.open_stream(node.key, Channel.LOGS)


async def test_a_stream_that_nobody_serves_is_reset() -> None:
    """A bootstrap node serves no challenge, though guests may speak there."""
    with trio.fail_after(60):
        async with running(1, a_guest) as node, running(2) as guest:
            introduce(guest, node)
            await known(guest, node)
            stream = await guest.network.open_stream(node.key, Channel.CHALLENGE)
            said: list[bytes | None] = [None] * 4
            # A reset is an error to whoever still writes, and an end to whoever only reads.
            with suppress(Unavailable):
                said = await told(stream)
            assert said == [None] * 4
            assert node.network.counters["streams_refused_challenge"] == 1


async def test_a_peer_has_few_places_and_gives_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """One guest does not take the places of all; what it closes counts no longer."""
    monkeypatch.setitem(dedicated_streams.PLACES, Channel.CHALLENGE, (2, 3))
    served: list[PeerKey] = []
    done = trio.Event()

    async def holds(peer_key: PeerKey, stream: FrameStream) -> None:
        served.append(peer_key)
        await done.wait()

    with trio.fail_after(60):
        async with (
            running(1, a_guest, accept_challenges=holds) as node,
            running(2) as one,
            running(3) as other,
        ):
            for guest in (one, other):
                introduce(guest, node)
                await known(guest, node)
                await known(node, guest)
            for guest in (one, one, one, other, other):
                await guest.network.open_stream(node.key, Channel.CHALLENGE)
            refused = node.network.counters
            await node.wait(lambda: refused["streams_refused_too_many"] == 2)
            assert sorted(served) == sorted([one.key, one.key, other.key])
            done.set()
            await one.network.open_stream(node.key, Channel.CHALLENGE)
            await node.wait(lambda: len(served) == 4)
