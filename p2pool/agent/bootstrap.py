"""A bootstrap node: it introduces peers to each other and does nothing else.

Intuition: a newcomer needs one address to start from. A bootstrap node has a peer key but no node
key: it says hello without a binding, keeps the bindings that agents show it (checked), and hands
them to anyone who asks. It follows no chain, receives no gossip, casts no vote and holds no pool
state. Bindings carry their own proof, so it can lie only by staying silent. It keeps what it knows
on disk, so that it is of use as soon as it is back.
Source: docs/design/protocol.md, "Bootstrap nodes".
"""

from collections.abc import Callable

import trio
from nacl.signing import SigningKey

from p2pool import __version__
from p2pool.agent.clock import read_clock
from p2pool.agent.options import BootstrapOptions
from p2pool.agent.wire.ingress import NOBODY, Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.text.multiaddr import is_public
from p2pool.core import effects as fx
from p2pool.core.inputs import OutdatedHeard, Received
from p2pool.core.knowledge.bindings import BINDINGS_TABLE, PeerBindings
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.keys.keystore import load_or_make_peer_seed, peer_key_of
from p2pool.drivers.net import events as net
from p2pool.drivers.net.network import Network
from p2pool.drivers.store.datadir import prepare_directory
from p2pool.drivers.store.owner import BOOTSTRAP
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested, PeerKnown, Ping, Pong
from p2pool.model.messages.registry import Message

log = get_logger(__name__)


class Bootstrap:
    """A bootstrap node, built but not yet running."""

    def __init__(self, options: BootstrapOptions, seed: bytes, store: Store) -> None:
        """Load the bindings that were kept."""
        self.store = store
        peer_key = peer_key_of(seed)
        self.peers = PeerBindings(
            NOBODY, peer_key, guests_max=limits.MEMBERS_MAX, keeps_guests=True
        )
        self.introduced_ms: BoundedDict[PeerKey, int] = BoundedDict(limits.PEERS_TRACKED_MAX)
        rows = store.restored.tables[BINDINGS_TABLE].values()
        self.peers.restore(decode_struct(PeerKnown, row) for row in rows)
        self.ingress = Ingress(options.pool, self.peers.key_of)
        self.sealer = Sealer(
            pool=options.pool,
            node_id=NOBODY,
            peer_key=peer_key,
            incarnation=store.restored.incarnation,
            signing_key=SigningKey(seed),
        )
        known = (
            net.KnownPeer(p.binding.peer_key, p.addresses)
            for p in self.peers.known.values()
            if p.addresses
        )
        config = net.NetConfig(
            seed=seed,
            listen=options.listen,
            gossip=False,
            bootstrap=options.bootstrap,
            announce=options.announce,
            peers=tuple(known),
            random_seed=int.from_bytes(seed[8:16], "big"),
        )
        self.network = Network(
            config,
            hello_bytes=self._hello,
            check_gossip=lambda channel, data: False,
            knows_origin=lambda peer_key: False,
        )

    def _hello(self) -> bytes:
        addresses = self.network.addresses()[: limits.ADDRESSES_MAX]
        hello = Hello(__version__, None, self.store.restored.store_id, addresses)
        return self.sealer.seal(hello, read_clock())[1]

    async def run(self, started: Callable[[tuple[str, ...]], None]) -> None:
        """Introduce peers until cancelled; `started` receives the addresses it listens on."""
        async with self.network.running():
            addresses = self.network.addresses()
            log.info("bootstrap node started", addresses=list(addresses))
            if not any(map(is_public, addresses)):
                log.warning(
                    "all addresses are private: agents elsewhere cannot dial them; set [network]"
                    " announce to the one that others reach"
                )
            started(addresses)
            async for event in self.network.events:
                match event:
                    case net.PeerConnected():
                        self.peers.connect(event.peer_key, dialled=event.outbound)
                    case net.PeerDisconnected():
                        self.peers.disconnect(event.peer_key)
                    case net.FrameReceived():
                        taken = self.ingress.frame(
                            event.channel, event.peer_key, event.data, read_clock()
                        )
                        for received in taken:
                            if isinstance(received, Received):
                                await self._take(event.peer_key, received)
                            elif isinstance(received, OutdatedHeard):
                                await self._introduce(event.peer_key, received.asked)

    async def _take(self, peer_key: PeerKey, received: Received) -> None:
        message = received.verified.message
        match message:
            case Hello():
                await self._carry(self.peers.greet(message, peer_key, lambda node_id: False))
            case BindingsRequested():
                found = self.peers.exchange(message.peer_keys, message.node_ids)
                self._send(peer_key, BindingsAnswered(message.request, found))
            case Ping():
                self._send(peer_key, Pong(message.request, False))

    async def _introduce(self, peer_key: PeerKey, asked: int) -> None:
        """Name members to an agent whose clock was wrong when this run or its last one began: we
        heed the run that began later, and the members tell it so. It is let in by its hello, and
        answered when it asks."""
        await self._carry(self.peers.hear_out(peer_key))
        if not asked:
            return
        now_ms, told_ms = read_clock().mono_ms, self.introduced_ms.get(peer_key)
        if told_ms is not None and now_ms - told_ms < limits.PROBATION_ASK_MS:
            return
        self.introduced_ms.renew(peer_key, now_ms)
        self._send(peer_key, BindingsAnswered(asked, self.peers.exchange(())))

    async def _carry(self, effects: list[fx.Effect]) -> None:
        """Keep bindings and admit peers; every agent is a guest here."""
        for effect in effects:
            match effect:
                case fx.Persist():
                    await self.store.write(effect.operations)
                case fx.AdmitPeer():
                    self.network.set_standing(effect.peer_key, effect.standing)
                case fx.LearnPeer():
                    self.network.learn(effect.peer_key, effect.addresses)
                case fx.Log():
                    log.warning(effect.event, **dict(effect.fields))

    def _send(self, peer_key: PeerKey, message: Message) -> None:
        channel, data = self.sealer.seal(message, read_clock())
        self.network.send(peer_key, channel, data)


async def run_bootstrap(
    options: BootstrapOptions, stop: trio.Event, started: Callable[[tuple[str, ...]], None]
) -> None:
    """Run a bootstrap node until `stop` is set. Raises whatever prevents the start."""
    await trio.to_thread.run_sync(prepare_directory, options.directory)
    seed = await trio.to_thread.run_sync(load_or_make_peer_seed, options.directory)
    async with Store.open(options.directory, options.pool, node_id=BOOTSTRAP) as store:
        node = Bootstrap(options, seed, store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.run, started)
            await stop.wait()
            nursery.cancel_scope.cancel()
