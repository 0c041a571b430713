"""The nemesis: faults by a schedule that a seed gives, against whoever holds the role just then.

A schedule is a list of (when, what, for how long), made before the run: a seed and a length give
the same one anywhere. Whom a fault strikes may depend on who leads at that moment, so the history
tells of it. Every kind comes once before any comes twice; sometimes a second fault begins within
the first. Each fault undoes itself, and what it did is over before the next calm.
"""

import random
import signal
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from p2pool.model.errors import P2poolError
from tests.chaos.faults.tcp_proxy import apart, between
from tests.chaos.history.events import History
from tests.chaos.pool import ChaosPool

CALM_S = (2.0, 5.0)
SAID_MAX = 400
SETTLED_S = 30.0
"""So long after its end a fault may still explain that a node is judged unreachable."""


@attrs.frozen
class Fault:
    """One entry of a schedule; `number` seeds what is left to chance within it."""

    at_s: float
    kind: str
    lasts_s: float
    number: int


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    waiting: list[str] = []
    at_s = rng.uniform(2, 4)
    while True:
        if not waiting:
            waiting = sorted(KINDS)
            rng.shuffle(waiting)
        kind = waiting.pop()
        lasts_s = round(rng.uniform(*KINDS[kind].lasts_s), 2)
        if at_s + lasts_s > seconds:
            return faults
        faults.append(Fault(round(at_s, 2), kind, lasts_s, rng.randrange(2**31)))
        if rng.random() < 0.25:
            second = rng.choice(SECOND)
            also_s = round(rng.uniform(2, 5), 2)
            begins_s = round(at_s + rng.uniform(0, lasts_s / 2), 2)
            faults.append(Fault(begins_s, second, also_s, rng.randrange(2**31)))
            lasts_s = max(lasts_s, begins_s - at_s + also_s)
        at_s += lasts_s + rng.uniform(*CALM_S)


@attrs.define
class Struck:
    """Whom a fault struck, and when: what may excuse a judgement. `until_s` None: it lasts."""

    kind: str
    names: tuple[str, ...]
    from_s: float
    until_s: float | None = None


@attrs.define
class Nemesis:
    """Carries a schedule out on a pool."""

    pool: ChaosPool
    history: History
    struck: list[Struck] = attrs.field(factory=list)
    busy: set[str] = attrs.field(factory=set)
    failures: list[str] = attrs.field(factory=list)

    async def run(self, faults: list[Fault]) -> None:
        """All faults at their times; returns when the last one is over."""
        begun_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for fault in sorted(faults, key=lambda f: f.at_s):
                await trio.sleep_until(begun_s + fault.at_s)
                nursery.start_soon(self._carry_out, fault)

    async def _carry_out(self, fault: Fault) -> None:
        rng = random.Random(fault.number)
        begun = self.history.invoke("nemesis", fault.kind, "", value=[])
        victims = Victims(self, rng)
        try:
            await KINDS[fault.kind].act(victims, fault.lasts_s)
        except P2poolError as error:
            self.failures.append(f"{fault.kind}: {str(error)[-SAID_MAX:]}")
        finally:
            now_s = trio.current_time()
            for one in victims.struck:
                one.until_s = one.until_s or now_s
        self.history.end(begun, "ok", [list(one.names) for one in victims.struck])

    async def start(self, name: str) -> None:
        """Start an agent again; one that does not is a failure of the run."""
        try:
            await self.pool.start_agent(self.pool.named(name))
        except P2poolError as error:
            self.failures.append(f"{name} did not start again: {str(error)[-SAID_MAX:]}")

    def excused(self, name: str, at_s: float) -> bool:
        """Whether some fault explains that an agent seemed to be gone."""
        return any(
            name in one.names and one.from_s <= at_s <= (one.until_s or at_s) + SETTLED_S
            for one in self.struck
        )


@attrs.define
class Victims:
    """One fault at work: chooses whom it strikes, and says so."""

    nemesis: Nemesis
    rng: random.Random
    struck: list[Struck] = attrs.field(factory=list)

    @property
    def pool(self) -> ChaosPool:
        """The pool under attack."""
        return self.nemesis.pool

    def strike(self, kind: str, *names: str) -> None:
        """Note whom it strikes, from now on."""
        one = Struck(kind, names, trio.current_time())
        self.struck.append(one)
        self.nemesis.struck.append(one)
        self.nemesis.history.invoke("nemesis", f"strikes: {kind}", "", value=list(names))

    async def leader(self) -> str:
        """Who leads now; anybody, where nobody is known to."""
        return await self.pool.leader() or self.rng.choice(self.pool.names)

    def shuffled(self) -> list[str]:
        """All agents in some order."""
        names = list(self.pool.names)
        self.rng.shuffle(names)
        return names

    async def some(self, count: int) -> list[str]:
        """So many agents, the leader among them as often as not; none that another fault holds."""
        names = self.shuffled()
        if self.rng.random() < 0.5:
            first = await self.leader()
            names.sort(key=lambda name: name != first)
        return [n for n in names if n not in self.nemesis.busy][:count]


# --- what can be done -----------------------------------------------------------------------------


async def _down(victims: Victims, names: list[str], number: int, lasts_s: float) -> None:
    """End processes, and start them again after a while; never those that another fault holds."""
    names = [name for name in names if name not in victims.nemesis.busy]
    victims.nemesis.busy.update(names)
    try:
        victims.strike("SIGKILL" if number == signal.SIGKILL else "SIGTERM", *names)
        for name in names:
            await victims.pool.kill(name, number)
        await trio.sleep(lasts_s)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(victims.nemesis.start, name)
    finally:
        victims.nemesis.busy.difference_update(names)


async def _kill_leader(victims: Victims, lasts_s: float) -> None:
    await _down(victims, [await victims.leader()], signal.SIGKILL, lasts_s)


async def _kill_two(victims: Victims, lasts_s: float) -> None:
    await _down(victims, await victims.some(2), signal.SIGKILL, lasts_s)


async def _stop_gracefully(victims: Victims, lasts_s: float) -> None:
    await _down(victims, await victims.some(1), signal.SIGTERM, lasts_s)


async def _pause(victims: Victims, names: list[str], lasts_s: float) -> None:
    names = [name for name in names if name not in victims.nemesis.busy]
    victims.nemesis.busy.update(names)
    try:
        victims.strike("SIGSTOP", *names)
        for name in names:
            victims.pool.pause(name)
        await trio.sleep(lasts_s)
    finally:
        for name in names:
            victims.pool.go_on(name)
        victims.nemesis.busy.difference_update(names)


async def _pause_leader(victims: Victims, lasts_s: float) -> None:
    await _pause(victims, [await victims.leader()], lasts_s)


async def _pause_three(victims: Victims, lasts_s: float) -> None:
    """A majority: nothing is written until one of them is back."""
    await _pause(victims, await victims.some(3), lasts_s)


async def _blocked(
    victims: Victims, pairs: list[tuple[str, str]], lasts_s: float, *names: str
) -> None:
    victims.strike("blocked", *names)
    victims.pool.links.block(pairs)
    await trio.sleep(lasts_s)
    victims.pool.links.mend(pairs)


async def _isolate_leader(victims: Victims, lasts_s: float) -> None:
    alone = await victims.leader()
    rest = [n for n in victims.pool.names if n != alone]
    await _blocked(victims, apart([alone], rest), lasts_s, alone)


async def _split(victims: Victims, lasts_s: float) -> None:
    """Two from three, the leader on the smaller side as often as not."""
    few = (await victims.some(2) or victims.shuffled())[:2]
    rest = [n for n in victims.pool.names if n not in few]
    await _blocked(victims, apart(few, rest), lasts_s, *few)


async def _shatter(victims: Victims, lasts_s: float) -> None:
    """Two, two and one: no majority anywhere."""
    names = victims.shuffled()
    await _blocked(victims, apart(names[:2], names[2:4], names[4:]), lasts_s, *names)


async def _mute_leader(victims: Victims, lasts_s: float) -> None:
    """The leader hears all, and nobody hears it."""
    mute = await victims.leader()
    await _blocked(victims, between([mute], victims.pool.names), lasts_s, *victims.pool.names)


async def _deafen(victims: Victims, lasts_s: float) -> None:
    """All hear one, and it hears nobody."""
    deaf = (await victims.some(1) or victims.shuffled())[0]
    await _blocked(victims, between(victims.pool.names, [deaf]), lasts_s, *victims.pool.names)


async def _one_way(victims: Victims, lasts_s: float) -> None:
    """One direction between two agents."""
    one, other = victims.shuffled()[:2]
    await _blocked(victims, [(one, other)], lasts_s, one, other)


async def _flap(victims: Victims, lasts_s: float) -> None:
    """Connections of one agent are reset, and again, and again."""
    one = (await victims.some(1) or victims.shuffled())[0]
    pairs = apart([one], [n for n in victims.pool.names if n != one])
    victims.strike("reset", one)
    end_s = trio.current_time() + lasts_s
    while trio.current_time() < end_s:
        victims.pool.links.sever(pairs)
        await trio.sleep(victims.rng.uniform(0.2, 1.0))
        victims.pool.links.mend(pairs)
        await trio.sleep(victims.rng.uniform(0.5, 2.0))


async def _slow(victims: Victims, lasts_s: float) -> None:
    """All links are slow, each by another measure."""
    victims.strike("slow")
    pairs = between(victims.pool.names, victims.pool.names)
    for pair in pairs:
        victims.pool.links.slow([pair], victims.rng.randrange(10, 250))
    await trio.sleep(lasts_s)
    victims.pool.links.mend(pairs)


async def _chain_restart(victims: Victims, lasts_s: float) -> None:
    victims.strike("the chain is down")
    await victims.pool.kill("chain", signal.SIGTERM)
    await trio.sleep(lasts_s)
    await victims.pool.start_chain()


async def _chain_views(victims: Victims, lasts_s: float) -> None:
    """Agents see different blocks: some lag, one is stuck, one hears nothing."""
    names = victims.shuffled()
    victims.strike("the chain differs")
    views = victims.pool.views
    views[names[0]].show("stuck", 3)
    views[names[1]].show("lag", 7)
    views[names[2]].show("silent")
    views[names[3]].show("down")
    await trio.sleep(lasts_s)
    for view in views.values():
        view.show("pass")


async def _bootstrap_dies(victims: Victims, lasts_s: float) -> None:
    victims.strike("the bootstrap node is down")
    await victims.pool.kill("bootstrap", signal.SIGKILL)
    await trio.sleep(lasts_s)
    await victims.pool.restart_bootstrap()


@attrs.frozen
class Kind:
    """A kind of fault, and how long it lasts: seconds, from and to."""

    act: Callable[[Victims, float], Awaitable[None]]
    lasts_s: tuple[float, float]


KINDS: Mapping[str, Kind] = {
    "kill the leader": Kind(_kill_leader, (0.5, 6)),
    "kill two": Kind(_kill_two, (0.5, 6)),
    "stop one gracefully": Kind(_stop_gracefully, (0.5, 4)),
    "pause the leader": Kind(_pause_leader, (1, 12)),
    "pause a majority": Kind(_pause_three, (2, 8)),
    "isolate the leader": Kind(_isolate_leader, (3, 12)),
    "split two from three": Kind(_split, (3, 12)),
    "shatter": Kind(_shatter, (3, 8)),
    "mute the leader": Kind(_mute_leader, (3, 10)),
    "deafen one": Kind(_deafen, (3, 10)),
    "block one direction": Kind(_one_way, (3, 12)),
    "reset connections": Kind(_flap, (3, 8)),
    "slow links": Kind(_slow, (4, 10)),
    "restart the chain": Kind(_chain_restart, (0.5, 5)),
    "show different chains": Kind(_chain_views, (4, 12)),
    "kill the bootstrap node": Kind(_bootstrap_dies, (1, 6)),
}
SECOND = ("pause the leader", "reset connections", "block one direction", "kill the leader")
