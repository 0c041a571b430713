"""Runs the library: starts swarm, router and pubsub in this order, and stops them in reverse.

It runs in a task shielded from cancellation, so that it can shut down in order and within a bound
while everything around it is being cancelled. Torn down in random order, the library raises
`Nursery is closed to new arrivals` from the tasks that it starts for each message.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import trio
from libp2p.abc import INotifee
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service

from p2pool.drivers.net.host.pool_host import PoolHost
from p2pool.drivers.net.peers.addresses import port_taken
from p2pool.drivers.net.pubsub import PoolPubsub
from p2pool.drivers.net.transport.frames import STREAM_ERRORS

StreamHandler = Callable[[Any], Awaitable[None]]


class _Notifee(INotifee):  # type: ignore[misc]
    """Reports connections to the network; we ignore all other notices."""

    def __init__(self, opened: Callable[[Any], None], ended: Callable[[ID], None]) -> None:
        """Both are called from the library's task, and must not block."""
        self._opened = opened
        self._ended = ended

    async def connected(self, network: Any, conn: Any) -> None:
        """A connection is up."""
        self._opened(conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        """A connection is gone."""
        self._ended(conn.muxed_conn.peer_id)

    async def opened_stream(self, network: Any, stream: Any) -> None:
        """Ignored."""

    async def closed_stream(self, network: Any, stream: Any) -> None:
        """Ignored."""

    async def listen(self, network: Any, multiaddr: Any) -> None:
        """Ignored."""

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        """Ignored."""


class HostLifecycle:
    """A host starting, running and stopping."""

    def __init__(
        self,
        host: PoolHost,
        counters: Counter[str],
        *,
        opened: Callable[[Any], None],
        ended: Callable[[ID], None],
        handlers: Mapping[str, StreamHandler],
        make_pubsub: Callable[[], PoolPubsub] | None,
    ) -> None:
        """`opened`, `ended`: called for connections. `handlers`: inbound streams by protocol."""
        self.ready = trio.Event()
        self.pubsub: PoolPubsub | None = None
        self._host = host
        self._counters = counters
        self._notifee = _Notifee(opened, ended)
        self._handlers = handlers
        self._make_pubsub = make_pubsub
        self._stopping = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    def stop(self, deadline_ms: int) -> None:
        """Begin to shut down; after `deadline_ms` whatever is left is cut off."""
        self._scope.deadline = trio.current_time() + deadline_ms / 1000
        self._stopping.set()

    async def run(self, listen: tuple[Any, ...]) -> None:
        """Run until `stop`, whatever is cancelled around it. PortTaken: another process was
        faster."""
        with self._scope:
            async with AsyncExitStack() as stack:
                await self._start(stack, listen)
                self.ready.set()
                await self._stopping.wait()
                await self._stop()
        if self._scope.cancelled_caught:
            self._counters["shutdown_cut_off"] += 1

    async def _start(self, stack: AsyncExitStack, listen: tuple[Any, ...]) -> None:
        """Wire everything before the first connection is let in."""
        swarm = self._host.get_network()
        swarm.register_notifee(self._notifee)
        for protocol, handler in self._handlers.items():
            self._host.set_stream_handler(protocol, handler)
        await stack.enter_async_context(background_trio_service(swarm))
        if self._make_pubsub is not None:
            pubsub = self._make_pubsub()
            await stack.enter_async_context(background_trio_service(pubsub.pool_router))
            await stack.enter_async_context(background_trio_service(pubsub))
            await pubsub.wait_until_ready()
            for topic in pubsub.allowed_topics:
                await pubsub.subscribe(topic)
            self.pubsub = pubsub
        await swarm.listen(*listen)
        for address in listen:
            if str(address) not in swarm.listeners:
                raise port_taken(str(address), "another process has just taken it")
        self._host.fix_addresses()

    async def _stop(self) -> None:
        """Leave the topics, close all connections at once (each takes 0.1 s), then the host."""
        pubsub, self.pubsub = self.pubsub, None
        try:
            if pubsub is not None:
                for topic in pubsub.allowed_topics:
                    await pubsub.unsubscribe(topic)
                pubsub.seen_messages.stop()
            swarm = self._host.get_network()
            async with trio.open_nursery() as nursery:
                for peer_id in list(swarm.get_connections_map()):
                    nursery.start_soon(swarm.close_peer, peer_id)
            await self._host.close()
        except STREAM_ERRORS:
            self._counters["shutdown_errors"] += 1
