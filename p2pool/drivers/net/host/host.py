"""The libp2p host: TCP, Noise and nothing else, with the library's sharp edges covered.

Built by hand instead of with `libp2p.new_host`, which insists on plaintext and secio as fallbacks,
retries dials by itself, and blocks a peer for a minute after one failed dial. Each addition of the
subclasses answers something seen in py-libp2p 0.8.1:

- a stream handler that raises takes its whole connection down: every handler is wrapped here, in
  the one place where the swarm hands streams over. A peer has at most STREAMS_PER_PEER_MAX streams,
  opens so many a second, and nothing stays of a stream whose handler has ended;
- whoever connects costs two handshakes: a host, and a peer behind whatever host, may connect so
  often;
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
- our own addresses are computed once, not for every message that carries our peer record;
- importing it detaches its loggers from ours, so their lines would bypass redaction.
"""

import ipaddress
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.mplex.mplex import MPLEX_PROTOCOL_ID, Mplex
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL_ID
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader

from p2pool.drivers.net.peers.addresses import peer_key_of
from p2pool.drivers.net.peers.first_word import ListeningFirst
from p2pool.drivers.net.transport.frames import STREAM_ERRORS, reset_stream
from p2pool.drivers.net.transport.muxer import BufferedStream, PoolYamux, forget_stream
from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.limits import CONNECTIONS_MAX, DIAL_TIMEOUT_MS

logger = logging.getLogger(__name__)
logging.getLogger("libp2p").propagate = True
# When the other side refuses a stream, the library logs an error; we count it and try again.
logging.getLogger("libp2p.host.basic_host").setLevel(logging.CRITICAL)

MUXERS = {"yamux": {YAMUX_PROTOCOL_ID: PoolYamux}, "mplex": {MPLEX_PROTOCOL_ID: Mplex}}
DEFAULT_MUXER = "yamux"
"""Yamux, because it holds back each stream on its own. With Mplex one stream that its reader
neglects stops the whole connection for five seconds: a slow log reader would hold up Raft. The
package's docstring has the measurements."""

IPV6_NETWORK_BYTES = 8

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

    def __init__(self, *args: Any, counters: Counter[str], **kwargs: Any) -> None:
        """As the library's, counting into `counters`."""
        self.pool_counters = counters
        self._inbound_streams: defaultdict[ID, int] = defaultdict(int)
        tracked = limits.PEERS_TRACKED_MAX
        self._opened = TokenBuckets(
            limits.STREAMS_PER_PEER_PER_S, limits.STREAMS_PER_PEER_BURST, tracked
        )
        self._connects = TokenBuckets(
            limits.CONNECTS_PER_PEER_PER_S, limits.CONNECTS_PER_PEER_BURST, tracked
        )
        self._knocks = TokenBuckets(
            limits.CONNECTS_PER_HOST_PER_S, limits.CONNECTS_PER_HOST_BURST, tracked
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
        if many or not self._opened.admit(peer_id.to_bytes(), _now_ms()):
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
        if direction == "inbound" and not self._connects.admit(peer, _now_ms()):
            self.pool_counters["connections_refused_rate"] += 1
            await muxed_conn.close()
            raise SwarmException("the peer connects too often")
        return await super().add_conn(muxed_conn, direction)

    async def upgrade_outbound_raw_conn(
        self, raw_conn: Any, peer_id: ID, pre_scope: Any = None
    ) -> Any:
        """Upgrade a connection, reading it through a buffer, and saying nothing first."""
        raw_conn.stream = ListeningFirst(BufferedStream(raw_conn.stream))
        return await super().upgrade_outbound_raw_conn(raw_conn, peer_id, pre_scope)

    async def upgrade_inbound_raw_conn(self, raw_conn: Any, maddr: Any) -> Any:
        """Upgrade, then hold the slot until the connection ends.

        The caller would keep the slot until the swarm stops; an exception makes it clean up.
        """
        remote = raw_conn.get_remote_address()
        if remote is not None and not self._knocks.admit(network_of(remote[0]), _now_ms()):
            self.pool_counters["connections_refused_rate"] += 1
            await raw_conn.close()
            raise SwarmException("the host connects too often")
        raw_conn.stream = BufferedStream(raw_conn.stream)
        muxed_conn = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        await muxed_conn.event_closed.wait()
        raise SwarmException("the inbound connection has ended")


def network_of(host: str) -> bytes:
    """What somebody surely has to himself of addresses: one of IPv4, 2^64 of IPv6."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return address.packed if address.version == 4 else address.packed[:IPV6_NETWORK_BYTES]


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


class PoolPeerStore(PeerStore):  # type: ignore[misc]
    """The library's store of peers' claims about themselves, which never forgets our own.

    It takes 1,000 peers (more than CONNECTIONS_MAX) and then drops those without addresses first:
    after 1,000 strangers that would be ourselves, with the key that signs our gossip.
    """

    def __init__(self, own: ID) -> None:
        """An empty store of the host with id `own`."""
        super().__init__()
        self._own = own

    def _enforce_peer_limit(self) -> None:
        """Drop the surplus, ourselves excepted."""
        ours = self.peer_data_map.pop(self._own, None)
        super()._enforce_peer_limit()
        if ours is not None:
            self.peer_data_map[self._own] = ours


class PoolHost(BasicHost):  # type: ignore[misc]
    """The library's host, with its addresses computed once."""

    _pool_addresses: list[Any] | None = None

    def get_addrs(self) -> list[Any]:
        """Addresses with the peer id; fixed from the first call after `fix_addresses`."""
        if self._pool_addresses is not None:
            return list(self._pool_addresses)
        return list(super().get_addrs())

    def fix_addresses(self) -> None:
        """Listening has begun: the addresses no longer change."""
        self._pool_addresses = list(super().get_addrs())


class PoolMuxers(MuxerMultistream):  # type: ignore[misc]
    """The library's agreement on a muxer, which makes the muxer that was agreed on."""

    async def new_conn(self, conn: Any, peer_id: ID) -> Any:
        """A multiplexed connection over a secured one."""
        protocol, muxer = await self._selector.select(
            conn, conn.is_initiator, self.negotiate_timeout
        )
        return self._annotate_connection(muxer(conn, peer_id), conn, protocol)


def _upgrader(noise: NoiseTransport, muxers: Mapping[Any, Any]) -> TransportUpgrader:
    """Noise, and one of these muxers over it."""
    upgrader = TransportUpgrader(
        secure_transports_by_protocol={NOISE_PROTOCOL_ID: noise},
        muxer_transports_by_protocol=muxers,
    )
    upgrader.muxer_multistream = PoolMuxers(muxers)
    return upgrader


def build_host(seed: bytes, counters: Counter[str], muxer: str = DEFAULT_MUXER) -> PoolHost:
    """A host that is not running yet. `seed`: 32 bytes; `muxer`: a key of MUXERS.

    Of the library's `ConnectionConfig` we set the number of connections (default 300), that none
    is made or pruned below it (default: dial until 100), and one timeout for all steps of a dial.
    The other defaults suit us: 3 connections to one peer (two peers that dial each other make 2),
    streams on the oldest direct one with most streams, no address allowed or blocked (a pool may
    have one address; the chain says who is in it), no health probes (the core has its own).
    """
    key_pair = create_new_key_pair(seed)
    peer_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PoolPeerStore(peer_id)
    peerstore.add_key_pair(peer_id, key_pair)
    noise = NoiseTransport(key_pair, noise_privkey=create_new_x25519_key_pair().private_key)
    timeout_s = DIAL_TIMEOUT_MS / 1000
    swarm = PoolSwarm(
        peer_id,
        peerstore,
        _upgrader(noise, MUXERS[muxer]),
        transports=[TCP()],
        retry_config=RetryConfig(max_retries=0),
        connection_config=ConnectionConfig(
            max_connections=CONNECTIONS_MAX,
            min_connections=0,
            low_watermark=0,
            high_watermark=CONNECTIONS_MAX,
            dial_timeout=timeout_s,
            inbound_upgrade_timeout=timeout_s,
            outbound_upgrade_timeout=timeout_s,
            outbound_stream_protocol_negotiation_timeout=timeout_s,
            inbound_stream_protocol_negotiation_timeout=timeout_s,
        ),
        counters=counters,
    )
    return PoolHost(swarm, disable_identify_address_discovery=True)
