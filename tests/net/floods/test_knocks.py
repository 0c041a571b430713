"""Where more knock than a host can answer, turns go round the neighbourhoods they come from."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from p2pool.drivers.net.host.address_groups import groups_of
from p2pool.drivers.net.host.knocks import Knocks
from p2pool.drivers.net.host.slots import Slot
from p2pool.model import limits

SERVED_S = 10
NETWORKS = 40


@attrs.define
class Street:
    """Some who knock at one host."""

    nursery: trio.Nursery
    knocks: Knocks = attrs.field(factory=Knocks)
    served: list[str] = attrs.field(factory=list)
    turned_away: Counter[str] = attrs.field(factory=Counter)

    def knock(self, host: str) -> None:
        """Knock once."""
        self.nursery.start_soon(self.knocked, host)

    async def knocked(self, host: str) -> bool:
        """Knock, and wait for what comes of it."""
        slot = Slot(groups_of(host), int(trio.current_time() * 1000))
        turn = await self.knocks.turn(slot, lambda: True)
        if turn:
            self.served.append(host)
        else:
            self.turned_away[host] += 1
        return turn


@asynccontextmanager
async def a_street() -> AsyncIterator[Street]:
    """Nobody knocks yet."""
    async with trio.open_nursery() as nursery:
        yield Street(nursery)
        nursery.cancel_scope.cancel()


def crowd(number: int) -> str:
    """One of thousands of addresses, in few neighbourhoods and each in a network of its own."""
    return f"10.{number % NETWORKS}.{number // NETWORKS % 250}.2"


@pytest.mark.parametrize("seed", range(2))
async def test_newcomers_are_served_beside_a_crowd_from_everywhere(
    autojump_clock: trio.testing.MockClock, seed: int
) -> None:
    """A hundred and forty knocks a second from ten thousand networks, for long: whoever knocks
    from elsewhere, and again a second after it was turned away, is served in ten seconds."""
    async with a_street() as street:
        draw = random.Random(seed)
        served_in: list[float] = []

        async def newcomer(host: str) -> None:
            came = trio.current_time()
            while not await street.knocked(host):  # noqa: ASYNC110
                await trio.sleep(1)
            served_in.append(trio.current_time() - came)

        for tenth in range(200):
            for _ in range(14):
                street.knock(crowd(draw.randrange(10_000)))
            if tenth % 10 == 0:
                street.nursery.start_soon(newcomer, f"192.{tenth // 10}.0.1")
            await trio.sleep(0.1)
        await trio.sleep(SERVED_S)
        assert len([s for s in served_in if s < SERVED_S]) == 20
        crowds = len(street.served) - 20
        assert crowds > 20 * limits.CONNECTS_PER_S - 20, "the host answers as many as it can"


async def test_one_address_leaves_the_places_to_wait_to_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All places are taken by one address: another one finds one, and the first has one less."""
    async with a_street() as street:
        for _ in range(limits.CONNECTS_PER_HOST_BURST + limits.KNOCKS_WAITING_MAX):
            street.knock("10.0.0.1")
        await trio.testing.wait_all_tasks_blocked()
        assert len(street.knocks) == limits.KNOCKS_WAITING_MAX
        assert await street.knocked("192.168.0.1")
        await trio.testing.wait_all_tasks_blocked()
        assert street.turned_away == {"10.0.0.1": 1}


async def test_turns_keep_to_the_rates(autojump_clock: trio.testing.MockClock) -> None:
    """Of one address, and of all; who waits longer than a handshake may is turned away."""
    async with a_street() as street:
        for number in range(limits.KNOCKS_WAITING_MAX):
            street.knock("10.0.0.1")
            street.knock(f"10.{number}.0.2")
        await trio.testing.wait_all_tasks_blocked()
        assert len(street.served) == limits.CONNECTS_BURST
        await trio.sleep(limits.KNOCK_WAIT_MS / 1000 + 1)
        most = limits.CONNECTS_BURST + limits.CONNECTS_PER_S * (limits.KNOCK_WAIT_MS / 1000 + 1)
        assert limits.CONNECTS_BURST < len(street.served) <= most
        alone = limits.CONNECTS_PER_HOST_BURST + limits.CONNECTS_PER_HOST_PER_S * 5
        assert street.served.count("10.0.0.1") <= alone
        assert len(street.served) + street.turned_away.total() == 2 * limits.KNOCKS_WAITING_MAX


async def test_whoever_lost_its_place_waits_no_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its turn is for others, and the place where it waited too."""
    async with a_street() as street:
        slot = Slot(groups_of("10.0.0.1"), 0)
        for number in range(limits.CONNECTS_BURST):
            street.knock(f"10.{number}.0.2")
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        assert not await street.knocks.turn(slot, lambda: trio.current_time() < began + 0.01)
        assert trio.current_time() - began <= limits.KNOCK_RETRY_MS / 1000
