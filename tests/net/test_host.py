"""The library's edges that the host covers: who dials, and where its log lines go."""

import logging

import pytest
from libp2p.network.exceptions import SwarmException

from p2pool.drivers.net.addresses import peer_id_of
from p2pool.drivers.net.host import build_host
from tests.net.hosts import running


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
