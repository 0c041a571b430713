"""Where an attack takes place, and what it counts of itself."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from p2pool.model.ids import Address, PoolRef
from tests.attacks.attacker.guest import Guest, visiting
from tests.attacks.attacker.line import DEAD, At, Line

HOSTS = 250
AGAIN_S = 0.2


@attrs.define
class Stage:
    """What the attacker knows: what anybody may know, and nothing else; for the attacks on the API
    by its owner also the token."""

    target: str
    pool: PoolRef
    bootstrap: str = ""
    api: str = ""
    token: str = ""
    absent: str = ""
    """The node id of a member that is away, 0x hex."""
    counts: Counter[str] = attrs.field(factory=Counter)
    _hosts: int = 0

    @classmethod
    def read(cls, text: str) -> "Stage":
        """As the one who starts the attacker writes it."""
        told: dict[str, Any] = json.loads(text)
        chain, contract, number = told.pop("pool")
        return cls(pool=PoolRef(chain, Address(bytes.fromhex(contract)), number), **told)

    def at(self, source: str = "") -> At:
        """The target, from an address: the attacker's own one, or another."""
        return At(self.target, source or "127.66.0.1")

    def elsewhere(self) -> At:
        """The target, each time from another address, every second one of another network."""
        self._hosts += 1
        return self.at(f"127.{66 + self._hosts % 40}.{self._hosts // 40 % HOSTS}.2")

    @asynccontextmanager
    async def guest(
        self, at: At, *, reads: bool = True, **made: Any
    ) -> AsyncIterator[tuple[Guest, Line]]:
        """A guest that has said hello."""
        guest = Guest(self.pool, **made)
        async with visiting(at, guest, reads=reads) as line:
            self.counts["guests"] += 1
            yield guest, line

    async def again(self, body: Callable[[], Awaitable[None]]) -> None:
        """Do it for ever; where it is cut off, begin anew."""
        while True:
            try:
                await body()
            except DEAD:
                self.counts["cut off"] += 1
            await trio.sleep(AGAIN_S)

    async def crowd(self, count: int, body: Callable[[], Awaitable[None]]) -> None:
        """So many at a time, for ever."""
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.again, body)


Attack = Callable[[Stage], Awaitable[None]]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    """Register an attack under a name."""

    def registered(body: Attack) -> Attack:
        assert name not in ATTACKS, name
        ATTACKS[name] = body
        return body

    return registered
