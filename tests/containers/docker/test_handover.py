"""What a thread hands to a task: all of it, in order, in bounded parts; and both get away."""

from collections.abc import Iterable
from typing import TypeVar

import pytest
import trio
import trio.testing

from p2pool.drivers.containers.docker.engine.handover import Gone, Handover
from p2pool.model import limits

T = TypeVar("T")
MOST = limits.LOG_BATCH_MAX_CHUNKS


async def handed(nursery: trio.Nursery, handover: Handover[T], items: Iterable[T]) -> list[list[T]]:
    """Hand all of it over by a thread as fast as that can; the parts in which it is taken."""

    def fill() -> None:
        for item in items:
            handover.put(item)

    async def work() -> None:
        await trio.to_thread.run_sync(fill)
        handover.end()

    nursery.start_soon(work)
    parts = []
    with trio.fail_after(30):
        while part := await handover.take():
            parts.append(part)
    return parts


async def test_everything_comes_in_order_and_in_bounded_parts(nursery: trio.Nursery) -> None:
    """However fast the thread is; the end comes after the last item."""
    parts = await handed(nursery, Handover[int](), range(10 * MOST))
    assert [number for part in parts for number in part] == list(range(10 * MOST))
    assert max(len(part) for part in parts) <= MOST


async def test_bytes_are_bounded_and_one_large_item_passes(nursery: trio.Nursery) -> None:
    """No two that are too large together wait at the same time."""
    large = b"x" * (limits.LOG_BATCH_MAX_BYTES // 2 + 1)
    sent = [large, large, large * 2, b"y", b"z"]
    parts = await handed(nursery, Handover[bytes](len), sent)
    assert [item for part in parts for item in part] == sent
    assert parts[:2] == [[large], [large]]
    assert all(sum(map(len, p)) <= limits.LOG_BATCH_MAX_BYTES or len(p) == 1 for p in parts)


async def test_a_thread_that_waits_for_room_is_freed_when_nobody_takes() -> None:
    """And whoever comes later hears so at once."""
    handover = Handover[int]()

    def fill() -> None:
        while True:
            handover.put(0)

    async def work() -> None:
        with pytest.raises(Gone):
            await trio.to_thread.run_sync(fill, abandon_on_cancel=True)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            while handover.waiting < MOST:
                await trio.lowlevel.checkpoint()
            handover.leave()
    with pytest.raises(Gone):
        handover.put(0)
