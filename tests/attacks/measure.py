"""What is measured while nothing happens, while an attack runs, and after it.

Intuition: an attack counts by what others notice. So the pool is used as its users use it: the API
of the victim is asked, newcomers knock at it, a manager writes, another agent looks at everybody's
heartbeats; and the kernel says what memory and time the victim takes. All of it goes on all the
time, at the same pace, so that rest and attack are compared in one run.
"""

import http.client
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from p2pool.client.discovery import agent_in
from p2pool.codec.text.multiaddr import split_peer
from p2pool.dev.pool import DevAgent
from p2pool.model.errors import P2poolError
from tests.attacks.attacker.guest import Guest, bindings
from tests.attacks.attacker.line import DEAD, At
from tests.attacks.pool import Grounds, Target

MIB = 2**20
API_EVERY_S = 0.2
API_LATE_S = 10.0
KNOCK_EVERY_S = 1.0
SERVED_S = 10.0
SLOW_TIMES = 10.0
"""On a machine that is busy with other work a newcomer is given so many times what it takes at
rest."""
REST_PATIENCE_S = 30.0
RETRY_S = 1.0
WRITE_EVERY_S = 1.0
WRITE_LATE_S = 15.0
SEEN_EVERY_S = 1.0
TICKS_PER_S = 100
NS_PER_S = 1_000_000_000


@attrs.define
class Measured:
    """The figures of one stretch of time."""

    seconds: float = 0.0
    memory: list[int] = attrs.field(factory=list)
    cpu_s: float = 0.0
    waited_s: float = 0.0
    """How long the victim was ready to run, and another process had the processor."""
    api_s: list[float] = attrs.field(factory=list)
    api_failed: int = 0
    knocked: int = 0
    served: int = 0
    served_s: list[float] = attrs.field(factory=list)
    eclipsed: int = 0
    """Newcomers who were answered, and told of no member."""
    misled: int = 0
    """Newcomers who were told an address of a member that is not its own."""
    writes_s: list[float] = attrs.field(factory=list)
    writes_failed: list[str] = attrs.field(factory=list)
    silent_s: float = 0.0
    """The longest that any node was without a heartbeat that the agent beside the victim heard."""
    unhealthy: int = 0
    looks: int = 0

    def p(self, share: float) -> float:
        """So many of the API's answers came within this time; a failure counts as the longest."""
        return quantile([*self.api_s, *[API_LATE_S] * self.api_failed], share)

    @property
    def patience_s(self) -> float:
        """How long newcomers have under an attack that follows this rest."""
        return max(SERVED_S, SLOW_TIMES * quantile(self.served_s, 0.5))

    @property
    def share(self) -> float:
        """How much of one processor the victim had."""
        return self.cpu_s / self.seconds if self.seconds else 0.0

    @property
    def stretch(self) -> float:
        """How much longer the victim's work took than it would with a processor of its own."""
        return (self.cpu_s + self.waited_s) / self.cpu_s if self.cpu_s else 1.0

    @property
    def peak(self) -> int:
        """The most memory."""
        return max(self.memory, default=0)

    @property
    def typical(self) -> int:
        """The memory of most of the time."""
        return sorted(self.memory)[len(self.memory) // 2] if self.memory else 0


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of these do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def rss(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu(pid: int) -> float:
    """Time on the processor that a process has had, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def waited(pid: int) -> float:
    """How long a process was ready and did not run, in seconds: that of its first thread, which
    does all but waiting."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / NS_PER_S


async def measured(
    grounds: Grounds, target: Target, seconds: float, patience_s: float = REST_PATIENCE_S
) -> Measured:
    """Use the pool, and watch a process of it, for so long. `patience_s`: that of newcomers."""
    found = Measured(seconds=seconds)
    pid = target.child.pid
    before_s, waited_before_s = cpu(pid), waited(pid)
    async with trio.open_nursery() as nursery:
        watch = _Watch(grounds, target, found, patience_s)
        ends = trio.current_time() + seconds
        for every, look in (
            (API_EVERY_S, watch.ask_api),
            (KNOCK_EVERY_S, watch.knock),
            (WRITE_EVERY_S, watch.write),
            (SEEN_EVERY_S, watch.look),
        ):
            nursery.start_soon(_repeat, every, look, ends)
    if target.child.alive:
        found.cpu_s, found.waited_s = cpu(pid) - before_s, waited(pid) - waited_before_s
    return found


async def _repeat(every_s: float, look: Callable[[], Awaitable[None]], ends: float) -> None:
    """Do it at a steady pace, however long each takes."""
    async with trio.open_nursery() as nursery:
        next_s = trio.current_time()
        while next_s < ends:
            nursery.start_soon(look)
            next_s += every_s
            await trio.sleep_until(next_s)


@attrs.define
class _Watch:
    """The users of the pool."""

    grounds: Grounds
    target: Target
    found: Measured
    patience_s: float
    _knocks: int = 0
    _writes: int = 0
    _writing: bool = False

    async def ask_api(self) -> None:
        """A health check and a read with a token, each on a connection of its own."""
        agent = self.target.agent or self.grounds.victim.agent
        assert agent is not None
        began = time.perf_counter()
        with trio.move_on_after(API_LATE_S):
            try:
                await trio.to_thread.run_sync(_ask, agent, abandon_on_cancel=True)
            except (OSError, http.client.HTTPException):
                self.found.api_failed += 1
                return
            self.found.api_s.append(time.perf_counter() - began)
            return
        self.found.api_failed += 1

    async def knock(self) -> None:
        """A newcomer from an address of its own: does it learn of members?"""
        self._knocks += 1
        self.found.knocked += 1
        source = f"127.{128 + self._knocks % 120}.{self._knocks // 120 % 250}.1"
        guest = Guest(self.grounds.ref)
        began = trio.current_time()
        with trio.move_on_after(self.patience_s):
            while True:
                with suppress(*DEAD):
                    told = await bindings(At(self.target.address, source), guest, self.patience_s)
                    true = self.grounds.addresses
                    self.found.misled += any(
                        split_peer(address)[0] not in true[peer.binding.node_id]
                        for peer in told
                        for address in peer.addresses
                        if peer.binding.node_id in true
                    )
                    self.found.served += 1
                    self.found.served_s.append(trio.current_time() - began)
                    named = {peer.binding.node_id for peer in told}
                    self.found.eclipsed += not self.grounds.there & named
                    return
                await trio.sleep(RETRY_S)

    async def write(self) -> None:
        """The manager sets something, by another agent."""
        if self._writing:
            return
        self._writing = True
        self._writes += 1
        value = ("1d", "7d")[self._writes % 2]
        began = time.perf_counter()
        try:
            with trio.fail_after(WRITE_LATE_S):
                await trio.to_thread.run_sync(
                    self.grounds.user.set,
                    self.grounds.beside,
                    "eject-dead",
                    value,
                    abandon_on_cancel=True,
                )
            self.found.writes_s.append(time.perf_counter() - began)
        except (P2poolError, trio.TooSlowError) as error:
            self.found.writes_failed.append(str(error) or type(error).__name__)
        finally:
            self._writing = False

    async def look(self) -> None:
        """Memory of the victim; how all nodes are, as another one sees them."""
        if self.target.child.alive:
            self.found.memory.append(rss(self.target.child.pid))
        with trio.move_on_after(API_LATE_S), suppress(P2poolError):
            nodes = (await self.grounds.beside.get("/v1/nodes"))["nodes"]
            now_ms = time.time() * 1000
            self.found.looks += 1
            there = [n for n in nodes if n["node_id"] != self.grounds.absent]
            silent = max(now_ms - node["last_heard_ms"] for node in there) / 1000
            self.found.silent_s = max(self.found.silent_s, silent)
            self.found.unhealthy += any(n["reachability"] != "healthy" for n in there)


def _ask(agent: DevAgent) -> None:
    at = agent_in(agent.directory)
    for path, headers in (
        ("/v1/health", {}),
        ("/v1/nodes", {"Authorization": f"Bearer {at.token}"}),
    ):
        connection = http.client.HTTPConnection(urlsplit(at.url).netloc, timeout=API_LATE_S)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise http.client.HTTPException(str(answer.status))
        finally:
            connection.close()
