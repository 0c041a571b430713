"""A host under connections that say nothing lets in whoever comes after them, on real sockets."""

import logging
import resource
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from libp2p.network.exceptions import SwarmException

from p2pool.drivers.net.host import host
from p2pool.drivers.net.host.address_groups import groups_of
from p2pool.drivers.net.host.door import Door, InboundStream
from p2pool.drivers.net.host.open_files import raise_open_files
from p2pool.drivers.net.host.slots import Slot, Stage
from p2pool.drivers.net.transport.pace import Pace
from p2pool.model import limits
from p2pool.model.states import Standing
from tests.net.harness.hosts import Node, introduce, listening_at, running, wait_members

PLACES = 24
SILENT = 96
SPEAKING = 70
SERVED_WITHIN_S = 10


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places that a test fills soon."""
    for name, value in {
        "CONNECTIONS_MAX": PLACES,
        "SLOTS_HALF_OPEN_MAX": 64,
        "SLOTS_HANDSHAKE_MAX": 4,
        "SLOTS_STRANGERS_MAX": 3,
        "SLOTS_MEMBERS_RESERVED": 9,
    }.items():
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(host, "CONNECTIONS_MAX", PLACES)


def port_of(node: Node) -> int:
    """Where a node listens on loopback."""
    return int(listening_at(node)[0].rpartition("/")[2])


@asynccontextmanager
async def silence(node: Node, count: int, first: bytes = b"") -> AsyncIterator[None]:
    """So many sockets that say no more than `first`, each opened again as soon as it is closed."""

    async def hold() -> None:
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                stream = await trio.open_tcp_stream("127.0.0.1", port_of(node))
                async with stream:
                    if first:
                        await stream.send_all(first)
                    while await stream.receive_some(1024):
                        pass
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(hold)
        await trio.sleep(0.5)
        yield
        nursery.cancel_scope.cancel()


def members_say_hello(hello: bytes) -> Standing | None:
    """Numbers below 20 are members, those below 40 guests, and others never say who they are."""
    number = int(hello.split()[1])
    if number >= 40:
        return None
    return Standing.MEMBER if number < 20 else Standing.GUEST


@pytest.mark.parametrize(
    ("count", "first"), [(SILENT, b""), (SPEAKING, b"\x13/multistream/1.0.0\n")]
)
async def test_newcomers_are_served_behind_sockets_that_say_nothing(
    count: int, first: bytes
) -> None:
    """More than there are places, refilled; also if each says how it would begin."""
    with trio.fail_after(50):
        async with running(1) as one, silence(one, count, first):
            for number in range(2, 4):
                async with running(number) as newcomer:
                    introduce(newcomer, one)
                    with trio.fail_after(SERVED_WITHIN_S):
                        await wait_members(newcomer, one)
            assert one.network.counters["connections_displaced_half_open"] > 0


async def test_a_newcomer_is_served_behind_strangers_that_hold_their_places() -> None:
    """They proved their keys and say no more: as many as the host has places."""
    with trio.fail_after(50):
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running(1, members_say_hello))
            for number in range(40, 40 + 6):
                mute = await stack.enter_async_context(running(number))
                introduce(mute, one)
            await one.wait(lambda: one.network.counters["connections_displaced_stranger"] >= 3)
            member = await stack.enter_async_context(running(2, members_say_hello))
            introduce(member, one)
            with trio.fail_after(SERVED_WITHIN_S):
                await wait_members(member, one)


async def test_no_guest_and_no_stranger_costs_a_member_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guests displace each other, and sockets that say nothing each other."""
    monkeypatch.setattr(limits, "SLOTS_MEMBERS_RESERVED", PLACES - 4 - 3 - 2)
    with trio.fail_after(50):
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running(1, members_say_hello))
            member = await stack.enter_async_context(running(2, members_say_hello))
            introduce(member, one)
            await wait_members(member, one)
            for number in range(20, 24):
                guest = await stack.enter_async_context(running(number, members_say_hello))
                introduce(guest, one)
            await stack.enter_async_context(silence(one, SILENT))
            await one.wait(lambda: one.network.counters["connections_displaced_guest"] >= 2)
            door = one.network._host.get_network().door
            assert door.count(Stage.GUEST) <= 2
            assert door.count(Stage.MEMBER) == 1
            assert one.comings(member) == ["+"]
            assert one.network.standing(member.key) is Standing.MEMBER


async def test_places_come_back_when_connections_end() -> None:
    """After everybody has gone nothing is left of them."""
    with trio.fail_after(50):
        async with running(1) as one:
            door = one.network._host.get_network().door
            async with running(2) as two, silence(one, SILENT):
                introduce(two, one)
                await wait_members(one, two)
            await one.wait(lambda: not len(door._slots))
            await one.wait(lambda: not door._streams and not door._peer_of and not door._stages)
            assert not door._of_peer


@contextmanager
def open_files(more: int) -> Iterator[None]:
    """So many descriptors more than are open now, and no more, whatever asks for them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (now + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_host_without_descriptors_goes_on_when_there_are_some(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its listener waits a moment each time, says so once, and neither spins nor ends."""
    with trio.fail_after(50):
        async with running(1) as one, running(2) as two:
            with open_files(30):
                async with silence(one, SILENT):
                    await trio.sleep(1)
            introduce(two, one)
            with trio.fail_after(SERVED_WITHIN_S):
                await wait_members(one, two)
    said = [r for r in caplog.records if r.name == "trio.serve_listeners"]
    assert len(said) <= 1
    assert all(record.levelno == logging.ERROR and not record.exc_info for record in said)


def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes() -> None:
    """To what the bounds need, never below what it was; where that is too little, it says so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    now = len(list(Path("/proc/self/fd").iterdir()))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now + 20, before[1]))
        assert raise_open_files(now + 40)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == now + 40
        assert raise_open_files(now + 30)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == now + 40
        if before[1] != resource.RLIM_INFINITY:
            assert not raise_open_files(before[1] + 1)
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_handshakes_come_at_a_rate_whoever_asks_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each costs curves: who comes too fast waits for its turn, and gets in all the same."""
    monkeypatch.setattr(limits, "CONNECTS_BURST", 1)
    monkeypatch.setattr(limits, "CONNECTS_PER_S", 1)
    with trio.fail_after(50):
        async with running(1) as one, running(2) as two, running(3) as three, running(4) as four:
            began_s = trio.current_time()
            for node in (two, three, four):
                introduce(node, one)
            for node in (two, three, four):
                await wait_members(node, one)
            assert trio.current_time() - began_s >= 2
            assert one.network.counters["connections_refused_rate"] == 0


class Endless:
    """A connection on which there is always more."""

    async def read(self, n: int) -> bytes:
        """All that is asked for."""
        await trio.lowlevel.checkpoint()
        return bytes(n)


def inbound(shared: Pace) -> InboundStream:
    """A stranger's connection."""
    return InboundStream(Endless(), Slot(groups_of("127.0.0.1"), 0), shared)


async def test_strangers_together_are_read_at_a_pace_and_a_new_one_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each within its own, but there are many; who sends little waits for none of them."""
    shared = Pace(limits.GUESTS_KIB_PER_S, limits.GUESTS_KIB_BURST)
    read = 0

    async def flood() -> None:
        nonlocal read
        stream = inbound(shared)
        while True:
            read += len(await stream.read(65_536))

    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(flood)
        await trio.sleep(20)
        new = inbound(shared)
        with trio.fail_after(0.01):
            for _ in range(limits.GUEST_KIB_SURE_BURST):
                await new.read(1024)
        nursery.cancel_scope.cancel()
    sure = 60 * (limits.GUEST_KIB_SURE_BURST + 20 * limits.GUEST_KIB_SURE_PER_S)
    most = sure + limits.GUESTS_KIB_BURST + 20 * limits.GUESTS_KIB_PER_S
    overshoot = 2 * 60 * limits.GUEST_READ_BYTES // 1024
    assert 0 < read // 1024 <= most + overshoot


async def test_a_member_is_read_as_fast_as_it_sends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From the moment when it is one, whatever it owed before."""
    shared = Pace(limits.GUESTS_KIB_PER_S, limits.GUESTS_KIB_BURST)
    stream, began_s = inbound(shared), trio.current_time()
    for _ in range(80):
        await stream.read(65_536)
    assert trio.current_time() - began_s > 5
    stream.slot.stage, began_s = Stage.MEMBER, trio.current_time()
    for _ in range(200):
        assert len(await stream.read(65_536)) == 65_536
    assert trio.current_time() == began_s


async def test_who_gave_way_waits_for_no_handshake(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """The turns, and the places to wait for one, are for those who are still there."""
    monkeypatch.setattr(limits, "SLOTS_HALF_OPEN_MAX", 1)
    monkeypatch.setattr(limits, "CONNECTS_BURST", 1)
    monkeypatch.setattr(limits, "CONNECTS_PER_S", 0.5)
    door = Door(Counter(), 0)

    def enter() -> InboundStream:
        socket = SimpleNamespace(close=lambda: None)
        stream = door.enter(SimpleNamespace(stream=SimpleNamespace(socket=socket)))
        assert stream is not None
        return stream

    await door.pay(enter().slot)
    gone = enter()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def displace() -> None:
            await trio.sleep(limits.SLOT_KEPT_MIN_MS / 1000)
            enter()

        with pytest.raises(SwarmException, match="gave way"):
            await door.pay(gone.slot)
    assert trio.current_time() < (limits.SLOT_KEPT_MIN_MS + 2 * limits.KNOCK_RETRY_MS) / 1000


async def test_one_address_does_not_fill_the_places_to_wait(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Nor do all addresses of one network: whoever comes from elsewhere waits for its turn, and
    the last of the crowd goes for it."""
    monkeypatch.setattr(limits, "SLOTS_HALF_OPEN_MAX", 256)
    monkeypatch.setattr(limits, "CONNECTS_BURST", 0)
    monkeypatch.setattr(limits, "CONNECTS_PER_S", 0.001)
    for crowd in (["203.0.113.7"], [f"203.0.113.{n}" for n in range(1, 200)]):
        door = Door(Counter(), 0)
        refused: list[str] = []

        async def wait(host: str, door: Door = door, refused: list[str] = refused) -> None:
            slot = Slot(groups_of(host), 0)
            assert door._slots._place(slot) == []
            try:
                await door.pay(slot)
            except SwarmException:
                refused.append(host)

        async with trio.open_nursery() as nursery:
            for number in range(limits.KNOCKS_WAITING_MAX + 5):
                nursery.start_soon(wait, crowd[number % len(crowd)])
                await trio.testing.wait_all_tasks_blocked()
            assert len(refused) == 5
            honest = [f"198.51.{n}.1" for n in range(8)]
            for host in honest:
                nursery.start_soon(wait, host)
            await trio.sleep(10 * limits.KNOCK_RETRY_MS / 1000)
            assert len(refused) == 5 + len(honest)
            assert not {*refused} & {*honest}
            nursery.cancel_scope.cancel()


async def test_the_places_to_wait_are_bounded(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever comes when all are taken sends one away at once."""
    monkeypatch.setattr(limits, "SLOTS_HALF_OPEN_MAX", 256)
    monkeypatch.setattr(limits, "CONNECTS_BURST", 0)
    monkeypatch.setattr(limits, "CONNECTS_PER_S", 0.001)
    door, most = Door(Counter(), 0), 0
    async with trio.open_nursery() as nursery:

        async def wait(host: str) -> None:
            nonlocal most
            slot = Slot(groups_of(host), 0)
            assert door._slots._place(slot) == []
            with suppress(SwarmException):
                await door.pay(slot)
            most = max(most, len(door._knocks))

        for number in range(3 * limits.KNOCKS_WAITING_MAX):
            nursery.start_soon(wait, f"198.51.{number}.1")
        await trio.sleep(1)
        assert most <= limits.KNOCKS_WAITING_MAX
        assert len(door._knocks) <= limits.KNOCKS_WAITING_MAX
        nursery.cancel_scope.cancel()
