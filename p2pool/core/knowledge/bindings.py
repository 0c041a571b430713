"""Who is at the other end of a connection: bindings, standings, and addresses to dial.

Intuition: Noise proves a peer key, a binding ties that key to a node id, the roster says whether
that node belongs. A peer is a *member* if all three agree, a *guest* while they do not yet (an
applicant, a stranger, a bootstrap node), *refused* only if it lies. The roster may change at any
time, so every new roster judges all standings again.

Anybody can make keys and bindings. So this table keeps few bindings of guests, apart from those of
members, and only a bootstrap node stores them on disk, because to it everybody is a guest.

A binding proves itself, whoever hands it on; addresses beside it do not. So the addresses in this
table are what their node said itself, in its hello or its heartbeat, and only they are handed on.

Invariants: one binding for a node id, found by node and by key without a walk; a newer `not_before`
wins and a tie between two keys voids both (docs/design/identities.md, "Peer bindings"). Callers
have checked a binding's signatures.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import attrs

from p2pool.codec.rows import put_record
from p2pool.core.effects import AdmitPeer, Effect, LearnPeer, Level, Log, Persist
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import NodeId, PeerKey, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.store import Delete
from p2pool.model.states import Standing

BINDINGS_TABLE = "bindings"

Belongs = Callable[[NodeId], bool]
"""Whether the roster has a node in the pool."""


@attrs.define
class Connected:
    """A connected peer and what it has shown. `dialled`: by us, because somebody that we heed named
    it, or our operator."""

    dialled: bool = True
    standing: Standing | None = None
    node_id: NodeId | None = None
    store_id: StoreId | None = None


@attrs.define
class PeerBindings:
    """Bindings by node id, the connected peers, and addresses worth trying."""

    me: NodeId
    my_key: PeerKey
    guests_max: int = limits.GUESTS_KNOWN_MAX
    keeps_guests: bool = False
    known: "OrderedDict[NodeId, PeerKnown]" = attrs.field(factory=OrderedDict)
    guests: "OrderedDict[NodeId, bool]" = attrs.field(factory=OrderedDict)
    """Those of `known` that are not in the roster, oldest first; and whether each is on disk."""
    voided: BoundedDict[NodeId, int] = attrs.field(factory=lambda: BoundedDict(limits.MEMBERS_MAX))
    connected: "OrderedDict[PeerKey, Connected]" = attrs.field(factory=OrderedDict)
    superseded: str | None = None
    _by_key: dict[PeerKey, dict[NodeId, None]] = attrs.field(factory=dict, init=False)

    def restore(self, peers: Iterator[PeerKnown]) -> None:
        """Restore the bindings from disk."""
        for peer in peers:
            self._put(peer)
            if self.keeps_guests:
                self.guests[peer.binding.node_id] = True

    def key_of(self, node_id: NodeId) -> PeerKey | None:
        """The peer key bound to a node id, if known; an agent knows itself."""
        if node_id == self.me:
            return self.my_key
        peer = self.known.get(node_id)
        return peer.binding.peer_key if peer else None

    def node_of(self, peer_key: PeerKey) -> NodeId | None:
        """The node id bound to a peer key; an agent knows itself."""
        if peer_key == self.my_key:
            return self.me
        entry = self.connected.get(peer_key)
        if entry is not None and entry.node_id is not None:
            return entry.node_id
        return next(iter(self._by_key.get(peer_key, ())), None)

    def is_connected(self, node_id: NodeId) -> bool:
        """Whether that node is connected as a member."""
        key = self.key_of(node_id)
        entry = self.connected.get(key) if key else None
        return entry is not None and entry.standing is Standing.MEMBER

    def is_unheard(self, node_id: NodeId) -> bool:
        """Whether a node's binding is all that we have: it has not said where it listens, and is
        not connected."""
        peer = self.known.get(node_id)
        if peer is None or peer.addresses or node_id == self.me:
            return False
        return peer.binding.peer_key not in self.connected

    def connected_members(self) -> tuple[tuple[PeerKey, NodeId], ...]:
        """Connected members in the order of connecting."""
        return tuple(
            (key, entry.node_id)
            for key, entry in self.connected.items()
            if entry.standing is Standing.MEMBER and entry.node_id is not None
        )

    def connect(self, peer_key: PeerKey, *, dialled: bool = True) -> None:
        """A connection is up; the peer has said nothing yet."""
        self.connected.setdefault(peer_key, Connected(dialled))

    def is_asked(self, peer_key: PeerKey) -> bool:
        """Whether a peer is one to ask: a member, or a guest that did not come by itself. Keys cost
        nothing, so what strangers say, however many they are, is nothing to go by."""
        entry = self.connected.get(peer_key)
        if entry is None:
            return False
        guest = entry.standing is Standing.GUEST and entry.dialled
        return entry.standing is Standing.MEMBER or guest

    def disconnect(self, peer_key: PeerKey) -> None:
        """Its last connection is gone."""
        self.connected.pop(peer_key, None)

    def greet(self, hello: Hello, peer_key: PeerKey, belongs: Belongs) -> list[Effect]:
        """Judge a peer by its hello and the roster."""
        entry = self.connected.get(peer_key)
        if entry is None:
            return []
        entry.store_id = hello.store_id
        effects: list[Effect] = []
        if hello.binding is not None:
            if hello.binding.peer_key != peer_key:
                entry.standing = Standing.REFUSED
                return [AdmitPeer(peer_key, Standing.REFUSED)]
            member = belongs(hello.binding.node_id)
            effects += self.learn(PeerKnown(hello.binding, hello.addresses), member=member)
            if self.key_of(hello.binding.node_id) == peer_key:
                entry.node_id = hello.binding.node_id
        return effects + self._admit(peer_key, entry, belongs)

    def hear_out(self, peer_key: PeerKey) -> list[Effect]:
        """Admit a peer whose hello counted for nothing as a guest, so that it can be told why."""
        entry = self.connected.get(peer_key)
        if entry is None or entry.standing is not None:
            return []
        entry.standing = Standing.GUEST
        return [AdmitPeer(peer_key, Standing.GUEST)]

    def rejudge(self, belongs: Belongs) -> list[Effect]:
        """Judge every connected peer again, after the roster changed."""
        effects: list[Effect] = []
        for peer_key, entry in tuple(self.connected.items()):
            if entry.standing in (Standing.MEMBER, Standing.GUEST):
                effects += self._admit(peer_key, entry, belongs)
        for node_id in tuple(self.guests):
            if belongs(node_id):
                effects += self.learn(self.known[node_id])
        return effects

    def _admit(self, peer_key: PeerKey, entry: Connected, belongs: Belongs) -> list[Effect]:
        member = entry.node_id is not None and belongs(entry.node_id)
        standing = Standing.MEMBER if member else Standing.GUEST
        if standing == entry.standing:
            return []
        entry.standing = standing
        return [AdmitPeer(peer_key, standing)]

    def learn(self, peer: PeerKnown, *, member: bool = True) -> list[Effect]:
        """Learn what a node says of itself: its binding, and where it listens. Only members are
        worth dialling: a guest came by itself, and is gone when it goes."""
        node_id = peer.binding.node_id
        if node_id == self.me:
            return self._learn_mine(peer.binding)
        effects, binding = self._in_force(peer.binding)
        if binding is None:
            return effects
        old = self.known.get(node_id)
        own = peer.addresses[: limits.ADDRESSES_MAX] or self._own_addresses(binding)
        if node_id in self.guests:
            self.guests.move_to_end(node_id)
        if old == PeerKnown(binding, own) and not (member and node_id in self.guests):
            return []
        effects += self._keep(PeerKnown(binding, own), member=member)
        return [*effects, LearnPeer(binding.peer_key, own)] if member else effects

    def hear_of(self, peer: PeerKnown, source: PeerKey) -> list[Effect]:
        """Learn a member's binding from another peer. It proves itself; the addresses beside it are
        anybody's word: they are tried, but neither kept, nor handed on, nor put before the node's
        own."""
        node_id = peer.binding.node_id
        if node_id == self.me:
            return self._learn_mine(peer.binding)
        effects, binding = self._in_force(peer.binding)
        if binding is None:
            return effects
        heard = PeerKnown(binding, self._own_addresses(binding))
        if heard != self.known.get(node_id) or node_id in self.guests:
            effects += self._keep(heard, member=True)
        if not peer.addresses or binding.peer_key in self.connected:
            return effects
        hints = peer.addresses[: limits.ADDRESSES_MAX]
        return [*effects, LearnPeer(binding.peer_key, hints, source)]

    def _own_addresses(self, binding: PeerBinding) -> tuple[str, ...]:
        """Where a node says that it listens, under the key of a binding."""
        old = self.known.get(binding.node_id)
        same = old is not None and old.binding.peer_key == binding.peer_key
        return old.addresses if old is not None and same else ()

    def _in_force(self, binding: PeerBinding) -> tuple[list[Effect], PeerBinding | None]:
        """The newer of a binding and the one that we know, or None if it is void: a tie of two keys
        voids both."""
        old = self.known.get(binding.node_id)
        if old is not None and old.binding.peer_key != binding.peer_key:
            if binding.not_before_s < old.binding.not_before_s:
                return [], None
            if binding.not_before_s == old.binding.not_before_s:
                self.voided[binding.node_id] = binding.not_before_s
                said = Log(
                    Level.WARNING,
                    "two bindings with one time: both are void",
                    (("node", binding.node_id.hex()),),
                )
                return [*self._drop(binding.node_id), said], None
        if binding.not_before_s <= self.voided.get(binding.node_id, -1):
            return [], None
        if old is not None and binding.not_before_s < old.binding.not_before_s:
            return [], old.binding
        return [], binding

    def _keep(self, peer: PeerKnown, *, member: bool) -> list[Effect]:
        """Store a peer within the bounds: guests make room first."""
        node_id, effects = peer.binding.node_id, list[Effect]()
        written = self.guests.pop(node_id, node_id in self.known)
        self._put(peer)
        if member or self.keeps_guests:
            written = True
            effects.append(Persist((put_record(BINDINGS_TABLE, bytes(node_id), peer),)))
        if not member:
            self.guests[node_id] = written
        while len(self.guests) > self.guests_max:
            effects += self._drop(next(iter(self.guests)))
        while len(self.known) > limits.MEMBERS_MAX:
            known = self.guests or self.known
            effects += self._drop(next(one for one in known if one != self.me))
        return effects

    def _put(self, peer: PeerKnown) -> None:
        """Set a node's row, and find it by its key."""
        binding = peer.binding
        old = self.known.get(binding.node_id)
        if old is not None:
            self._unlist(old)
        self.known[binding.node_id] = peer
        self._by_key.setdefault(binding.peer_key, {})[binding.node_id] = None

    def _unlist(self, peer: PeerKnown) -> None:
        """A row goes: no longer find it by its key."""
        binding = peer.binding
        nodes = self._by_key[binding.peer_key]
        del nodes[binding.node_id]
        if not nodes:
            del self._by_key[binding.peer_key]

    def _drop(self, node_id: NodeId) -> list[Effect]:
        """Forget a peer, and its row on disk if any."""
        self._unlist(self.known.pop(node_id))
        if not self.guests.pop(node_id, True):
            return []
        return [Persist((Delete(BINDINGS_TABLE, bytes(node_id)),))]

    def _learn_mine(self, binding: PeerBinding) -> list[Effect]:
        """A binding of our own node id: one to another key, not older than ours, replaces us."""
        mine = self.known.get(self.me)
        if binding.peer_key == self.my_key:
            self._put(PeerKnown(binding, ()))
            return []
        if mine is not None and binding.not_before_s < mine.binding.not_before_s:
            return []
        self.superseded = "another agent uses its node key, with another peer key"
        return [
            Log(
                Level.ERROR,
                "another agent uses this node key: this agent withdraws from the pool",
                (("node", self.me.hex()), ("other_peer_key", binding.peer_key.hex())),
            )
        ]

    def exchange(
        self,
        wanted: tuple[PeerKey, ...],
        nodes: tuple[NodeId, ...] = (),
        others: Callable[[], Iterable[NodeId]] | None = None,
    ) -> tuple[PeerKnown, ...]:
        """Bindings to give a peer: those of these nodes, and then of these keys, or if there are
        none those of `others`, or the newest, members' before guests'; up to a bound."""
        named = [node_id for node_id in dict.fromkeys(nodes) if node_id in self.known]
        rest = others() if others is not None else self._members_first()
        if wanted:
            rest = (n for key in dict.fromkeys(wanted) for n in self._by_key.get(key, ()))
        given = dict.fromkeys(chain(named, islice(rest, limits.PEER_LIST_MAX)))
        return tuple(self.known[node_id] for node_id in islice(given, limits.PEER_LIST_MAX))

    def _members_first(self) -> Iterator[NodeId]:
        """All nodes: guests, who may be made up, push no member out of an answer."""
        yield from (node_id for node_id in reversed(self.known) if node_id not in self.guests)
        yield from reversed(self.guests)

    def forget(self, node_id: NodeId) -> list[Effect]:
        """Forget a node that somebody else decides to spare."""
        return self._drop(node_id) if node_id in self.known else []
