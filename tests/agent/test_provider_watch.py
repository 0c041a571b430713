"""An agent reads its provider when an event names it, and else seldom."""

from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from p2pool.agent.join import provider_watch
from p2pool.agent.join.provider_watch import ProviderWatch
from p2pool.agent.loop import Loop
from p2pool.agent.options import AgentOptions
from p2pool.drivers.chain.answers import Log
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.model import limits
from p2pool.model.ids import Address
from p2pool.model.ports.agent import ProviderStatus

ME = Address(b"p" * 20)
WORD = bytes(12) + ME
TOPIC = "0x" + "ab" * 32
PAUSE_S = limits.PROVIDER_PAUSE_MS / 1000
POLL_S = limits.PROVIDER_POLL_MS / 1000
WELL = ProviderStatus(
    account=ME,
    registered=True,
    whitelisted=True,
    coin_wei=1,
    tokens_wei=0,
    stake_wei=2,
    stake_needed_wei=2,
    unbonding_wei=0,
    withdrawable_wei=0,
    next_due_s=0,
    read_at_ms=1,
)


@attrs.define
class FakeRoster:
    """A roster that names a provider, or does not yet."""

    provider: Address | None = ME
    stepped: trio.Event = attrs.field(factory=trio.Event)

    @property
    def node(self) -> Any:
        return self

    context = roster = node

    def member(self, _: object) -> Any:
        return None if self.provider is None else self

    async def wait_stepped(self) -> None:
        await self.stepped.wait()


@attrs.define
class Chain:
    """Counts how often a provider is read."""

    says: ProviderStatus = WELL
    looks: int = 0

    async def read(self, *_: object) -> ProviderStatus:
        await trio.lowlevel.checkpoint()
        self.looks += 1
        return self.says


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    """What every look finds."""
    made = Chain()
    monkeypatch.setattr(provider_watch, "read_status", made.read)
    return made


def watch_of(roster: FakeRoster) -> ProviderWatch:
    @attrs.frozen
    class Options:
        provider: None = None
        node_id: bytes = b"n"

    return ProviderWatch(cast(AgentOptions, Options()), cast(Loop, roster))


def event(*topics: str, data: bytes | None = b"") -> Log:
    return Log("0x11", (TOPIC, *topics), data=data)


NAMES = {
    "indexed": [event("0x" + WORD.hex())],
    "in the data, second": [event(data=bytes(32) + WORD)],
    "unreadable data": [event(data=None)],
    "nobody can tell": None,
}
OTHERS = {
    "no event": [],
    "another's": [event("0x" + (bytes(12) + b"q" * 20).hex(), data=bytes(64))],
    "not on its own": [event(data=bytes(31) + WORD + b"\1")],
}


@pytest.mark.parametrize("how", [*NAMES, *OTHERS])
async def test_an_event_that_names_the_provider_brings_a_look(
    autojump_clock: trio.testing.MockClock, chain: Chain, how: str
) -> None:
    """However the contracts tell it; others' events bring none, and neither does rest."""
    watch = watch_of(FakeRoster())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, cast(PoolContracts, None))
        await trio.sleep(PAUSE_S + 1)
        assert (chain.looks, watch.status) == (1, WELL)
        watch.hear({**NAMES, **OTHERS}[how])
        await trio.sleep(1)
        assert chain.looks == 1 + (how in NAMES)
        await trio.sleep(POLL_S - 10)
        assert chain.looks == 1 + (how in NAMES)
        await trio.sleep(PAUSE_S + 20)
        assert chain.looks == 2 + (how in NAMES)
        nursery.cancel_scope.cancel()


async def test_many_events_bring_one_look_a_pause(
    autojump_clock: trio.testing.MockClock, chain: Chain
) -> None:
    """An event in each block costs no reading in each block; the last one is not lost."""
    watch = watch_of(FakeRoster())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, cast(PoolContracts, None))
        for _ in range(int(3 * PAUSE_S)):
            await trio.sleep(1)
            watch.hear(NAMES["indexed"])
        assert chain.looks <= 4
        seen = chain.looks
        await trio.sleep(PAUSE_S + 1)
        assert chain.looks == seen + 1
        nursery.cancel_scope.cancel()


async def test_a_look_that_failed_is_repeated_soon(
    autojump_clock: trio.testing.MockClock, chain: Chain
) -> None:
    """What is unknown is not unknown for long once somebody answers again."""
    watch = watch_of(FakeRoster())
    chain.says = attrs.evolve(WELL, stake_wei=None, problem="nobody answers")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, cast(PoolContracts, None))
        await trio.sleep(1)
        assert watch.status == chain.says
        chain.says = WELL
        await trio.sleep(PAUSE_S)
        assert (chain.looks, watch.status) == (2, WELL)
        nursery.cancel_scope.cancel()


async def test_nothing_is_read_of_nobody(
    autojump_clock: trio.testing.MockClock, chain: Chain
) -> None:
    """A node that was never in the pool and has no provider's key; then the roster names one."""
    roster = FakeRoster(None)
    watch = watch_of(roster)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, cast(PoolContracts, None))
        watch.hear(None)
        await trio.sleep(2 * POLL_S)
        assert (chain.looks, watch.status) == (0, None)
        roster.provider = ME
        roster.stepped.set()
        await trio.sleep(1)
        assert chain.looks == 1
        nursery.cancel_scope.cancel()
