"""What peers tell each other about the pool: bindings, heartbeats, hardware.

Intuition: bindings and heartbeats prove themselves, so anybody may pass them on; a newcomer asks
the first members that it meets for what they know, and every node asks a random peer now and then.

Invariants: no question here needs an answer; guests get bindings, nothing else, and one that came
by itself is asked for nothing; where a node listens, it says itself; memory of strangers is
bounded; what a peer may draw does not grow with its connections.
Source: docs/design/messages.md, "What peers exchange".
"""

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import LearnPeer
from p2pool.core.inputs import OutdatedHeard, Sender, StrangerHeard
from p2pool.core.peers.invites import Invites
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.queries import (
    BindingsAnswered,
    BindingsRequested,
    DuplicateShown,
    HardwareAnswered,
    HardwareRequested,
    HeartbeatsAnswered,
    HeartbeatsRequested,
    PeerKnown,
    StoreSeenAnswered,
)
from p2pool.model.messages.registry import since_of
from p2pool.model.states import Standing
from p2pool.model.timing import Now


@attrs.define
class PeerExchange:
    """One node's questions to its peers, and its answers to theirs."""

    context: Context
    invites: Invites
    hardware: Hardware | None = None
    asked_who_ms: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )
    told_outdated_ms: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )
    shown: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.BEATS_SHOWN_PER_S, limits.BEATS_SHOWN_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    heard_from_ms: BoundedDict[PeerKey, int] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )
    asked_hardware_ms: dict[NodeId, int] = attrs.field(factory=dict)
    moves: TokenBuckets = attrs.field(
        factory=lambda: TokenBuckets(
            limits.HELLO_ADDRESSES_PER_S, limits.HELLO_ADDRESSES_BURST, limits.PEERS_TRACKED_MAX
        )
    )
    round_due_ms: int = 0
    exchange_due_ms: int = 0
    lacked: tuple[NodeId, ...] = ()
    unheard: tuple[NodeId, ...] = ()
    lacked_by: ChainRoster | None = None
    turn: int = 0

    # --- who is who -------------------------------------------------------------------------------

    def met(self, peer_key: PeerKey, now: Now) -> None:
        """A peer said hello: ask it for bindings, and a member for heartbeats too, unless it gave
        us some a moment ago: since then gossip brings what is new."""
        context = self.context
        if not context.bindings.is_asked(peer_key):
            return
        self._ask_bindings(peer_key)
        node_id = context.bindings.node_of(peer_key)
        if node_id is None or not context.roster.belongs(node_id):
            return
        heard_ms = self.heard_from_ms.get(peer_key)
        if heard_ms is None or now.mono_ms - heard_ms >= limits.EXCHANGE_INTERVAL_MS:
            context.tell(peer_key, HeartbeatsRequested(context.request()))

    def on_stranger_heard(self, event: StrangerHeard, now: Now) -> None:
        """A node whose binding we lack sent something: ask a neighbour, not too often."""
        peer_key = event.peer_key
        asked_ms = self.asked_who_ms.get(peer_key)
        if asked_ms is not None and now.mono_ms - asked_ms < limits.EXCHANGE_INTERVAL_MS // 10:
            return
        neighbour = self._any_peer()
        if neighbour is None:
            return
        self.asked_who_ms[peer_key] = now.mono_ms
        self.context.tell(neighbour, BindingsRequested(self.context.request(), (peer_key,)))

    def on_bindings_requested(self, message: BindingsRequested, sender: Sender, now: Now) -> None:
        """Give out bindings: they are public and prove themselves."""
        found = self.context.bindings.exchange(message.peer_keys, message.node_ids)
        self.context.tell(sender.peer_key, BindingsAnswered(message.request, found))

    def on_bindings_answered(self, message: BindingsAnswered, sender: Sender, now: Now) -> None:
        """Learn bindings; their signatures were checked on entry."""
        for known in message.peers[: limits.PEER_LIST_MAX]:
            if self.context.roster.belongs(known.binding.node_id):
                self.context.effects += self.context.bindings.hear_of(known, sender.peer_key)

    # --- what was heard ---------------------------------------------------------------------------

    def awaits_heartbeats(self, peer_key: PeerKey, answer: HeartbeatsAnswered, now: Now) -> bool:
        """Whether we asked this peer for these heartbeats; once, because opening them is costly."""
        awaited = self.context.awaited.take(peer_key, answer, now.mono_ms)
        if awaited:
            self.heard_from_ms.renew(peer_key, now.mono_ms)
        return awaited

    def on_heartbeats_requested(
        self, message: HeartbeatsRequested, sender: Sender, now: Now
    ) -> None:
        """Give out the newest heartbeats, each as its node sealed it; a peer that had many lately
        gets none, however often it connects."""
        sealed = self.context.heartbeats.sealed()
        if not self.shown.admit(sender.peer_key, now.mono_ms, len(sealed)):
            return
        self.context.tell(sender.peer_key, HeartbeatsAnswered(message.request, sealed))

    def on_heartbeats_answered(self, message: HeartbeatsAnswered, sender: Sender, now: Now) -> None:
        """Nothing to do: the agent opens it and delivers each heartbeat in it as gossip."""

    def on_outdated_heard(self, event: OutdatedHeard, now: Now) -> None:
        """A message came from an earlier start of a node: show its sender a later one."""
        if self.context.bindings.key_of(event.node_id) == event.peer_key:
            self.context.note_duplicate(event.node_id, event.later, event.sent_at_ms, now)
        told_ms = self.told_outdated_ms.get(event.peer_key)
        beat = self.context.heartbeats.newest.get(event.node_id)
        recently = told_ms is not None and now.mono_ms - told_ms < limits.PROBATION_ASK_MS
        # Two agents with one key answer to one name: whichever gets this learns of the other, the
        # earlier from the later's message or the later from the earlier's.
        shown = (event.beat, event.hello, beat.sealed if beat is not None else b"")
        if recently or not any(shown):
            return
        self.told_outdated_ms[event.peer_key] = now.mono_ms
        words = tuple(word for word in shown if word)
        # It may be at the door still: no hello of an earlier start lets it in.
        self.context.effects += self.context.bindings.hear_out(event.peer_key)
        early = StoreSeenAnswered(0, None, words)  # What the first level has for it.
        later = self.context.level >= since_of(DuplicateShown)
        told = DuplicateShown(words) if later else early
        self.context.tell(event.peer_key, told)

    def on_hardware_requested(self, message: HardwareRequested, sender: Sender, now: Now) -> None:
        """Send our hardware record."""
        if self.hardware is not None:
            self.context.tell(sender.peer_key, HardwareAnswered(message.request, self.hardware))

    def on_hardware_answered(self, message: HardwareAnswered, sender: Sender, now: Now) -> None:
        """Keep a node's hardware record if it is the one that its heartbeat names."""
        node_id = self.context.bindings.node_of(sender.peer_key)
        if node_id is not None:
            self.context.heartbeats.take_hardware(node_id, message.hardware)

    def on_addresses(self, sender: Sender, addresses: tuple[str, ...], now: Now) -> None:
        """Where a member listens, by its own heartbeat: kept and handed on like its hello's, and
        dialled where it is not connected."""
        bindings, node_id = self.context.bindings, sender.node_id
        known = bindings.known.get(node_id)
        own = addresses[: limits.ADDRESSES_MAX]
        if known is None or known.binding.peer_key != sender.peer_key or not own:
            return
        if own != known.addresses and self.moves.admit(sender.peer_key, now.mono_ms):
            self.context.effects += bindings.learn(PeerKnown(known.binding, own))
        elif own == known.addresses and sender.peer_key not in bindings.connected:
            self.context.effects.append(LearnPeer(sender.peer_key, own))

    # --- now and then -----------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Ask around."""
        if now.mono_ms < self.round_due_ms:
            return
        self.round_due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
        self._ask_hardware(now)
        peer = self._any_peer()
        if peer is None:
            return
        self.invites.ask(peer)
        self._look_for_lacked()
        if now.mono_ms >= self.exchange_due_ms or self.lacked:
            self.exchange_due_ms = now.mono_ms + limits.EXCHANGE_INTERVAL_MS
            self._ask_bindings(peer)

    def _ask_bindings(self, peer_key: PeerKey) -> None:
        """Ask a peer for bindings, and by name for members that we lack: it may know so many others
        that made-up nodes would crowd them out of its answer. A peer of the first level reads no
        names, so it is asked without them too, unless it is of a pool past that. A guest may be a
        bootstrap node, which is in no pool and of any version."""
        context = self.context
        state, entry = context.pool_log.state, context.bindings.connected.get(peer_key)
        past = state is not None and state.level >= DISTRUST_LEVEL
        member = entry is not None and entry.standing is Standing.MEMBER
        lacked = self._lacked() if past or not member or state is None else ()
        if not (lacked and past and member):
            context.tell(peer_key, BindingsRequested(context.request(), ()))
        if lacked:
            context.tell(peer_key, BindingsRequested(context.request(), (), lacked))

    def _look_for_lacked(self) -> None:
        """Find the members, by the chain, that we do not know how to reach: those whose key we
        lack, and those of whom we have heard nothing but that."""
        roster, bindings = self.context.roster, self.context.bindings
        names = [member.node_id for member in roster.members()]
        self.lacked = tuple(name for name in names if bindings.key_of(name) is None)
        self.unheard = tuple(filter(bindings.is_unheard, names))
        self.lacked_by = roster.latest

    def _lacked(self) -> tuple[NodeId, ...]:
        """The next members to ask for by name, as many as one answer holds: many never ran, and
        nobody knows them."""
        if self.lacked_by is not self.context.roster.latest:
            self._look_for_lacked()
        bindings = self.context.bindings
        still = [name for name in self.lacked if bindings.key_of(name) is None]
        still += filter(bindings.is_unheard, self.unheard)
        begin = self.turn if self.turn < len(still) else 0
        self.turn = begin + limits.PEER_LIST_MAX
        return tuple(still[begin : self.turn])

    def _ask_hardware(self, now: Now) -> None:
        """Ask connected members for the record behind their heartbeat, a few at a time."""
        asked = 0
        for key, node_id in self.context.bindings.connected_members():
            last_ms = self.asked_hardware_ms.get(node_id)
            recently = last_ms is not None and now.mono_ms - last_ms < limits.HARDWARE_ASK_MS
            if asked >= limits.HARDWARE_ASKS_MAX or recently:
                continue
            if self.context.heartbeats.lacks_hardware(node_id):
                asked += 1
                self.asked_hardware_ms[node_id] = now.mono_ms
                self.context.tell(key, HardwareRequested(self.context.request()))

    def _any_peer(self) -> PeerKey | None:
        bindings = self.context.bindings
        known = [key for key in bindings.connected if bindings.is_asked(key)]
        return known[self.context.rng.randrange(len(known))] if known else None

    def wakeup_ms(self) -> int:
        """When something is due next."""
        return self.round_due_ms
