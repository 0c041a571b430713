"""The one way in for bytes: opens sealed bytes and turns them into inputs of the core.

Intuition: every peer's bytes are opened here, once. The checks: size, form, signature, purpose, the
connection it came over, the sender's binding, freshness, the sender's clock. What passes becomes an
input of the core, with the accounts that signed the requests inside it, and with the sealed
messages inside it opened. What fails is dropped and counted by reason; no input bytes, however
hostile, raise an error.

Invariants: a frame counts only if it comes from the peer that Noise proved; bindings and relayed
heartbeats stand on their own proof. The most expensive work comes last: accounts are recovered, and
relayed heartbeats and certificates opened, only if the core says that the message is worth it.
Every peer has budgets (`agent.wire.budgets`), and they come before any signature: a guest may say
little at all, and all guests together no more than a part of what we can check; a member as many
frames, bytes and values as an honest one needs, and with them so many signatures that are new to
us. What only members may send is not looked into where a guest sends it. What we ask for ourselves
has a budget too: whoever connects is asked, as often as it connects. Many checks for one message
are made a few at a time, and everybody else gets a turn between.
Source: docs/design/protocol.md, "The way in".
"""

from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Generator

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.wire.budgets import GuestBudget, bucket
from p2pool.core.inputs import (
    ClockDiffered,
    OutdatedHeard,
    PeerConnected,
    PeerDisconnected,
    Received,
    StrangerHeard,
)
from p2pool.drivers.net import events as net
from p2pool.model import limits
from p2pool.model.access.requests import Signers
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import BadSignature, Malformed, NotAllowed, Refusal, Stale, TooMany
from p2pool.model.ids import ADDRESS_BYTES, NodeId, PeerKey, PoolRef
from p2pool.model.messages.certificates import CertificatesAnswered
from p2pool.model.messages.gossip import Heartbeat, Hello
from p2pool.model.messages.queries import (
    BindingsAnswered,
    BindingsRequested,
    HeartbeatsAnswered,
    PeerKnown,
)
from p2pool.model.messages.registry import DECLARATIONS, Channel, Senders, Verified
from p2pool.model.messages.verdicts import VerdictOffered, VerdictsAnnounced
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.timing import Now
from p2pool.model.validation.verdict import SignedVerdict
from p2pool.wire.binding import check_binding, check_binding_times
from p2pool.wire.costs import BINDING_CHECKS, checks_in
from p2pool.wire.enclosures import EnclosedCache
from p2pool.wire.envelope import max_bytes, open_sealed
from p2pool.wire.replay import ReplayGuard, clock_differs
from p2pool.wire.signers import SignerCache, requests_in
from p2pool.wire.validation.verdict import VerdictCache

NOBODY = NodeId(bytes(ADDRESS_BYTES))
"""The sender of a peer without a node key: a bootstrap node."""

WorthVerifying = Callable[[Verified, tuple[Verified | None, ...], Now], bool]
"""Whether the signed requests in a message, with its sealed messages, are worth verifying."""

Opened = Received | StrangerHeard | OutdatedHeard | ClockDiffered
Taken = list[Opened]
Turns = Generator[None, None, Taken]
"""What is taken of a frame, with a pause after every few checks."""

OF_MEMBERS = frozenset({Senders.MEMBERS, Senders.VOTERS})
"""Whose messages change nothing where a guest sends them."""


class Ingress:
    """Opens incoming bytes, for one pool."""

    def __init__(
        self,
        pool: PoolRef,
        key_of: Callable[[NodeId], PeerKey | None],
        worth_verifying: WorthVerifying = lambda verified, enclosed, now: False,
        member: Callable[[NodeId], bool] = lambda node_id: False,
        signers: SignerCache | None = None,
    ) -> None:
        """`key_of`: the peer key that the core knows to be bound to a node id. `member`: whether a
        node is in the pool or its committee; any other node is a guest. `signers`: what is known
        already of who signed what."""
        self.pool = pool
        self.counters: Counter[str] = Counter()
        self._key_of = key_of
        self._worth_verifying = worth_verifying
        self._member = member
        self.guests = GuestBudget()
        self._guest_frames = bucket("GUEST_FRAMES")
        self._member_frames = bucket("MEMBER_FRAMES")
        self._member_kib = bucket("MEMBER_FRAMES_KIB")
        self._guest_items = bucket("GUEST_ITEMS")
        self._member_items = bucket("MEMBER_ITEMS")
        self._signatures = bucket("MEMBER_SIGNATURES")
        self._asked = bucket("ASKED_SIGNATURES")
        self._bindings = bucket("BINDINGS_CHECKED")
        self._gossiped_by = bucket("GOSSIP_PER_ORIGIN")
        self._guard = ReplayGuard()
        self._signers = signers if signers is not None else SignerCache(pool)
        self._enclosed = EnclosedCache(pool)
        self._verdicts = VerdictCache(pool)
        self._shown: BoundedDict[PeerKey, NodeId] = BoundedDict(limits.PEERS_TRACKED_MAX)
        self._bound: BoundedDict[PeerKey, NodeId] = BoundedDict(limits.PEERS_TRACKED_MAX)
        self._hellos: BoundedDict[PeerKey, bytes] = BoundedDict(limits.CONNECTIONS_MAX)
        self._opened: BoundedDict[bytes, Verified] = BoundedDict(limits.OPENED_KEPT_MAX)
        self._good: BoundedDict[PeerBinding, None] = BoundedDict(limits.BINDINGS_CHECKED_MAX)

    # --- gossip -----------------------------------------------------------------------------------

    def check_gossip(self, channel: Channel, data: bytes) -> bool:
        """Whether gossip may be passed on: size, form and signature only, no roster."""
        try:
            verified = open_sealed(data, self.pool, max_bytes=max_bytes(channel), channel=channel)
        except Refusal as error:
            self._refuse(error)
            return False
        self._opened[data] = verified
        return True

    def knows_origin(self, peer_key: PeerKey) -> bool:
        """Whether a key is a member's, by the last hello or gossip under it."""
        node_id = self._bound.get(peer_key)
        bound = node_id is not None and self._key_of(node_id) == peer_key
        return (bound and node_id is not None and self._member(node_id)) or self._is_member(
            peer_key
        )

    def gossip(self, channel: Channel, data: bytes, now: Now) -> Taken:
        """A gossip message that `check_gossip` let through."""
        verified = self._opened.pop(data, None)
        if verified is None:
            if not self.check_gossip(channel, data):
                return []
            verified = self._opened.pop(data)
        return self._gossiped(verified, now, relayed=False)

    def _gossiped(self, verified: Verified, now: Now, *, relayed: bool) -> Taken:
        header = verified.header
        if self._key_of(header.node_id) != header.peer_key:
            self.counters["stranger"] += 1
            return [StrangerHeard(header.node_id, header.peer_key)]
        self._bound.renew(header.peer_key, header.node_id)
        # A relayed heartbeat is one that we asked for.
        if not relayed and not self._within_budget(verified, now):
            self.counters["too-many"] += 1
            return []
        try:
            self._guard.accept(verified, now.wall_ms, relayed=relayed)
        except Refusal as error:
            self._refuse(error)
            return [] if relayed else self._outdated(verified)
        if isinstance(verified.message, VerdictsAnnounced):
            verified = attrs.evolve(verified, message=self._good_verdicts(verified.message))
        return [Received(verified, None, (), self._enclosed.enclosed_in(verified.message))]

    def _good_verdicts(self, message: VerdictsAnnounced) -> VerdictsAnnounced:
        """Those on members that the named validators signed. An honest member has checked what it
        passes on, so the first forgery ends the reading."""
        good: list[SignedVerdict] = []
        for one in self._on_members(message).verdicts:
            if not self._verdicts.is_good(one):
                self.counters[BadSignature.code] += 1
                break
            good.append(one)
        return attrs.evolve(message, verdicts=tuple(good))

    def _on_members(self, message: VerdictsAnnounced) -> VerdictsAnnounced:
        """Only verdicts on members: the core would not take any others."""
        found = tuple(one for one in message.verdicts if self._member(one.verdict.node_id))
        return attrs.evolve(message, verdicts=found)

    def _within_budget(self, verified: Verified, now: Now) -> bool:
        """Whether the signer of a gossip message may say one more, with the signatures inside it
        that are new to us; whoever handed it on."""
        signer, message = verified.header.peer_key, verified.message
        if not self._gossiped_by.admit(signer, now.mono_ms):
            return False
        new = self._enclosed.unknown_in(message)
        if isinstance(message, VerdictsAnnounced):
            new += self._verdicts.unknown_in(self._on_members(message))
        return not new or self._signatures.admit(signer, now.mono_ms, new)

    # --- frames -----------------------------------------------------------------------------------

    def frame(self, channel: Channel, peer_key: PeerKey, data: bytes, now: Now) -> Taken:
        """A frame from a connected peer's stream, in one go."""
        turns = self.by_turns(channel, peer_key, data, now)
        while True:
            try:
                next(turns)
            except StopIteration as done:
                taken: Taken = done.value
                return taken

    def by_turns(self, channel: Channel, peer_key: PeerKey, data: bytes, now: Now) -> Turns:
        """A frame from a connected peer's stream; whoever reads it lets others run at each pause,
        and begins no other frame before its end."""
        verified: Verified | None = None
        try:
            verified = self._unsealed(channel, peer_key, data, now)
            self._check_sender(verified, peer_key, now)
        except Refusal as error:
            self._refuse(error)
            differs = verified is not None and isinstance(error, Stale)
            return self._differs_by_binding(verified, peer_key) if verified and differs else []
        try:
            self._guard.accept(verified, now.wall_ms)
        except Refusal as error:
            self._refuse(error)
            header = verified.header
            if clock_differs(verified, now.wall_ms):
                return [ClockDiffered(header.node_id, header.sent_at_ms)]
            return self._outdated(verified)
        if isinstance(verified.message, Hello):
            self._hellos[peer_key] = data
            return [Received(verified, peer_key, (), ())]
        try:
            self._check_guest(verified, peer_key, now)
        except Refusal as error:
            self._refuse(error)
            return []
        return (yield from self._looked_into(verified, peer_key, now))

    def streamed(self, channel: Channel, peer_key: PeerKey, data: bytes, now: Now) -> Verified:
        """A frame of a stream that was opened for one conversation, whose server looks into it. A
        `Refusal` for what `frame` would drop. Such a stream has an order of its own, so nothing in
        it is compared with what came on others."""
        verified = self._unsealed(channel, peer_key, data, now)
        self._check_sender(verified, peer_key, now)
        self._check_guest(verified, peer_key, now)
        return verified

    def _unsealed(self, channel: Channel, peer_key: PeerKey, data: bytes, now: Now) -> Verified:
        """A peer's frame, within its budget."""
        self._check_budget(peer_key, len(data), now)
        return open_sealed(
            data,
            self.pool,
            max_bytes=limits.STREAM_FRAME_MAX_BYTES,
            channel=channel,
            signer=peer_key,
            admit=lambda items: self._check_items(peer_key, items, now),
        )

    def _check_guest(self, verified: Verified, peer_key: PeerKey, now: Now) -> None:
        """Before anything that a guest's message carries is verified: `NotAllowed` for what only
        members may send, `TooMany` for more than guests may have verified. What we asked for
        ourselves, of a bootstrap node, comes first out of what that may cost its sender: strangers
        that use up all that guests have keep no newcomer from the members. An answer that nobody
        asked for costs nobody anything: it is not looked into."""
        if self._is_member(peer_key):
            return
        declared, checks = DECLARATIONS[type(verified.message)], checks_in(verified.message)
        if declared.senders in OF_MEMBERS:
            raise NotAllowed("A guest sent what only members may send.")
        if declared.answers:
            asked = self._worth_verifying(verified, (), now)
            charged_later = isinstance(verified.message, (CertificatesAnswered, HeartbeatsAnswered))
            if not asked or charged_later or self._asked.admit(peer_key, now.mono_ms, checks):
                return
        self._charge_guest(peer_key, checks, now)

    def _looked_into(self, verified: Verified, peer_key: PeerKey, now: Now) -> Turns:
        """What a frame carries, if it is worth that."""
        message = verified.message
        if DECLARATIONS[type(message)].answers and not self._worth_verifying(verified, (), now):
            self.counters["not-looked-at"] += 1
            return []
        if isinstance(message, BindingsAnswered):
            good = yield from self._good_ones(message, peer_key, now)
            verified = attrs.evolve(verified, message=attrs.evolve(message, peers=good))
        elif isinstance(message, HeartbeatsAnswered):
            return (yield from self._relayed(message, peer_key, now))
        elif isinstance(message, VerdictOffered):
            return self._offered(verified, message, now)
        awaited = isinstance(message, CertificatesAnswered)
        return (yield from self._with_enclosed(verified, peer_key, now, awaited=awaited))

    def _offered(self, verified: Verified, message: VerdictOffered, now: Now) -> Taken:
        """A verdict that somebody offers; a guest was charged for it before (`_check_guest`)."""
        peer_key, new = verified.header.peer_key, self._verdicts.unknown_in(message)
        charged = new and self._is_member(peer_key)
        if charged and not self._signatures.admit(peer_key, now.mono_ms, new):
            self.counters["over-budget"] += 1
            return []
        if not self._verdicts.is_good(message.verdict):
            self.counters[BadSignature.code] += 1
            return []
        return [Received(verified, peer_key, (), ())]

    def _with_enclosed(
        self, verified: Verified, peer_key: PeerKey, now: Now, *, awaited: bool
    ) -> Turns:
        """A frame with the signatures inside it checked, as far as its sender's budget goes; who
        has used it up says it again later. `awaited`: we asked for this, once."""
        message, budget = verified.message, self._signatures
        new = self._enclosed.unknown_in(message)
        enclosed_budget = self._asked if awaited else budget
        if new and not enclosed_budget.admit(peer_key, now.mono_ms, new):
            self.counters["over-budget"] += 1
            return []
        yield from self._enclosed.by_turns(message)
        enclosed = self._enclosed.enclosed_in(message)
        signers: tuple[Signers | None, ...] = ()
        if requests_in(message):
            if not self._worth_verifying(verified, enclosed, now):
                self.counters["not-looked-at"] += 1
            elif budget.admit(peer_key, now.mono_ms, self._signers.unknown_in(message)):
                yield from self._signers.by_turns(message)
                signers = self._signers.signers_in(message)
            else:
                self.counters["over-budget"] += 1
                return []
        return [Received(verified, peer_key, signers, enclosed)]

    def _check_budget(self, peer_key: PeerKey, size_bytes: int, now: Now) -> None:
        """`TooMany` for a frame beyond what its sender may say in a while, before it is opened."""
        if not self._is_member(peer_key):
            if not self._guest_frames.admit(peer_key, now.mono_ms):
                raise TooMany(
                    f"A guest may send {limits.GUEST_FRAMES_PER_S} frames a second.",
                    hint="Join the pool, or ask less often.",
                )
            self._charge_guest(peer_key, 1, now)
            return
        kib = 1 + size_bytes // 1024
        within = self._member_frames.admit(peer_key, now.mono_ms)
        if not within or not self._member_kib.admit(peer_key, now.mono_ms, kib):
            raise TooMany(
                f"A member may send {limits.MEMBER_FRAMES_PER_S} frames and "
                f"{limits.MEMBER_FRAMES_KIB_PER_S} KiB a second.",
                hint="An agent that is in order sends less: see what runs on that node.",
            )

    def _check_items(self, peer_key: PeerKey, items: int, now: Now) -> None:
        """`TooMany` for a frame of more values than its sender may have read, before they are."""
        member = self._is_member(peer_key)
        budget = self._member_items if member else self._guest_items
        if not budget.admit(peer_key, now.mono_ms, items):
            raise TooMany(
                f"A peer may send {budget.per_s} values a second.",
                hint="An agent that is in order sends less: see what runs on that node.",
            )
        if not member:
            self._charge_guest(peer_key, items // limits.CHECK_COST_ITEMS, now)

    def _charge_guest(self, peer_key: PeerKey, checks: int, now: Now) -> None:
        """`TooMany` for more than a guest, or all guests, may have verified."""
        if checks and not self.guests.admit(peer_key, checks, now.mono_ms):
            raise TooMany(
                f"Guests may have {limits.GUEST_CHECKS_ALL_PER_S} signatures verified a second.",
                hint="Join the pool, or ask again later.",
            )

    def _is_member(self, peer_key: PeerKey) -> bool:
        """Whether the last hello under a peer key was a member's; any other peer is a guest."""
        shown = self._shown.get(peer_key)
        return shown is not None and self._member(shown)

    def _outdated(self, verified: Verified) -> Taken:
        """Report a message from an earlier incarnation than the latest one seen."""
        header = verified.header
        known = self._guard.incarnation(header.peer_key)
        if known is None or header.incarnation >= known:
            return []
        beat = verified.sealed if isinstance(verified.message, Heartbeat) else b""
        hello = self._hellos.get(header.peer_key, b"")
        message = verified.message
        asked = message.request if isinstance(message, BindingsRequested) else 0
        return [
            OutdatedHeard(
                node_id=header.node_id,
                peer_key=header.peer_key,
                beat=beat,
                hello=hello,
                sent_at_ms=header.sent_at_ms,
                later=known,
                asked=asked,
            )
        ]

    def _check_sender(self, verified: Verified, peer_key: PeerKey, now: Now) -> None:
        """The sender is the peer at the other end, under the node id bound to its key."""
        header, message = verified.header, verified.message
        if header.peer_key != peer_key:
            raise Malformed("Another key than the connection's sealed this frame.")
        if isinstance(message, Hello):
            named = message.binding.node_id if message.binding is not None else NOBODY
            if header.node_id != named:
                raise Malformed("Another node than the one in its binding sent this hello.")
            if message.binding is not None:
                self._check_shown(message.binding, peer_key, now)
            self._shown.renew(peer_key, named)
        elif self._shown.get(peer_key) != header.node_id:
            raise Malformed("This peer sent a frame before its hello.")
        else:
            # An active peer stays: hellos of many strangers push out only silent peers.
            self._shown.move_to_end(peer_key)

    def _check_shown(self, binding: PeerBinding, peer_key: PeerKey, now: Now) -> None:
        """The binding in a hello, charged to its sender first."""
        if self._is_member(peer_key):
            if not self._signatures.admit(peer_key, now.mono_ms, BINDING_CHECKS):
                raise TooMany("A member says hello too often.")
        else:
            self._charge_guest(peer_key, BINDING_CHECKS, now)
        check_binding(binding, self.pool, peer_key, now.wall_ms // 1000)

    def _differs_by_binding(self, verified: Verified, peer_key: PeerKey) -> Taken:
        """A hello whose binding is void now, though both keys signed it: the clocks differ, or it
        has expired. Only the core knows which, by the time at which the hello was sent."""
        header, message = verified.header, verified.message
        if not isinstance(message, Hello) or message.binding is None:
            return []
        try:
            check_binding(message.binding, self.pool, peer_key, message.binding.not_before_s)
        except Refusal:
            return []
        same = header.peer_key == peer_key and header.node_id == message.binding.node_id
        return [ClockDiffered(header.node_id, header.sent_at_ms)] if same else []

    def _relayed(self, message: HeartbeatsAnswered, peer_key: PeerKey, now: Now) -> Turns:
        """Heartbeats of other nodes, each with its own proof; the first are the newest.

        An honest peer has checked what it hands on, so the first forgery ends the reading.
        """
        taken: Taken = []
        for number, data in enumerate(message.sealed[: limits.BEATS_PER_ANSWER_MAX], 1):
            if not number % limits.CHECKS_PER_TURN_MAX:
                yield
            if not self._asked.admit(peer_key, now.mono_ms):
                self.counters["over-budget"] += 1
                break
            try:
                verified = open_sealed(
                    data, self.pool, max_bytes=max_bytes(Channel.BEAT), channel=Channel.BEAT
                )
            except BadSignature as error:
                self._refuse(error)
                break
            except Refusal as error:
                self._refuse(error)
                continue
            taken += self._gossiped(verified, now, relayed=True)
        return taken

    def _good_ones(
        self, message: BindingsAnswered, peer_key: PeerKey, now: Now
    ) -> Generator[None, None, tuple[PeerKnown, ...]]:
        """The valid bindings of members; signatures are checked once, times each time.

        An honest peer checks bindings before it hands them on, so the first forgery ends the
        reading: a guest's lie costs one signature check, not as many as fit into a frame.
        """
        now_s = now.wall_ms // 1000
        good: list[PeerKnown] = []
        for peer in message.peers:
            if not self._member(peer.binding.node_id):
                continue  # The core would not take it.
            try:
                check_binding_times(peer.binding, now_s)
            except Refusal as error:
                self._refuse(error)
                continue
            if peer.binding not in self._good:
                if not self._bindings.admit(peer_key, now.mono_ms):
                    self.counters["over-budget"] += 1
                    break
                try:
                    check_binding(peer.binding, self.pool, None, now_s)
                except Refusal as error:
                    self._refuse(error)
                    break
                self._good[peer.binding] = None
                yield
            good.append(peer)
        return tuple(good)

    def _refuse(self, error: Refusal) -> None:
        self.counters[error.code] += 1


async def in_turns(turns: Turns) -> Taken:
    """What is taken of a frame; other tasks run after every few checks that it takes."""
    while True:
        try:
            next(turns)
        except StopIteration as done:
            taken: Taken = done.value
            return taken
        await trio.lowlevel.checkpoint()


async def pump(
    events: AsyncIterable[net.NetEvent],
    ingress: Ingress,
    put: Callable[[PeerConnected | PeerDisconnected | Opened], Awaitable[None]],
) -> None:
    """Open what the network delivers and give it to the core, until cancelled."""
    async for event in events:
        match event:
            case net.PeerConnected():
                ingress.guests.connected(event.peer_key, event.addresses)
                await put(PeerConnected(event.peer_key, event.outbound))
            case net.PeerDisconnected():
                ingress.guests.disconnected(event.peer_key)
                await put(PeerDisconnected(event.peer_key))
            case net.FrameReceived():
                for taken in await in_turns(
                    ingress.by_turns(event.channel, event.peer_key, event.data, read_clock())
                ):
                    await put(taken)
            case net.GossipReceived():
                for taken in ingress.gossip(event.channel, event.data, read_clock()):
                    await put(taken)
        await trio.lowlevel.checkpoint_if_cancelled()
