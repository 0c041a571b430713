"""Whoever comes is taken in at once, however many come before it, or refused at next to no cost."""

import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from libp2p.transport.tcp.tcp import _open_reuseport_listeners

from p2pool.drivers.net.host.address_groups import groups_of
from p2pool.drivers.net.host.arrivals import Arrivals, Line
from p2pool.model import limits

MANY = 200
CROWD = groups_of("10.0.0.1")


def test_all_together_come_at_a_rate_and_a_neighbourhood_has_a_few_for_sure() -> None:
    """Two thousand a second from one address leave each other neighbourhood its few."""
    arrivals, let_in = Arrivals(), 0
    for at_ms in range(10_000):
        let_in += arrivals.admits(CROWD, at_ms) + arrivals.admits(CROWD, at_ms)
        if at_ms % 1000 == 0:
            other = groups_of(f"192.{at_ms // 1000}.0.1")
            assert all(arrivals.admits(other, at_ms) for _ in range(limits.ARRIVALS_SURE_BURST))
            assert arrivals.admits(other, at_ms) is False or at_ms < 2_000
    most = limits.ARRIVALS_BURST + limits.ARRIVALS_SURE_BURST
    assert let_in <= most + 10 * (limits.ARRIVALS_PER_S + limits.ARRIVALS_SURE_PER_S)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """An open line on loopback, and what it refuses is counted."""
    (listener,) = await _open_reuseport_listeners("127.0.0.1", 0)
    made = Line(listener.socket, Arrivals(), Counter())
    async with made:
        yield made


def call(line: Line) -> socket.socket:
    """Knock at it, without a word."""
    return socket.create_connection(line.socket.getsockname(), 5)


async def test_all_who_wait_are_taken_in_between_two_turns(line: Line) -> None:
    """So the line that the kernel keeps does not fill while others have their turns; and no more
    than so many at once, so that others have theirs."""
    waiting = [call(line) for _ in range(MANY)]
    turns, taken = 0, []

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(MANY):
            taken.append(await line.accept())
        assert 1 < turns < MANY // 4
        nursery.cancel_scope.cancel()
    names = [stream.socket.getpeername() for stream in taken]
    assert names == [each.getsockname() for each in waiting], "first come, first served"
    for each in waiting:
        each.close()
    for stream in taken:
        stream.socket.close()


async def test_who_comes_too_often_is_closed_and_counted(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else of it is left."""
    monkeypatch.setattr(line, "_arrivals", _Nobody())
    late = call(line)
    with trio.move_on_after(1):
        await line.accept()
    assert late.recv(1) == b""
    assert line.counters == {"connections_refused_arrival": 1}
    late.close()


class _Nobody(Arrivals):
    def admits(self, groups: object, at_ms: int) -> bool:
        """Not one."""
        return False
