"""The library's edges that the host covers: who dials, and where its log lines go."""

import logging
from collections import Counter

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from p2pool.drivers.net.host.host import build_host
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.model.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_OUTBOUND_MAX,
    DIAL_TIMEOUT_MS,
    SLOTS_HALF_OPEN_MAX,
)
from tests.net.harness.hosts import running


async def test_the_library_dials_nobody_by_itself() -> None:
    """A peer's own listening addresses are in the peer store, and only the peer book dials."""
    async with running(1) as one, running(2) as other:
        swarm = one.network._host.get_network()
        peer_id = peer_id_of(other.key)
        swarm.peerstore.add_addrs(peer_id, other.network._host.get_transport_addrs(), 600)
        with pytest.raises(SwarmException, match="not connected"):
            await one.network._host.new_stream(peer_id, ["/p2pool/hello/1"])
        assert not swarm.get_connections(peer_id)
        assert one.network.connected() == other.network.connected() == ()


def test_the_library_logs_as_everybody_does() -> None:
    """Its lines go through our handlers, where secrets are taken out."""
    assert build_host is not None
    assert logging.getLogger("libp2p").propagate


async def test_a_host_keeps_its_own_key_however_many_strangers_come_and_go() -> None:
    """The library's store of peers is bounded, and we are one of them, the first to go."""
    host = build_host(bytes([1]) * 32, Counter())
    store = host.get_peerstore()
    for number in range(store.max_peers + 50):
        stranger = create_new_key_pair(number.to_bytes(32, "big")).public_key
        store.add_addrs(ID.from_pubkey(stranger), [Multiaddr("/ip4/127.0.0.1/tcp/9")], 120)
    assert ID.from_pubkey(host.get_public_key()) == host.get_id()
    assert host.get_private_key().get_public_key() == host.get_public_key()
    assert len(store.peer_ids()) <= store.max_peers + 1


async def test_a_host_has_the_settings_that_were_chosen() -> None:
    """Also those defaults that were left because they suit: another release may have others."""
    config = build_host(bytes([1]) * 32, Counter()).get_network().connection_config
    most = (config.max_connections, config.high_watermark, config.max_connections_per_peer)
    allowed = CONNECTIONS_MAX + SLOTS_HALF_OPEN_MAX + CONNECTIONS_OUTBOUND_MAX
    assert most == (allowed, allowed, 3)
    assert (config.min_connections, config.low_watermark) == (0, 0)
    assert (config.allow_list, config.deny_list) == ([], [])
    assert not config.enable_health_monitoring
    assert config.load_balancing_strategy == "best"
    assert {
        config.dial_timeout,
        config.inbound_upgrade_timeout,
        config.outbound_upgrade_timeout,
        config.inbound_stream_protocol_negotiation_timeout,
        config.outbound_stream_protocol_negotiation_timeout,
    } == {DIAL_TIMEOUT_MS / 1000}
