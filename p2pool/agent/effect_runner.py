"""Effects to drivers, and what the network tells to the core: a table, and no decisions.

Nothing here waits: a driver's queue that is full drops what the protocol sends again anyway, and
counts it.
"""

import trio

from p2pool.agent.api_port import AgentApi
from p2pool.agent.clock import read_clock
from p2pool.agent.containers.executor import ContainerExecutor
from p2pool.agent.loop import Loop
from p2pool.agent.wire.ingress import Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.core import effects as fx
from p2pool.core.effects import AnyEffect
from p2pool.core.inputs import PeerConnected, PeerDisconnected, Sealed
from p2pool.core.node import Node
from p2pool.drivers.logs import get_logger
from p2pool.drivers.net import events as net
from p2pool.drivers.net.network import Network
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Malformed
from p2pool.model.timing import Now

log = get_logger(__name__)
core_log = get_logger("p2pool.core")


class EffectRunner:
    """Who carries out what, for one agent."""

    def __init__(self, node: Node, sealer: Sealer) -> None:
        """Drivers are connected later: they need the loop, which needs this."""
        self.node = node
        self.invite: Invite | None = None
        self._sealer = sealer
        self._network: Network | None = None
        self._port: AgentApi | None = None
        self._work: ContainerExecutor | None = None
        self._loop: Loop | None = None

    def connect(
        self, network: Network, port: AgentApi, work: ContainerExecutor, loop: Loop
    ) -> None:
        """Say who carries effects out, and who takes what comes of them."""
        self._network, self._port, self._work, self._loop = network, port, work, loop

    # --- effects ----------------------------------------------------------------------------------

    def carry(self, effect: AnyEffect, now: Now) -> None:
        """Carry out one effect of a step, after what it promises is durable."""
        assert self._network is not None
        assert self._port is not None
        assert self._work is not None
        assert self._loop is not None
        match effect:
            case fx.SendTo():
                self._send(self._network, effect, now)
            case fx.Publish():
                channel, data = self._sealer.seal(effect.message, now)
                self._network.publish(channel, data)
            case fx.Seal():
                # Where the queue is full it is lost, and what it was for is asked for again.
                self._loop.offer(Sealed(self._sealer.sealed(effect.message, now)))
            case fx.AdmitPeer():
                self._network.set_standing(effect.peer_key, net.Standing(effect.standing))
            case fx.LearnPeer():
                self._network.learn(effect.peer_key, effect.addresses)
            case fx.Reply():
                self._port.reply(effect)
            case fx.Emit():
                self._port.event_hub.emit(effect.event)
            case fx.TakeInvite():
                self.invite = effect.invite
            case fx.Log():
                getattr(core_log, effect.level.value)(effect.event, **dict(effect.fields))
            case fx.Persist():
                raise AssertionError("a step persists first or not at all")
            case _:
                self._work.do(effect)

    def _send(self, network: Network, effect: fx.SendTo, now: Now) -> None:
        try:
            channel, data = self._sealer.seal(effect.message, now)
        except Malformed as error:
            # A message over its own bounds is our bug; the protocol goes on without it.
            log.error("a message was not sent", kind=type(effect.message).__name__, why=str(error))
            return
        network.send(effect.peer_key, channel, data)

    # --- what the network tells -------------------------------------------------------------------

    async def pump(self, network: Network, gate: Ingress, loop: Loop) -> None:
        """Open what comes in and give it to the core, until cancelled."""
        async for event in network.events:
            match event:
                case net.PeerConnected():
                    await loop.put(PeerConnected(event.peer_key))
                case net.PeerDisconnected():
                    await loop.put(PeerDisconnected(event.peer_key))
                case net.FrameReceived():
                    now = read_clock()
                    for taken in gate.frame(event.channel, event.peer_key, event.data, now):
                        await loop.put(taken)
                case net.GossipReceived():
                    for taken in gate.gossip(event.channel, event.data, read_clock()):
                        await loop.put(taken)
            await trio.lowlevel.checkpoint_if_cancelled()
