"""A host at one end of a connection, with the way in of an agent."""

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.wire.ingress import Ingress
from p2pool.drivers.net.events import FrameReceived, PeerConnected
from p2pool.drivers.net.network import Network
from p2pool.model.states import Standing


@attrs.define
class Host:
    """A host that takes everybody for a guest, once its way in has taken the hello."""

    network: Network
    gate: Ingress
    met: trio.Event = attrs.Factory(trio.Event)

    async def read(self) -> None:
        """Judge whoever says hello."""
        async for event in self.network.events:
            if isinstance(event, PeerConnected):
                self.gate.guests.connected(event.peer_key, event.addresses)
            if isinstance(event, FrameReceived):
                assert self.gate.frame(event.channel, event.peer_key, event.data, read_clock())
                self.network.set_standing(event.peer_key, Standing.GUEST)
                self.met.set()
