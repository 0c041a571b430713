"""Questions between neighbours: who lives, who is who, what was heard, who is invited.

Intuition: whatever comes from a node itself is a sign of its life. Bindings, heartbeats and invites
carry their own proof, so anybody may hand them on; a newcomer asks the first members that it meets
for what they know, and anybody asks a random peer now and then.

Invariants: each question has a deadline or needs no answer; guests get bindings, invites and an
answer to a probe, nothing else; what is kept for others is bounded.
Source: design, sections 5 and 8.
"""

from collections import OrderedDict

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import LearnPeer, TakeInvite
from p2pool.core.inputs import OutdatedHeard
from p2pool.core.knowledge.pending_answers import PendingAnswers
from p2pool.core.peers.watch import Watch
from p2pool.model import limits
from p2pool.model.chain.invite import Invite
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.queries import (
    BindingsAnswered,
    BindingsRequested,
    HardwareAnswered,
    HardwareRequested,
    HeartbeatsAnswered,
    HeartbeatsRequested,
    InviteAnswered,
    InviteRequested,
    Ping,
    Pong,
    ProbeAnswered,
    ProbeRequested,
    StoreSeenAnswered,
    SuspicionReported,
)
from p2pool.model.timing import Now


@attrs.frozen
class IndirectProbe:
    """A probe that somebody else asked us for."""

    node_id: NodeId
    peer_key: PeerKey
    request: int
    deadline_ms: int


@attrs.define
class PeerExchange:
    """What one node asks its peers and answers them."""

    context: Context
    watch: Watch
    hardware: Hardware | None = None
    witnessing: list[IndirectProbe] = attrs.field(factory=list)
    invites: "OrderedDict[NodeId, Invite]" = attrs.field(factory=OrderedDict)
    asked_who_ms: "OrderedDict[PeerKey, int]" = attrs.field(factory=OrderedDict)
    told_outdated_ms: "OrderedDict[PeerKey, int]" = attrs.field(factory=OrderedDict)
    beats_awaited: PendingAnswers = attrs.field(
        factory=lambda: PendingAnswers(limits.BEATS_AWAITED_MAX)
    )
    asked_hardware_ms: dict[NodeId, int] = attrs.field(factory=dict)
    round_due_ms: int = 0
    exchange_due_ms: int = 0
    busy_until_ms: int = 0
    busy: bool = False

    # --- signs of life ----------------------------------------------------------------------------

    def alive(self, node_id: NodeId, now: Now) -> None:
        """Something new came from a node itself."""
        self.watch.heard(node_id, now)
        if not self.witnessing:
            return
        for item in tuple(self.witnessing):
            if item.node_id == node_id:
                self.witnessing.remove(item)
                answer = ProbeAnswered(item.request, node_id, True, True)
                self.context.tell(item.peer_key, answer)

    def lagged(self, now: Now) -> None:
        """Our own loop was late: for a while our word on others counts for nothing."""
        self.busy, self.busy_until_ms = True, now.mono_ms + limits.JUDGEMENT_GRACE_MS
        self.watch.lagged(now)
        for item in self.witnessing:
            answer = ProbeAnswered(item.request, item.node_id, False, False)
            self.context.tell(item.peer_key, answer)
        self.witnessing = []

    def ping(self, peer_key: PeerKey, asked: Ping, now: Now) -> None:
        """Answer a probe through the core."""
        self.context.tell(peer_key, Pong(asked.request, self.busy))

    def probe(self, peer_key: PeerKey, asked: ProbeRequested, now: Now) -> None:
        """The leader wants to know whether we reach a node."""
        known = self.context.peers.key_of(asked.node_id) is not None
        if not known or self.busy or len(self.witnessing) >= limits.SUSPICIONS_MAX:
            answer = ProbeAnswered(asked.request, asked.node_id, False, False)
            self.context.tell(peer_key, answer)
            return
        # Where a connection stands the node may only be slow; without one, it is dialled once.
        stands = self.context.peers.is_connected(asked.node_id)
        patience_ms = limits.WITNESS_PATIENCE_MS if stands else limits.PROBE_TIMEOUT_MS
        deadline_ms = now.mono_ms + patience_ms
        self.witnessing.append(IndirectProbe(asked.node_id, peer_key, asked.request, deadline_ms))
        # Sending to a peer that is not connected makes the network dial it.
        self.context.send(asked.node_id, Ping(self.context.request()))

    def missed(self, now: Now) -> list[tuple[NodeId, str]]:
        """As `watched`, whenever something of it is due."""
        watch_ms = self.watch.wakeup_ms()
        due = now.mono_ms >= self.round_due_ms or (watch_ms is not None and now.mono_ms >= watch_ms)
        return self.watched(now) if due else []

    def watched(self, now: Now) -> list[tuple[NodeId, str]]:
        """Probe the watched nodes; those of which somebody should be told, and why."""
        context, hints = self.context, []
        connected = tuple(node_id for _, node_id in context.peers.connected_members())
        members = tuple(self.context.roster.standings)
        self.watch.choose(members, connected, now)
        for node_id in self.watch.due(now):
            number = context.request()
            send, hint = self.watch.step(node_id, number, now)
            if send:
                context.send(node_id, Ping(number))
            if hint and not self.busy and not context.clocks.wrong:
                hints.append((node_id, hint))
                leader = context.leader(now)
                if leader is not None and leader != context.me:
                    context.send(leader, SuspicionReported(node_id, hint))
        return hints

    # --- who is who -------------------------------------------------------------------------------

    def met(self, peer_key: PeerKey, now: Now) -> None:
        """A peer said hello: ask it for whom it knows, and a member for what it heard."""
        context = self.context
        context.tell(peer_key, BindingsRequested(context.request(), ()))
        node_id = context.peers.node_of(peer_key)
        if node_id is not None and context.roster.belongs(node_id):
            number = context.request()
            self.beats_awaited.ask(peer_key, number)
            context.tell(peer_key, HeartbeatsRequested(number))

    def stranger(self, peer_key: PeerKey, now: Now) -> None:
        """Something came from a node whose binding we lack: ask a neighbour, not too often."""
        asked_ms = self.asked_who_ms.get(peer_key)
        if asked_ms is not None and now.mono_ms - asked_ms < limits.EXCHANGE_INTERVAL_MS // 10:
            return
        neighbour = self._any_peer()
        if neighbour is None:
            return
        self.asked_who_ms[peer_key] = now.mono_ms
        while len(self.asked_who_ms) > limits.PEER_BOOK_MAX:
            self.asked_who_ms.popitem(last=False)
        self.context.tell(neighbour, BindingsRequested(self.context.request(), (peer_key,)))

    def bindings(self, peer_key: PeerKey, asked: BindingsRequested, now: Now) -> None:
        """Hand out bindings: they are public and carry their proof."""
        found = self.context.peers.exchange(asked.peer_keys)
        self.context.tell(peer_key, BindingsAnswered(asked.request, found))

    def learn(self, peer_key: PeerKey, answer: BindingsAnswered, now: Now) -> None:
        """Take bindings whose signatures were checked on entry."""
        for known in answer.peers[: limits.PEER_LIST_MAX]:
            if self.context.roster.belongs(known.binding.node_id):
                self.context.effects += self.context.peers.learn(known)

    # --- what was heard ---------------------------------------------------------------------------

    def awaits_beats(self, peer_key: PeerKey, answer: HeartbeatsAnswered) -> bool:
        """Whether these heartbeats were asked for, of a member and once: a thousand cost much."""
        return self.beats_awaited.take(peer_key, answer.request)

    def beats(self, peer_key: PeerKey, asked: HeartbeatsRequested, now: Now) -> None:
        """Hand out the newest heartbeats."""
        sealed = self.context.beats.sealed()
        self.context.tell(peer_key, HeartbeatsAnswered(asked.request, sealed))

    def outdated(self, event: OutdatedHeard, now: Now) -> None:
        """Somebody speaks as a node did before its last start: show it a later word of its own."""
        if self.context.peers.key_of(event.node_id) == event.peer_key:
            self.context.note_doubled(event.node_id, event.later, event.sent_at_ms, now)
        told_ms = self.told_outdated_ms.get(event.peer_key)
        beat = self.context.beats.newest.get(event.node_id)
        recently = told_ms is not None and now.mono_ms - told_ms < limits.PROBATION_ASK_MS
        # Two agents with one key answer to one name: whichever of them hears this, the earlier by
        # the later's word or the later by the earlier's, learns of the other.
        shown = (event.beat, event.hello, beat.sealed if beat is not None else b"")
        if recently or not any(shown):
            return
        self.told_outdated_ms[event.peer_key] = now.mono_ms
        while len(self.told_outdated_ms) > limits.PEER_BOOK_MAX:
            self.told_outdated_ms.popitem(last=False)
        words = tuple(word for word in shown if word)
        self.context.tell(event.peer_key, StoreSeenAnswered(0, None, words))

    def hardware_asked(self, peer_key: PeerKey, asked: HardwareRequested, now: Now) -> None:
        """Tell what this machine has."""
        if self.hardware is not None:
            self.context.tell(peer_key, HardwareAnswered(asked.request, self.hardware))

    def hardware_told(self, peer_key: PeerKey, answer: HardwareAnswered, now: Now) -> None:
        """Keep a node's hardware where it is the record that its heartbeat names."""
        node_id = self.context.peers.node_of(peer_key)
        if node_id is not None:
            self.context.beats.take_hardware(node_id, answer.hardware)

    def addresses(self, node_id: NodeId, addresses: tuple[str, ...]) -> None:
        """A heartbeat says where its sender listens."""
        key = self.context.peers.key_of(node_id)
        if key is not None and addresses and key not in self.context.peers.connected:
            self.context.effects.append(LearnPeer(key, addresses))

    # --- who is invited ---------------------------------------------------------------------------

    def _forget_expired(self, now: Now) -> None:
        """Invites that nobody can use any more, and what they made of those they name."""
        for node_id, invite in tuple(self.invites.items()):
            if invite.expiration_s * 1000 <= now.wall_ms:
                del self.invites[node_id]
                self.context.roster.invite_expired(node_id, now)

    def offered(self, invite: Invite, now: Now) -> None:
        """Keep an invite, and hand it on; it is of use to the node that it names alone."""
        context = self.context
        if invite.node_id == context.me:
            context.effects.append(TakeInvite(invite))
            return
        self.invites[invite.node_id] = invite
        self.invites.move_to_end(invite.node_id)
        context.roster.invited(invite.node_id, now)
        while len(self.invites) > limits.INVITES_KEPT_MAX:
            self.invites.popitem(last=False)

    def invited(self, peer_key: PeerKey, asked: InviteRequested, now: Now) -> None:
        """An applicant asks whether we keep an invite for it."""
        invite = self.invites.get(asked.node_id)
        if invite is not None and invite.expiration_s * 1000 <= now.wall_ms:
            invite = None
        self.context.tell(peer_key, InviteAnswered(asked.request, invite))

    def invite_answered(self, peer_key: PeerKey, answer: InviteAnswered, now: Now) -> None:
        """Somebody keeps an invite for us."""
        if answer.invite is not None and answer.invite.node_id == self.context.me:
            self.context.effects.append(TakeInvite(answer.invite))

    # --- now and then -----------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """Answer probes that failed, and ask around."""
        self.busy = now.mono_ms < self.busy_until_ms
        for item in tuple(self.witnessing):
            if now.mono_ms >= item.deadline_ms:
                self.witnessing.remove(item)
                answer = ProbeAnswered(item.request, item.node_id, False, not self.busy)
                self.context.tell(item.peer_key, answer)
        if now.mono_ms < self.round_due_ms:
            return
        self.round_due_ms = now.mono_ms + limits.PROBE_INTERVAL_MS
        self._forget_expired(now)
        self._ask_hardware(now)
        context = self.context
        peer = self._any_peer()
        if peer is None:
            return
        if context.roster.known and not context.roster.belongs(context.me):
            context.tell(peer, InviteRequested(context.request(), context.me))
        if now.mono_ms >= self.exchange_due_ms or self._lacks_somebody():
            self.exchange_due_ms = now.mono_ms + limits.EXCHANGE_INTERVAL_MS
            context.tell(peer, BindingsRequested(context.request(), ()))

    def _lacks_somebody(self) -> bool:
        """Whether there is a member that we do not know how to reach."""
        key_of = self.context.peers.key_of
        return any(key_of(member.node_id) is None for member in self.context.roster.members())

    def _ask_hardware(self, now: Now) -> None:
        """Ask connected members for the record behind their heartbeat, a few at a time."""
        asked = 0
        for key, node_id in self.context.peers.connected_members():
            last_ms = self.asked_hardware_ms.get(node_id)
            recently = last_ms is not None and now.mono_ms - last_ms < limits.HARDWARE_ASK_MS
            if asked >= limits.HARDWARE_ASKS_MAX or recently:
                continue
            if self.context.beats.lacks_hardware(node_id):
                asked += 1
                self.asked_hardware_ms[node_id] = now.mono_ms
                self.context.tell(key, HardwareRequested(self.context.request()))

    def _any_peer(self) -> PeerKey | None:
        known = [k for k, c in self.context.peers.connected.items() if c.standing]
        known = [k for k in known if self.context.peers.connected[k].standing != "refused"]
        return known[self.context.rng.randrange(len(known))] if known else None

    def wakeup_ms(self) -> int:
        """When something is due next."""
        dues = [w.deadline_ms for w in self.witnessing]
        watch_ms = self.watch.wakeup_ms()
        if watch_ms is not None:
            dues.append(watch_ms)
        return min((*dues, self.round_due_ms))
