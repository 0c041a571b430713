"""What is cut off after a time is not cut off because this process itself had none."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from libp2p.network.stream.exceptions import StreamReset

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.drivers.net.transport.frames import close_stream, reset_stream
from p2pool.model.limits import HELLO_TIMEOUT_MS, STREAM_END_PATIENCE_MS
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import introduce, publish_until, running, wait_members

PROTOCOL = "/test/held/1"


async def stall() -> None:
    """Hold up the whole loop, time and again, as a loaded machine does."""
    for _ in range(3):
        time.sleep(STREAM_END_PATIENCE_MS / 1000 + 0.1)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("end", [reset_stream, close_stream], ids=["reset", "close"])
async def test_the_end_of_a_stream_is_told_though_the_loop_stalls(
    end: Callable[[Any], Awaitable[None]],
) -> None:
    """A lost reset leaves the other side writing to nobody, for 256 KiB; so does a lost end."""
    ended = trio.Event()
    began = trio.Event()

    async def hold(stream: Any) -> None:
        began.set()
        try:
            while await stream.read(1):
                pass
        finally:
            ended.set()

    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            two.network._host.set_stream_handler(PROTOCOL, hold)
            introduce(one, two)
            await wait_members(one, two)
            stream = await one.network._host.new_stream(peer_id_of(two.key), [PROTOCOL])
            await began.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end, stream)
                nursery.start_soon(stall)
            with trio.fail_after(5):
                await ended.wait()


async def test_a_peer_is_not_hung_up_on_for_our_own_stall() -> None:
    """Its hello came in time, and nobody here had any to judge it: it stays connected."""
    with trio.fail_after(60):
        async with running(1, lambda hello: None) as one, running(2) as two:
            introduce(one, two)
            await one.wait(lambda: one.frames(Channel.HELLO, two) != [])
            time.sleep(HELLO_TIMEOUT_MS / 1000 + 0.5)  # noqa: ASYNC251
            await trio.sleep(0.2)
            assert one.network.set_standing(two.key, Standing.MEMBER)
            await two.wait(lambda: two.network.standing(one.key) is Standing.MEMBER)
            await publish_until(one, [two], b"patient")
            assert one.comings(two) == ["+"]
            assert one.network.counters["hello_timeouts"] == 0


async def test_hello_is_said_until_it_is_heard() -> None:
    """More attempts fail than it takes the other side to lose patience; then it goes through."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            host, failures = one.network._host, 0
            open_stream = host.new_stream

            async def refused(peer_id: Any, protocols: Any) -> Any:
                nonlocal failures
                if protocols == [PROTOCOLS[Channel.HELLO]] and failures < 6:
                    failures += 1
                    raise StreamReset
                return await open_stream(peer_id, protocols)

            host.new_stream = refused
            introduce(one, two)
            await wait_members(one, two)
            assert failures == 6
            await publish_until(one, [two], b"heard")
            assert two.comings(one) == ["+"]
