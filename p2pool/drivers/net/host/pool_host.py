"""The library's host, without what it keeps of everybody who was ever here.

Intuition: libp2p's peers tell each other what they listen on and which protocols they speak
(identify), and a library that does not know its peers keeps all of it. We learn addresses by
hellos, and protocols by asking for one. So what a peer says of itself is asked for by nobody and
kept nowhere; we only say who we are, to those that ask. Of ping, the library keeps a row for each
peer that ever asked; the handler here keeps nothing.

What is left in py-libp2p 0.8.1 that has rows by peer id, and why each ends: connections, tags and
health go with the last connection; the cache of failed dials is filled by `dial_peer`, which dials
nobody here; the caches of Noise's keys and of signed records have no writer; gossipsub's tables are
of members, who are on the chain, and go with their streams, but for the back-off of who was pruned.
tests/net/host/test_identities.py counts them all.

Invariants: the peer store holds ourselves and nobody else; the addresses that we say are computed
once, not for every message that carries our peer record.
"""

from typing import Any

from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING
from libp2p.host.ping import handle_ping
from libp2p.identity.identify_push.identify_push import ID_PUSH
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore

from p2pool.drivers.net.transport.agreement import bound
from p2pool.drivers.net.transport.room import Room


class _OwnRow(dict[ID, Any]):
    """A table by peer id that keeps one peer's row, whatever is written."""

    def __init__(self, own: ID) -> None:
        super().__init__()
        self._own = own

    def __setitem__(self, peer_id: ID, row: Any) -> None:
        """Keep our own row."""
        if peer_id == self._own:
            super().__setitem__(peer_id, row)

    def setdefault(self, peer_id: ID, row: Any = None) -> Any:
        """Our own row; for anybody else one that is kept nowhere."""
        return super().setdefault(peer_id, row) if peer_id == self._own else row


class PoolPeerStore(PeerStore):  # type: ignore[misc]
    """The library's store of what peers say of themselves, with nothing in it but our own keys."""

    def __init__(self, own: ID) -> None:
        """An empty store of the host with id `own`."""
        super().__init__()
        self.peer_data_map = _OwnRow(own)
        self.peer_record_map = _OwnRow(own)


class PoolHost(BasicHost):  # type: ignore[misc]
    """The library's host. `room`: what all guests together may make it hold."""

    _pool_addresses: list[Any] | None = None

    def __init__(self, swarm: Swarm, room: Room) -> None:
        """A host that says who it is, answers pings, and asks nobody."""
        super().__init__(swarm, disable_identify_address_discovery=True)
        self.room = room
        bound(self)
        self.remove_stream_handler(ID_PUSH)
        self.set_stream_handler(PING, handle_ping)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Asks nobody."""

    async def _push_identify_to_all_peers(self) -> None:
        """Tells nobody who did not ask."""

    def get_addrs(self) -> list[Any]:
        """Addresses with the peer id; fixed from the first call after `fix_addresses`."""
        if self._pool_addresses is not None:
            return list(self._pool_addresses)
        return list(super().get_addrs())

    def fix_addresses(self) -> None:
        """Listening has begun: the addresses no longer change."""
        self._pool_addresses = list(super().get_addrs())
