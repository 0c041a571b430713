"""What is cut off after a time is not cut off because this process itself had none."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from p2pool.drivers.net.addresses import peer_id_of
from p2pool.drivers.net.frames import END_PATIENCE_MS, close_stream, reset_stream
from tests.net.hosts import introduce, running, wait_members

PROTOCOL = "/test/held/1"


async def stall() -> None:
    """Hold up the whole loop, time and again, as a loaded machine does."""
    for _ in range(3):
        time.sleep(END_PATIENCE_MS / 1000 + 0.1)  # noqa: ASYNC251
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
