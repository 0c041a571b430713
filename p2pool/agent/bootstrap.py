"""A bootstrap node: it introduces peers to each other and does nothing else.

Intuition: a newcomer needs one address to start from. A bootstrap node has a peer key but no node
key: it says hello without a binding, keeps the bindings that agents show it (checked), and hands
them to anyone who asks. It receives no gossip, casts no vote and holds no pool state. Bindings
carry their own proof, so it can lie only by staying silent. As long as an endpoint answers it, it
reads from the chain who is a member, and names members first; without one it goes by age, by
address group, and by what answers where a node says that it listens
(`core.knowledge.introductions`). It keeps what it knows on disk, so that it is of use as soon as it
is back. Agents dial it; it dials other bootstrap nodes alone, and once the host from which a node
came, to which it says one line that nobody chose.
Source: docs/design/protocol.md, "Bootstrap nodes".
"""

from collections.abc import Callable
from random import Random

import trio
from nacl.signing import SigningKey

from p2pool import __version__
from p2pool.agent.clock import read_clock
from p2pool.agent.options import BootstrapOptions
from p2pool.agent.wire.ingress import NOBODY, Ingress, in_turns
from p2pool.agent.wire.sealer import Sealer
from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.text.multiaddr import host_and_port, is_public
from p2pool.core import effects as fx
from p2pool.core.inputs import ChainUnreachable, OutdatedHeard, Received
from p2pool.core.knowledge.bindings import BINDINGS_TABLE, PeerBindings
from p2pool.core.knowledge.introductions import INTRODUCTIONS_TABLE, Introduced, Introductions
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.roster.follower import RosterFollower
from p2pool.drivers.chain.roster.reader import RosterReader
from p2pool.drivers.config.schema import ChainConfig
from p2pool.drivers.keys.keystore import load_or_make_peer_seed, peer_key_of
from p2pool.drivers.net import events as net
from p2pool.drivers.net.network import Network
from p2pool.drivers.net.peers.ranges import group_of
from p2pool.drivers.net.reachability.dial_back import speaks_as_agent
from p2pool.drivers.store.datadir import prepare_directory
from p2pool.drivers.store.owner import BOOTSTRAP
from p2pool.drivers.store.store import Store
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested, PeerKnown, Ping, Pong
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import Delete, PersistOp

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
        self.introductions = Introductions(Random(int.from_bytes(seed[16:24], "big")))
        self.listening_asked = TokenBuckets(
            limits.DIAL_BACKS_PER_HOST_PER_S,
            limits.DIAL_BACKS_PER_HOST_BURST,
            limits.PEERS_TRACKED_MAX,
        )
        self.asking = 0
        self.chain = options.chain
        self.pool_id = options.pool.pool_id
        self.introduced_ms: BoundedDict[PeerKey, int] = BoundedDict(limits.PEERS_TRACKED_MAX)
        rows = store.restored.tables[BINDINGS_TABLE].values()
        self.peers.restore(decode_struct(PeerKnown, row) for row in rows)
        kept = store.restored.tables[INTRODUCTIONS_TABLE].values()
        came = {row.node_id: row for row in (decode_struct(Introduced, row) for row in kept)}
        self.introductions.restore(
            came.get(node_id, Introduced(node_id, b"", b"", 0)) for node_id in self.peers.known
        )
        self.ingress = Ingress(options.pool, self.peers.key_of)
        self.sealer = Sealer(
            pool=options.pool,
            node_id=NOBODY,
            peer_key=peer_key,
            incarnation=store.restored.incarnation,
            signing_key=SigningKey(seed),
        )
        config = net.NetConfig(
            seed=seed,
            listen=options.listen,
            gossip=False,
            bootstrap=options.bootstrap,
            announce=options.announce,
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
            async with trio.open_nursery() as nursery:
                if self.chain is not None:
                    nursery.start_soon(self._follow_chain, self.chain)
                async for event in self.network.events:
                    await self._on_event(event, nursery)

    async def _on_event(self, event: net.NetEvent, nursery: trio.Nursery) -> None:
        match event:
            case net.PeerConnected():
                self.ingress.guests.connected(event.peer_key, event.addresses)
                self.peers.connect(event.peer_key, dialled=event.outbound)
            case net.PeerDisconnected():
                self.ingress.guests.disconnected(event.peer_key)
                self.peers.disconnect(event.peer_key)
            case net.FrameReceived():
                turns = self.ingress.by_turns(
                    event.channel, event.peer_key, event.data, read_clock()
                )
                for received in await in_turns(turns):
                    if isinstance(received, Received):
                        await self._take(event.peer_key, received, nursery)
                    elif isinstance(received, OutdatedHeard):
                        await self._introduce(event.peer_key, received.asked)

    async def _follow_chain(self, chain: ChainConfig) -> None:
        """Learn who is a member, as long as an endpoint says so; what was read last stands."""
        reader = RosterReader(PoolContracts.of(chain), self.pool_id)
        unreachable: str | None = None
        follower = RosterFollower(reader, chain.confirmations, final_depth=chain.final_depth)
        async for observed in follower.observations():
            if isinstance(observed, ChainUnreachable):
                if observed.reason != unreachable:
                    log.warning(
                        "the chain cannot be read: members are not told from others",
                        reason=observed.reason,
                    )
                unreachable = observed.reason
                continue
            if unreachable is not None:
                log.info("the chain can be read again: members come first")
            unreachable = None
            self.introductions.follow({m.node_id: m.provider for m in observed.latest.members})

    async def _take(self, peer_key: PeerKey, received: Received, nursery: trio.Nursery) -> None:
        message = received.verified.message
        match message:
            case Hello():
                await self._carry(self.peers.greet(message, peer_key, lambda node_id: False))
                await self._met(message, peer_key, nursery)
            case BindingsRequested():
                found = await self._found(message.peer_keys, message.node_ids)
                self._send(peer_key, BindingsAnswered(message.request, found))
            case Ping():
                self._send(peer_key, Pong(message.request, False))

    async def _met(self, hello: Hello, peer_key: PeerKey, nursery: trio.Nursery) -> None:
        """Note from where a node came; ask once whether it listens there."""
        hosts = self.network.hosts_of(peer_key)
        node_id = hello.binding.node_id if hello.binding is not None else NOBODY
        if not hosts or self.peers.key_of(node_id) != peer_key or node_id == NOBODY:
            return
        group, host = group_of(hosts[0]), hosts[0].encode()
        await self._carry(self.introductions.met(node_id, group, host))
        # More than one only after a start with what an earlier version kept.
        while (gone := self.introductions.surplus(node_id)) is not None:
            await self._forget(gone)
        row, port = self.introductions.rows.get(node_id), port_at(hosts[0], hello.addresses)
        if row is None or row.answered or port is None or self.asking >= limits.LISTENING_ASKED_MAX:
            return
        if self.listening_asked.admit(host, read_clock().mono_ms):
            nursery.start_soon(self._ask_listening, row, hosts[0], port)

    async def _ask_listening(self, row: Introduced, host: str, port: int) -> None:
        """Whether a node listens at the host from which it came."""
        self.asking += 1
        try:
            speaks = await speaks_as_agent(host, port)
        finally:
            self.asking -= 1
        if speaks and self.introductions.rows.get(row.node_id) == row:
            await self._carry(self.introductions.answered(row.node_id))

    async def _found(
        self, wanted: tuple[PeerKey, ...], nodes: tuple[NodeId, ...]
    ) -> tuple[PeerKnown, ...]:
        """What to answer; a binding that is over is of no use to anybody, and goes."""
        for _ in range(2):
            found = self.peers.exchange(wanted, nodes, self.introductions.named)
            now_s = read_clock().wall_ms // 1000
            over = [p.binding.node_id for p in found if p.binding.not_after_s <= now_s]
            if not over:
                break
            for node_id in over:
                await self._forget(node_id)
        return found

    async def _forget(self, node_id: NodeId) -> None:
        forgotten = self.introductions.forget(node_id)
        await self._carry([*forgotten, *self.peers.forget(node_id)])

    def _unnamed(self, effect: fx.Persist) -> list[PersistOp]:
        """What goes with the bindings that go: nobody names a node whose binding is gone, whoever
        decided that."""
        gone = [op for op in effect.operations if isinstance(op, Delete)]
        names = [NodeId(op.key) for op in gone if op.table == BINDINGS_TABLE]
        forgotten = [one for name in names for one in self.introductions.forget(name)]
        return [op for one in forgotten if isinstance(one, fx.Persist) for op in one.operations]

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
        self._send(peer_key, BindingsAnswered(asked, await self._found((), ())))

    async def _carry(self, effects: list[fx.Effect]) -> None:
        """Keep bindings and admit peers; every agent is a guest here."""
        for effect in effects:
            match effect:
                case fx.Persist():
                    await self.store.write((*effect.operations, *self._unnamed(effect)))
                case fx.AdmitPeer():
                    self.network.set_standing(effect.peer_key, effect.standing)
                case fx.Log():
                    log.warning(effect.event, **dict(effect.fields))

    def _send(self, peer_key: PeerKey, message: Message) -> None:
        channel, data = self.sealer.seal(message, read_clock())
        self.network.send(peer_key, channel, data)


def port_at(host: str, addresses: tuple[str, ...]) -> int | None:
    """The port at which a node says that it listens, at the host from which it came if it can."""
    found = [split for text in addresses if (split := host_and_port(text.partition("/p2p/")[0]))]
    found.sort(key=lambda split: split[1] != host)
    return found[0][2] if found else None


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
