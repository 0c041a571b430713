"""A validator on the pool's network: it says hello as a guest, learns where nodes are, dials them.

Intuition: a validator is no member, so nobody gossips to it. It asks whomever it reaches, bootstrap
nodes first, where the nodes are that it read from the chain; each answer carries its own proof, the
peer binding, so whoever answers can lie by silence alone. Of itself it shows a binding of its
account: the nodes ask the chain what that account is.

Invariants: only nodes that are wanted are remembered, and of each the newest binding; only what
was asked for is looked into; who is wanted gets the pace of a member, anybody else that of a guest.
Source: docs/design/validation.md, "The node's side"; docs/design/protocol.md, "The way in".
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio
from nacl.signing import SigningKey

from p2pool import __version__
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.net.events import FrameReceived, NetConfig, PeerDisconnected
from p2pool.drivers.net.network import Network
from p2pool.model import limits
from p2pool.model.errors import NotAllowed, NotFound, Refusal, Unavailable
from p2pool.model.ids import STORE_ID_BYTES, NodeId, PeerKey, PoolRef, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import BindingsAnswered, BindingsRequested, PeerKnown
from p2pool.model.messages.registry import Channel, Message
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.states import Standing
from p2pool.validator.network.conversation import Conversation
from p2pool.validator.network.sealer import Sealer, wall_ms
from p2pool.wire.binding import check_binding

log = get_logger(__name__)

A = TypeVar("A", bound=Message)


@attrs.frozen
class GuestOptions:
    """What a guest needs. `node_id`: its account, under which it says hello."""

    pool: PoolRef
    node_id: NodeId
    seed: bytes = attrs.field(repr=False)
    bootstrap: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()


class GuestNetwork:
    """One run on the network; use `running`."""

    def __init__(self, options: GuestOptions, binding: PeerBinding) -> None:
        """`binding`: the account's, which was signed before."""
        key = SigningKey(options.seed)
        self.options = options
        self.counters: Counter[str] = Counter()
        self.sealer = Sealer(options.pool, options.node_id, key)
        self._binding = binding
        self._wanted: frozenset[NodeId] = frozenset()
        self._bindings: dict[NodeId, PeerBinding] = {}
        self._greeted: dict[PeerKey, PeerBinding | None] = {}
        self._asked: dict[tuple[PeerKey, int], tuple[type[Message], trio.Event]] = {}
        self._answers: dict[tuple[PeerKey, int], Message] = {}
        self._number = 0
        self._draws = random.Random(options.seed[8:16])
        self._changed = trio.Event()
        self.network = Network(
            NetConfig(
                seed=options.seed,
                listen=options.listen,
                gossip=False,
                bootstrap=options.bootstrap,
                random_seed=int.from_bytes(options.seed[:8], "big"),
            ),
            hello_bytes=self._hello,
            check_gossip=lambda channel, data: False,
            knows_origin=lambda peer_key: False,
        )

    @property
    def peer_key(self) -> PeerKey:
        """By which key others know it."""
        return self.sealer.peer_key

    @asynccontextmanager
    async def running(self) -> AsyncIterator["GuestNetwork"]:
        """On the network within a block."""
        async with self.network.running(), trio.open_nursery() as nursery:
            nursery.start_soon(self._read_events)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()

    def rebind(self, binding: PeerBinding) -> None:
        """Show a binding that was renewed."""
        self._binding = binding
        for peer_key in self.network.connected():
            self.network.greet(peer_key)

    # --- where nodes are ------------------------------------------------------------------------

    def want(self, nodes: Collection[NodeId]) -> None:
        """The nodes that the chain names; the others are forgotten."""
        self._wanted = frozenset(nodes)
        self._bindings = {one: self._bindings[one] for one in self._bindings if one in self._wanted}
        for peer_key in self.reached():
            binding = self._greeted[peer_key]
            if binding is not None:
                self._keep(binding)
            self._judge(peer_key)

    def binding_of(self, node_id: NodeId) -> PeerBinding | None:
        """The newest binding of a node that is in force."""
        found = self._bindings.get(node_id)
        if found is not None and found.not_after_s <= wall_ms() // 1000:
            del self._bindings[node_id]
            return None
        return found

    def reached(self) -> tuple[PeerKey, ...]:
        """Peers that said a hello which was good."""
        return tuple(key for key in self.network.connected() if key in self._greeted)

    def members(self, nodes: Collection[NodeId]) -> tuple[PeerKey, ...]:
        """Those of them that are these nodes."""
        return tuple(key for key in self.reached() if self._node_at(key) in nodes)

    def greeted(self) -> frozenset[NodeId]:
        """The nodes behind the peers that are reached."""
        return frozenset(
            binding.node_id for binding in map(self._greeted.get, self.reached()) if binding
        )

    async def wait_reached(self, deadline_ms: int) -> bool:
        """Until somebody said hello; whether that is so."""
        with trio.move_on_after(deadline_ms / 1000):
            while not self.reached():
                await self._changed.wait()
        return bool(self.reached())

    async def find(self, nodes: Collection[NodeId]) -> bool:
        """Ask for the bindings of nodes that nobody told of yet, as many peers as it takes. False:
        some are not known, and nobody answered, which says nothing of them."""
        peers = list(self.reached())
        self._draws.shuffle(peers)
        # Bootstrap nodes, which have no node key, know most.
        peers.sort(key=lambda key: self._greeted[key] is not None)
        answered = all(self.binding_of(one) is not None for one in nodes)
        for peer_key in peers[: limits.VALIDATOR_ASKED_MAX]:
            missing = [one for one in nodes if self.binding_of(one) is None]
            for first in range(0, len(missing), limits.PEER_LIST_MAX):
                some = tuple(missing[first : first + limits.PEER_LIST_MAX])
                question = BindingsRequested(self.next_number(), (), some)
                try:
                    told = await self.ask(peer_key, question, BindingsAnswered)
                except Unavailable:
                    break
                answered = True
                await self._learn(told, peer_key)
        return answered

    async def open(self, node_id: NodeId) -> Conversation:
        """A stream for a conversation with a node. `Unavailable`: it cannot be reached."""
        binding = self.binding_of(node_id)
        if binding is None:
            raise Unavailable("Nobody says where the node is.")
        return await self.open_to(binding.peer_key)

    async def open_to(self, peer_key: PeerKey) -> Conversation:
        """The same, to a peer."""
        deadline_s = trio.current_time() + limits.VALIDATOR_DIAL_MS / 1000
        while True:
            changed = self._changed
            try:
                stream = await self.network.open_stream(peer_key, Channel.CHALLENGE)
            except (NotFound, NotAllowed) as error:
                if trio.current_time() >= deadline_s:
                    raise Unavailable("The node cannot be reached.") from error
            else:
                return Conversation(self.sealer, peer_key, stream)
            with trio.move_on_at(min(deadline_s, trio.current_time() + _LOOK_AGAIN_S)):
                await changed.wait()

    # --- questions ------------------------------------------------------------------------------

    def next_number(self) -> int:
        """The number of the next question."""
        self._number += 1
        return self._number

    async def ask(self, peer_key: PeerKey, question: Message, answer: type[A]) -> A:
        """What a peer answers to a question that carries `next_number`. `Unavailable`: nothing in
        time."""
        place = (peer_key, question.request)  # type: ignore[attr-defined]
        told = trio.Event()
        self._asked[place] = (answer, told)
        try:
            channel, data = self.sealer.seal(question)
            if not self.network.send(peer_key, channel, data):
                raise Unavailable("The peer is not connected.")
            with trio.move_on_after(limits.VALIDATOR_ASK_MS / 1000):
                await told.wait()
            found = self._answers.pop(place, None)
        finally:
            del self._asked[place]
        if not isinstance(found, answer):
            raise Unavailable("The peer did not answer in time.")
        return found

    # --- events ---------------------------------------------------------------------------------

    def _hello(self) -> bytes:
        addresses = self.network.addresses() if self.options.listen else ()
        store_id = StoreId(self.peer_key[:STORE_ID_BYTES])
        hello = Hello(__version__, self._binding, store_id, addresses[: limits.ADDRESSES_MAX])
        return self.sealer.seal(hello)[1]

    async def _read_events(self) -> None:
        async for event in self.network.events:
            match event:
                case PeerDisconnected():
                    self._greeted.pop(event.peer_key, None)
                case FrameReceived():
                    try:
                        await self._take(event)
                    except Refusal as error:
                        self.counters[f"refused_{error.code}"] += 1
            self._changed.set()
            self._changed = trio.Event()

    async def _take(self, event: FrameReceived) -> None:
        peer_key = event.peer_key
        if event.channel not in (Channel.HELLO, Channel.QUERY):
            self.counters["not_asked_for"] += 1
            return
        message = self.sealer.opened(event.channel, peer_key, event.data).message
        if isinstance(message, Hello):
            await self._greet(message, peer_key)
            return
        place = (peer_key, getattr(message, "request", 0))
        expected = self._asked.get(place)
        if expected is None or not isinstance(message, expected[0]):
            self.counters["not_asked_for"] += 1
            return
        self._answers[place] = message
        expected[1].set()

    async def _greet(self, hello: Hello, peer_key: PeerKey) -> None:
        binding = hello.binding
        if binding is not None:
            await self._checked(binding, peer_key)
            self._keep(binding)
        self._greeted[peer_key] = binding
        self.network.learn(peer_key, hello.addresses)
        self._judge(peer_key)

    def _judge(self, peer_key: PeerKey) -> None:
        wanted = self._node_at(peer_key) in self._wanted
        standing = Standing.MEMBER if wanted else Standing.GUEST
        if self.network.standing(peer_key) is not standing:
            self.network.set_standing(peer_key, standing)

    def _node_at(self, peer_key: PeerKey) -> NodeId | None:
        binding = self._greeted[peer_key]
        return None if binding is None else binding.node_id

    async def _learn(self, told: BindingsAnswered, source: PeerKey) -> None:
        for known in told.peers:
            if not self._is_news(known):
                continue
            try:
                await self._checked(known.binding, None)
            except Refusal as error:
                self.counters[f"refused_{error.code}"] += 1
                return
            self._keep(known.binding)
            self.network.learn(known.binding.peer_key, known.addresses, source)

    def _is_news(self, known: PeerKnown) -> bool:
        node_id = known.binding.node_id
        held = self._bindings.get(node_id)
        newer = held is None or known.binding.not_before_s > held.not_before_s
        return node_id in self._wanted and newer

    def _keep(self, binding: PeerBinding) -> None:
        held = self._bindings.get(binding.node_id)
        if binding.node_id not in self._wanted:
            return
        if held is None or binding.not_before_s >= held.not_before_s:
            self._bindings[binding.node_id] = binding

    async def _checked(self, binding: PeerBinding, peer_key: PeerKey | None) -> None:
        check_binding(binding, self.options.pool, peer_key, wall_ms() // 1000)
        await trio.lowlevel.checkpoint()


_LOOK_AGAIN_S = 0.25
"""How long a dial is left alone before it is looked at."""
