"""The network between agents, as the test wants it: a TCP proxy before each agent.

Intuition: agents announce the proxies' addresses and never learn each other's, so every byte from
one to another passes here, and the proxy knows whose it is: it looks up which of the pool's own
processes holds the other end of the connection. Bytes of a blocked direction wait, as TCP would
have them wait for an acknowledgement, and go on when the link heals: nothing is dropped or put out
of order inside of a connection, and neither side is told. A cut link resets its connections and
takes no new ones. Delay holds every byte of a direction for a while, and keeps their order.

No root, no namespace, nothing of the machine's own network is touched. The proxies live in a thread
with an event loop of its own, since a pool outlives the loop of a single test.
"""

import os
import queue
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import trio

from tests.chaos.faults import rpc_proxy

CHUNKS_IN_FLIGHT = 64
START_DEADLINE_S = 30
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define
class Links:
    """Which bytes pass: by (from, to). Changed by the test's thread, read by the proxies'."""

    blocked: set[tuple[str, str]] = attrs.field(factory=set)
    cut: set[frozenset[str]] = attrs.field(factory=set)
    delay_ms: dict[tuple[str, str], int] = attrs.field(factory=dict)
    counters: Counter[str] = attrs.field(factory=Counter)
    relays: "set[_Relay]" = attrs.field(factory=set)
    changed: trio.Event = attrs.field(factory=trio.Event)
    token: trio.lowlevel.TrioToken | None = None

    # --- what the test asks for -------------------------------------------------------------------

    def block(self, pairs: Iterable[tuple[str, str]]) -> None:
        """From now on nothing passes in these directions."""
        self.blocked |= set(pairs)

    def sever(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Reset the connections between these, and take no new ones."""
        self.cut |= {frozenset(pair) for pair in pairs}
        self._tell(self._reset_cut)

    def slow(self, pairs: Iterable[tuple[str, str]], delay_ms: int) -> None:
        """Hold every byte of these directions for a while."""
        self.delay_ms.update((pair, delay_ms) for pair in pairs)

    def mend(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """These directions are as before (None: all are); what waited goes on."""
        if pairs is None:
            self.blocked, self.cut, self.delay_ms = set(), set(), {}
        else:
            gone = set(pairs)
            self.blocked = self.blocked - gone
            self.cut = self.cut - {frozenset(pair) for pair in gone}
            self.delay_ms = {k: v for k, v in self.delay_ms.items() if k not in gone}
        self._tell(self._wake)

    def _tell(self, what: Callable[[], None]) -> None:
        assert self.token is not None, "the proxies run"
        self.token.run_sync_soon(what)

    # --- in the proxies' loop ---------------------------------------------------------------------

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def _reset_cut(self) -> None:
        for relay in tuple(self.relays):
            if frozenset((relay.a, relay.b)) in self.cut:
                relay.scope.cancel()

    async def wait_open(self, pair: tuple[str, str]) -> None:
        """Wait while a direction is blocked."""
        while pair in self.blocked:
            changed = self.changed
            if pair in self.blocked:
                await changed.wait()


@attrs.frozen(eq=False)
class _Relay:
    """One connection between two agents; `a` dialled."""

    a: str
    b: str
    scope: trio.CancelScope


@attrs.define
class Front:
    """The proxy before one agent: others dial `port`, it listens at `target`."""

    name: str
    port: int
    target: int


class Proxies:
    """All proxies of a pool. `pids`: the processes that may dial, by name."""

    def __init__(self) -> None:
        """Nothing listens yet."""
        self.links = Links()
        self.pids: dict[str, int] = {}
        self.fronts: dict[str, Front] = {}
        self._nursery: trio.Nursery | None = None

    # --- from the test's thread -------------------------------------------------------------------

    def front(self, name: str, target: int) -> Front:
        """Listen for an agent; its proxy's port stays the same as long as this runs."""

        async def listen() -> int:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            assert self._nursery is not None
            self._nursery.start_soon(
                trio.serve_listeners, lambda stream: self._serve(name, stream), listeners
            )
            return int(listeners[0].socket.getsockname()[1])

        port = self._there(listen)
        made = self.fronts[name] = Front(name, port, target)
        return made

    def chain_view(self, name: str, chain_port: int) -> tuple[rpc_proxy.View, int]:
        """An endpoint of the chain for one agent, and its port."""
        view = rpc_proxy.View(name)

        async def listen() -> int:
            assert self._nursery is not None
            return int(await self._nursery.start(rpc_proxy.serve, view, chain_port))

        return view, self._there(listen)

    def _there(self, act: Callable[[], Awaitable[int]]) -> int:
        """Do something in the proxies' loop, and wait: it is a moment's work."""
        done: queue.SimpleQueue[int] = queue.SimpleQueue()

        async def run() -> None:
            done.put(await act())

        assert self.links.token is not None
        assert self._nursery is not None
        self.links.token.run_sync_soon(self._nursery.start_soon, run)
        return done.get(timeout=START_DEADLINE_S)

    # --- in the proxies' loop ---------------------------------------------------------------------

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until cancelled."""
        self.links.token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            started()
            await trio.sleep_forever()

    def stop(self) -> None:
        """End all connections and listeners."""
        assert self._nursery is not None
        assert self.links.token is not None
        self.links.token.run_sync_soon(self._nursery.cancel_scope.cancel)

    async def _serve(self, name: str, stream: trio.SocketStream) -> None:
        links = self.links
        who = owner(stream.socket.getpeername()[1], self.pids) or "stranger"
        links.counters[f"{who} dials {name}"] += 1
        if frozenset((who, name)) in links.cut:
            return  # Closed by the caller: the dialler sees a reset or an end.
        try:
            target = await trio.open_tcp_stream("127.0.0.1", self.fronts[name].target)
        except OSError:
            return
        async with target:
            with trio.CancelScope() as scope:
                relay = _Relay(who, name, scope)
                links.relays.add(relay)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pass, stream, target, (who, name), scope)
                        nursery.start_soon(self._pass, target, stream, (name, who), scope)
                finally:
                    links.relays.discard(relay)

    async def _pass(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        pair: tuple[str, str],
        both: trio.CancelScope,
    ) -> None:
        """Carry one direction; its end ends the connection, as soon as the link lets it through."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](CHUNKS_IN_FLIGHT)

        async def read() -> None:
            async with send:
                with suppress(*BROKEN):
                    async for data in source:
                        due = trio.current_time() + self.links.delay_ms.get(pair, 0) / 1000
                        await send.send((due, bytes(data)))

        async def write() -> None:
            with suppress(*BROKEN):
                async for due, data in receive:
                    await trio.sleep_until(due)
                    await self.links.wait_open(pair)
                    await sink.send_all(data)
                await self.links.wait_open(pair)
            both.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)


@contextmanager
def running_proxies() -> Iterator[Proxies]:
    """Proxies in a thread, for the length of a block."""
    proxies, started = Proxies(), threading.Event()
    thread = threading.Thread(target=trio.run, args=(proxies.run, started.set), daemon=True)
    thread.start()
    if not started.wait(START_DEADLINE_S):
        raise RuntimeError("the proxies did not start")
    try:
        yield proxies
    finally:
        proxies.stop()
        thread.join(START_DEADLINE_S)


# --- whose connection -----------------------------------------------------------------------------


def owner(port: int, pids: Mapping[str, int]) -> str | None:
    """Which of these processes holds the socket whose own port of loopback this is."""
    inodes = {inode for local, _, inode in _sockets() if local == port}
    for name, pid in tuple(pids.items()):
        if inodes & _inodes(pid):
            return name
    return None


def direct(ports: Mapping[int, str], pids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Connections that pass by the proxies: (process that holds one end, agent listening)."""
    found = []
    ends = [(remote, inode) for _, remote, inode in _sockets() if remote in ports]
    for name, pid in tuple(pids.items()):
        mine = _inodes(pid)
        found += [(name, ports[remote]) for remote, inode in ends if inode in mine]
    return found


def _sockets() -> list[tuple[int, int, str]]:
    """(local port, remote port, inode) of this machine's TCP connections over IPv4."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [(int(f[1][-4:], 16), int(f[2][-4:], 16), f[9]) for f in fields]


def _inodes(pid: int) -> set[str]:
    out = set()
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    out.add(target[8:-1])
    return out


# --- groups ---------------------------------------------------------------------------------------


def between(one: Iterable[str], other: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs from the first group to the second."""
    others = tuple(other)
    return [(a, b) for a in one for b in others if a != b]


def apart(*groups: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs of members of different groups, both ways."""
    fixed = [tuple(group) for group in groups]
    return [
        pair
        for one in range(len(fixed))
        for other in range(len(fixed))
        if one != other
        for pair in between(fixed[one], fixed[other])
    ]
