"""Takes connections in several at a time, and turns away at once who comes too often.

Intuition: the kernel keeps newcomers in a line, and a loop that takes one in each of its turns
leaves it full: then whoever knocks next is not even heard, however fair everything behind the door
is. So several are let in at a time, and who comes too often costs a few system calls: no task, no
place, no handshake. Where more come than a host can look at, a neighbourhood that sends
few is let in all the same.

Invariants: between two looks at anything else it takes so many out of the line, lets in so many of
them, and no more; what is refused is counted. Time is an argument.
Source: docs/design/messages.md, "What a peer may cost".
"""

import socket
from collections import Counter, deque
from typing import Any

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener, _open_reuseport_listeners
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr

from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.net.host.address_groups import NOWHERE, AddressGroups, groups_of
from p2pool.drivers.net.host.knocks import now_ms
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets

ALL = b""
log = get_logger(__name__)


class Arrivals:
    """How often connections may come: all together, and a few for sure."""

    def __init__(self) -> None:
        """Nobody has come."""
        self._all = TokenBuckets(limits.ARRIVALS_PER_S, limits.ARRIVALS_BURST, 1)
        self._sure = TokenBuckets(
            limits.ARRIVALS_SURE_PER_S, limits.ARRIVALS_SURE_BURST, limits.PEERS_TRACKED_MAX
        )

    def admits(self, groups: AddressGroups, at_ms: int) -> bool:
        """Whether one more may come in; if so, it counts."""
        return self._sure.admit(groups.broad, at_ms) or self._all.admit(ALL, at_ms)


class Line(trio.abc.Listener[trio.SocketStream]):
    """A listening socket of which several that wait are taken in together."""

    def __init__(self, listening: Any, arrivals: Arrivals, counters: Counter[str]) -> None:
        """In place of the listener of an open socket, whose line gets longer."""
        listening.listen(limits.ACCEPT_BACKLOG_MAX)
        self.socket = listening
        self._next = trio.SocketListener(listening)
        # Its own descriptor of the same socket: trio's tells of each connection by a turn.
        self._plain = socket.socket(fileno=socket.dup(listening.fileno()))
        self._plain.setblocking(False)
        self._arrivals, self.counters = arrivals, counters
        self._let_in: deque[trio.SocketStream] = deque()

    async def accept(self) -> trio.SocketStream:
        """The next one that is let in. OSError: this process is short of something."""
        while not self._let_in:
            self._consider(await self._next.accept())
            for _ in range(limits.ACCEPTED_AT_ONCE_MAX):
                if len(self._let_in) >= limits.LET_IN_AT_ONCE_MAX:
                    break
                try:
                    plain, _ = self._plain.accept()
                except OSError:  # Nobody waits, or the next turn says what is wrong.
                    break
                self._consider(trio.SocketStream(trio.socket.from_stdlib_socket(plain)))
        return self._let_in.popleft()

    def _consider(self, stream: trio.SocketStream) -> None:
        try:
            groups = groups_of(stream.socket.getpeername()[0])
        except OSError:  # It has gone, or its family has no addresses.
            groups = NOWHERE
        if self._arrivals.admits(groups, now_ms()):
            self._let_in.append(stream)
        else:
            self.counters["connections_refused_arrival"] += 1
            stream.socket.close()

    async def aclose(self) -> None:
        """Close both descriptors, and whoever was let in and not served."""
        self._plain.close()
        for stream in self._let_in:
            stream.socket.close()
        await self._next.aclose()


class PoolListener(TCPListener):  # type: ignore[misc]
    """The library's listener, with our line before it."""

    def __init__(self, handler: Any, arrivals: Arrivals, counters: Counter[str]) -> None:
        """Listens nowhere yet."""
        super().__init__(handler)
        self._arrivals, self._counters = arrivals, counters

    async def listen(self, maddr: Any) -> None:
        """Listen at an address too. OpenConnectionError: that cannot be."""
        async with self._lifecycle_lock:
            if self._closed:
                raise OpenConnectionError(f"The listener is closed: {maddr} is not served.")
            if self._nursery is None:
                await self._spawn_background_task()
            assert self._nursery is not None
            host, port = extract_ip_from_multiaddr(maddr), int(maddr.value_for_protocol("tcp"))
            opened = await _open_reuseport_listeners(host, port)
            lines = [Line(one.socket, self._arrivals, self._counters) for one in opened]
            self._nursery.start_soon(trio.serve_listeners, self._serve, lines)
            self.listeners.extend(lines)

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection, whose failure is its own."""
        try:
            await self.handler(TrioTCPStream(stream))
        except Exception as error:  # noqa: BLE001  What one sends must not end the others.
            log.debug("an inbound connection failed", error=repr(error))


class PoolTCP(TCP):  # type: ignore[misc]
    """The library's TCP, with our listener."""

    def __init__(self, counters: Counter[str]) -> None:
        """`counters`: where refusals are counted."""
        super().__init__()
        self._pool_counters, self._arrivals = counters, Arrivals()

    def create_listener(self, handler_function: Any) -> PoolListener:
        """A listener of this transport: all of a host's let in by the same rates."""
        return PoolListener(handler_function, self._arrivals, self._pool_counters)
