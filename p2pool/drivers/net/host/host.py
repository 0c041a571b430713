"""The libp2p host: TCP, Noise and nothing else, with the library's sharp edges covered.

Built by hand instead of with `libp2p.new_host`, which insists on plaintext and secio as fallbacks,
retries dials by itself, and blocks a peer for a minute after one failed dial. Each addition of the
subclasses answers something seen in py-libp2p 0.8.1:

- a stream handler that raises takes its whole connection down: every handler is wrapped here, in
  the one place where the swarm hands streams over. A peer has at most STREAMS_PER_PEER_MAX streams,
  opens so many a second, and nothing stays of a stream whose handler has ended;
- whoever connects costs two handshakes: a host, and a peer behind whatever host, may connect so
  often, and whoever comes when all places are taken was turned away: now somebody who has shown
  less gives up his (`host.door`);
- an inbound connection keeps its slot until the swarm stops, even when it is long closed, so a node
  would accept only a fixed number of connections in its life: the upgrade waits for the end
  instead;
- an auto-connector dials up to half of `high_watermark` peers out of the peer store, which any peer
  can fill through identify, whatever `low_watermark` says: there is none here;
- opening a stream to a peer that has just gone dials the addresses that it gave identify, which are
  those it listens on, not those it announces: only the peer book dials;
- only peers with Ed25519 keys are let in: no agent has another kind;
- wasted work for each small message is left out (`transport.muxer`), for which the muxer has to be
  made here: the library makes its own Yamux, whatever class it was given;
- importing it detaches its loggers from ours, so their lines would bypass redaction.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.stream_muxer.mplex.mplex import MPLEX_PROTOCOL_ID, Mplex
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL_ID
from libp2p.transport.upgrader import TransportUpgrader

from p2pool.drivers.net.host.arrivals import PoolTCP
from p2pool.drivers.net.host.door import Door, PoolNoise
from p2pool.drivers.net.host.knocks import now_ms
from p2pool.drivers.net.host.pool_host import PoolHost, PoolPeerStore
from p2pool.drivers.net.peers.addresses import peer_key_of
from p2pool.drivers.net.transport.agreement import bound
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, reset_stream
from p2pool.drivers.net.transport.muxer import PoolYamux, forget_stream, raw_stream_of
from p2pool.drivers.net.transport.raw_stream import BufferedStream
from p2pool.drivers.net.transport.room import Room
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.limits import CONNECTIONS_MAX, DIAL_TIMEOUT_MS

logger = logging.getLogger(__name__)
logging.getLogger("libp2p").propagate = True
# When the other side refuses a stream, the library logs an error; we count it and try again.
logging.getLogger("libp2p.host.basic_host").setLevel(logging.CRITICAL)

MUXERS = {"yamux": YAMUX_PROTOCOL_ID, "mplex": MPLEX_PROTOCOL_ID}
DEFAULT_MUXER = "yamux"
"""Yamux, because it holds back each stream on its own. With Mplex one stream that its reader
neglects stops the whole connection for five seconds: a slow log reader would hold up Raft. The
package's docstring has the measurements."""

StreamHandler = Callable[[Any], Awaitable[None]]


class _NoAutoConnector(AutoConnector):  # type: ignore[misc]
    """Dials nobody: the peer book decides who is dialled."""

    async def run_background_task(self, nursery: Any) -> None:
        """Start nothing."""

    async def maybe_connect(self) -> None:
        """Connect to nobody."""

    def record_disconnect(self, peer_id: ID) -> None:
        """Remember nothing."""


class PoolSwarm(Swarm):  # type: ignore[misc]
    """The library's swarm with guarded handlers, and with inbound connections that end."""

    def __init__(self, *args: Any, counters: Counter[str], door: Door, **kwargs: Any) -> None:
        """As the library's, counting into `counters`."""
        self.pool_counters = counters
        self.door = door
        self._inbound_streams: defaultdict[ID, int] = defaultdict(int)
        tracked = limits.PEERS_TRACKED_MAX
        self._opened = TokenBuckets(
            limits.STREAMS_PER_PEER_PER_S, limits.STREAMS_PER_PEER_BURST, tracked
        )
        self._connects = TokenBuckets(
            limits.CONNECTS_PER_PEER_PER_S, limits.CONNECTS_PER_PEER_BURST, tracked
        )
        super().__init__(*args, **kwargs)
        self.auto_connector = _NoAutoConnector(swarm=self)

    def set_stream_handler(self, stream_handler: StreamHandler) -> None:
        """Take the host's handler for all inbound streams, guarded."""

        async def guarded(stream: Any) -> None:
            await self._handle_guarded(stream_handler, stream)

        super().set_stream_handler(guarded)

    async def _handle_guarded(self, handler: StreamHandler, stream: Any) -> None:
        """Run a handler; whatever a remote makes it raise ends this stream and nothing else.

        Below it runs library code on bytes that a remote chose: any exception may come out.
        Cancelled is not one of these, and passes.
        """
        peer_id = stream.muxed_conn.peer_id
        many = self._inbound_streams[peer_id] >= limits.STREAMS_PER_PEER_MAX
        if many or not self._opened.admit(peer_id.to_bytes(), now_ms()):
            self.pool_counters["streams_refused_too_many"] += 1
            await reset_stream(stream)
            await forget_stream(stream)
            return
        self._inbound_streams[peer_id] += 1
        try:
            await handler(stream)
        except STREAM_ERRORS:
            self.pool_counters["streams_broken"] += 1
            await reset_stream(stream)
        except Exception:
            self.pool_counters["handlers_raised"] += 1
            logger.exception("A handler of an inbound stream raised; only the stream is dropped.")
            await reset_stream(stream)
        finally:
            self._inbound_streams[peer_id] -= 1
            if not self._inbound_streams[peer_id]:
                del self._inbound_streams[peer_id]
            await forget_stream(stream)

    async def dial_peer(self, peer_id: ID) -> Any:
        """The existing connections. SwarmException: there is none, and none is made."""
        found = [c for c in self.get_connections(peer_id) if not c.is_closed]
        if not found:
            raise SwarmException("the peer is not connected")
        return found

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        """Let an authenticated connection in, unless its key is not Ed25519, or comes too often."""
        if peer_key_of(muxed_conn.peer_id) is None:
            self.pool_counters["connections_refused_key"] += 1
            await muxed_conn.close()
            raise SwarmException("not an Ed25519 peer")
        peer = muxed_conn.peer_id.to_bytes()
        if direction == "inbound" and not self._connects.admit(peer, now_ms()):
            self.pool_counters["connections_refused_rate"] += 1
            await muxed_conn.close()
            raise SwarmException("the peer connects too often")
        return await super().add_conn(muxed_conn, direction)

    async def upgrade_outbound_raw_conn(
        self, raw_conn: Any, peer_id: ID, pre_scope: Any = None
    ) -> Any:
        """Upgrade a connection, reading it through a buffer."""
        raw_conn.stream = BufferedStream(raw_conn.stream)
        return await super().upgrade_outbound_raw_conn(raw_conn, peer_id, pre_scope)

    async def _handle_inbound_connection(self, read_write_closer: Any, maddr: Any) -> None:
        """Let a connection in by the door, for as long as it lasts."""
        stream = self.door.enter(read_write_closer)
        if stream is None:
            await read_write_closer.close()
            return
        try:
            if await stream.speaks():
                await super()._handle_inbound_connection(stream, maddr)
            else:
                await stream.close()
        finally:
            self.door.leave(stream.slot)

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Any) -> Any:
        """Upgrade, then hold the slot until the connection ends.

        The caller would keep the slot until the swarm stops; an exception makes it clean up.
        """
        raw_conn.pool_slot = raw_conn.stream.slot
        raw_conn.stream = BufferedStream(raw_conn.stream)
        muxed_conn = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        await muxed_conn.event_closed.wait()
        raise SwarmException("the inbound connection has ended")


class PoolMuxers(MuxerMultistream):  # type: ignore[misc]
    """The library's agreement on a muxer, which makes the muxer that was agreed on."""

    async def new_conn(self, conn: Any, peer_id: ID) -> Any:
        """A multiplexed connection over a secured one."""
        protocol, muxer = await self._selector.select(
            conn, conn.is_initiator, self.negotiate_timeout
        )
        raw = raw_stream_of(conn)
        if raw is not None:
            raw.established()
        return self._annotate_connection(muxer(conn, peer_id), conn, protocol)


def _upgrader(noise: PoolNoise, muxers: Mapping[Any, Any]) -> TransportUpgrader:
    """Noise, and one of these muxers over it."""
    upgrader = TransportUpgrader(
        secure_transports_by_protocol={NOISE_PROTOCOL_ID: noise},
        muxer_transports_by_protocol=muxers,
    )
    upgrader.muxer_multistream = PoolMuxers(muxers)
    bound(upgrader.security_multistream._selector)
    bound(upgrader.muxer_multistream._selector)
    return upgrader


def build_host(
    seed: bytes, counters: Counter[str], muxer: str = DEFAULT_MUXER, *, members: bool = True
) -> PoolHost:
    """A host that is not running yet. `seed`: 32 bytes; `muxer`: a key of MUXERS; `members` False:
    it has none, so none of its places are kept for them.

    Of the library's `ConnectionConfig` we set the number of connections (default 300; the door
    bounds those from others), that none is made or pruned below it (default: dial until 100), and
    one timeout for all steps of a dial, another for the handshakes of those who dial us.
    The other defaults suit us: 3 connections to one peer (two peers that dial each other make 2),
    streams on the oldest direct one with most streams, no address allowed or blocked (a pool may
    have one address; the chain says who is in it), no health probes (the core has its own).
    """
    key_pair = create_new_key_pair(seed)
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PoolPeerStore(peer_id)
    peerstore.add_key_pair(peer_id, key_pair)
    noise = PoolNoise(key_pair, noise_privkey=create_new_x25519_key_pair().private_key)
    noise.door = Door(counters, limits.SLOTS_MEMBERS_RESERVED if members else 0)
    timeout_s = DIAL_TIMEOUT_MS / 1000
    room = Room(limits.GUESTS_HELD_MAX_BYTES)
    make = partial(PoolYamux, room=room, counters=counters) if muxer == "yamux" else Mplex
    most = CONNECTIONS_MAX + limits.SLOTS_HALF_OPEN_MAX + limits.CONNECTIONS_OUTBOUND_MAX
    swarm = PoolSwarm(
        peer_id,
        peerstore,
        _upgrader(noise, {MUXERS[muxer]: make}),
        transports=[PoolTCP(counters)],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=most,
            min_connections=0,
            low_watermark=0,
            high_watermark=most,
            dial_timeout=timeout_s,
            inbound_upgrade_timeout=limits.HANDSHAKE_TIMEOUT_MS / 1000,
            outbound_upgrade_timeout=timeout_s,
            outbound_stream_protocol_negotiation_timeout=timeout_s,
            inbound_stream_protocol_negotiation_timeout=timeout_s,
        ),
        counters=counters,
        door=noise.door,
    )
    return PoolHost(swarm, room)
