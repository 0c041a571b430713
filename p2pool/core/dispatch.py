"""Messages from peers: who may send which, and which part takes it.

Intuition: a table from message to (who may send it, what it does). Standing is what connected peers
were judged to be; it is looked up again for each message, because the roster changes.

Invariants: a guest reaches the lines that say so and nothing else; gossip counts only from members
whose binding is known; a message that is not taken changes nothing. Source: design, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from p2pool.core.effects import AdmitPeer, Level
from p2pool.core.follower import replica
from p2pool.core.follower.certificate_exchange import ask_proof
from p2pool.core.fsm.committee_chain import open_link
from p2pool.core.inputs import Received
from p2pool.model.access.requests import Signers
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.log.raft import Voter
from p2pool.model.messages import registry as m
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.timing import Now

if TYPE_CHECKING:
    from p2pool.core.node import Node


@attrs.frozen
class Sender:
    """Who sent a message, who signed requests in it, and the envelope that it came in."""

    node_id: NodeId
    peer_key: PeerKey
    incarnation: int
    signers: tuple[Signers | None, ...]
    sealed: bytes = attrs.field(default=b"", repr=False)
    enclosed: tuple[m.Verified | None, ...] = attrs.field(default=(), repr=False)


Take = Callable[[Any, Sender, Now], None]


class Dispatch:
    """The table of messages of one node."""

    def __init__(self, node: Node) -> None:
        """Look up the parts once."""
        self.node = node
        self.context = node.context
        near, asks = node.neighbours, node.asks
        self.open_to_guests: Mapping[type, Take] = {
            m.Ping: lambda x, f, now: near.ping(f.peer_key, x, now),
            m.Pong: lambda x, f, now: None,
            m.BindingsRequested: lambda x, f, now: near.bindings(f.peer_key, x, now),
            m.BindingsAnswered: lambda x, f, now: near.learn(f.peer_key, x, now),
            m.InviteRequested: lambda x, f, now: near.invited(f.peer_key, x, now),
            m.InviteAnswered: lambda x, f, now: near.invite_answered(f.peer_key, x, now),
            m.CertificatesRequested: lambda x, f, now: node.proofs.asked(f.peer_key, x, now),
        }
        frames = (
            VoteRequested, VoteAnswered, AppendRequested, AppendAnswered,
            SnapshotSent, SnapshotAnswered, TimeoutNow,
        )  # fmt: skip
        self.for_members: Mapping[type, Take] = {
            **dict.fromkeys(frames, self._raft),
            m.CertificateSigned: self._signed,
            m.ConfigurationSigned: self._signed,
            m.CertificatesAnswered: lambda x, f, now: node.proofs.told(
                x, f.node_id, f.peer_key, f.enclosed, now
            ),
            m.Order: self._order,
            m.OrderAnswered: self._order_answered,
            m.Report: self._report,
            m.ReportAnswered: self._report_answered,
            m.ProbeRequested: lambda x, f, now: near.probe(f.peer_key, x, now),
            m.ProbeAnswered: self._witnessed,
            m.SuspicionReported: self._hinted,
            m.RemovalConfirmRequested: self._confirm_asked,
            m.RemovalConfirmed: self._confirmed,
            m.StateRequested: self._state_asked,
            m.SnapshotRequested: self._state_asked,
            m.StateAnswered: self._state_told,
            m.StoreSeenRequested: lambda x, f, now: node.oneself.witness.asked(f.peer_key, x),
            m.StoreSeenAnswered: lambda x, f, now: node.oneself.probation.told(
                x, f.peer_key, f.node_id, f.enclosed, now
            ),
            m.LogEndRequested: lambda x, f, now: node.logs_held.requested(f.peer_key, x),
            m.LogEndAnswered: lambda x, f, now: node.logs_held.answered(f.peer_key, x, now),
            m.HeartbeatsRequested: lambda x, f, now: near.beats(f.peer_key, x, now),
            m.HardwareRequested: lambda x, f, now: near.hardware_asked(f.peer_key, x, now),
            m.HardwareAnswered: lambda x, f, now: near.hardware_told(f.peer_key, x, now),
            m.RequestForwarded: self._forwarded,
            m.ForwardAnswered: lambda x, f, now: asks.forward_answered(f.peer_key, x, now),
            m.ReadIndexRequested: lambda x, f, now: asks.read_asked(f.peer_key, x, now),
            m.ReadIndexAnswered: lambda x, f, now: asks.read_answered(f.peer_key, x, now),
        }

    # --- the door ---------------------------------------------------------------------------------

    def received(self, event: Received, now: Now) -> None:
        """Take a verified message, if its sender may send it."""
        header, message = event.verified.header, event.verified.message
        if event.peer_key is not None:
            self.context.clocks.heard(header.node_id, header.sent_at_ms, now)
        if isinstance(message, m.Hello):
            self._hello(message, event, now)
            return
        sender = Sender(
            header.node_id, header.peer_key, header.incarnation, event.signers,
            event.verified.sealed, event.enclosed,
        )  # fmt: skip
        member = self.context.roster.belongs(header.node_id)
        kind = type(message)
        if header.peer_key == self.context.config.me.peer_key:
            self.node.oneself.probation.shown(event.verified, now)
            return
        if isinstance(message, (m.Heartbeat, m.Announcement, m.EquivocationProven)):
            if member and self.context.peers.key_of(header.node_id) == header.peer_key:
                self._alive(header.node_id, event, now)
                self._gossip(message, event, now)
            return
        take = self.open_to_guests.get(kind)
        if take is None and (self.of_the_pool(sender.node_id) or self._was_voter(sender, message)):
            take = self.for_members.get(kind)
        if take is None or event.peer_key != header.peer_key:
            return
        self._alive(header.node_id, event, now)
        if sender.enclosed:
            self.node.evidence.saw(sender.enclosed, now)
        take(message, sender, now)

    def worth(
        self, verified: m.Verified, enclosed: tuple[m.Verified | None, ...], now: Now
    ) -> bool:
        """Whether it is worth finding who signed the requests in a message, or the many links of a
        chain: that costs more than all else of it, so it is asked first whether its sender may say
        it, and to us."""
        header, message = verified.header, verified.message
        if not self.of_the_pool(header.node_id):
            return False
        if isinstance(message, m.HeartbeatsAnswered):
            return self.node.neighbours.awaits_beats(header.peer_key, message)
        if isinstance(message, m.CertificatesAnswered):
            return self.node.proofs.awaits(header.peer_key, message)
        if isinstance(message, m.Order):
            by = (header.node_id, header.peer_key)
            return self.node.rights.worth(message, by, enclosed, now)
        return not isinstance(message, m.Report) or self.context.ledger.leads

    def of_the_pool(self, node_id: NodeId) -> bool:
        """A member by the roster; or one of the committee, which the log and not the roster says
        who is in (a voter that is out serves until its removal commits)."""
        group = self.context.ledger.configuration.everybody
        return any(v.node_id == node_id for v in group) or self.context.roster.belongs(node_id)

    def _was_voter(self, sender: Sender, message: m.Message) -> bool:
        """Who was a voter before the last change certifies it, whatever it is now."""
        link = open_link(self.context.ledger.chain)
        if link is None or not isinstance(message, m.ConfigurationSigned):
            return False
        before = self.context.ledger.chain.before(link)
        return any(v.node_id == sender.node_id for v in before)

    def _alive(self, node_id: NodeId, event: Received, now: Now) -> None:
        node = self.node
        if event.peer_key is None and not self._is_new(event):
            return
        node.neighbours.alive(node_id, now)
        if node.leader is not None:
            node.leader.health.heard(node_id)

    def _is_new(self, event: Received) -> bool:
        """Whether gossip is newer than what was heard; a relayed heartbeat may be an old one."""
        header = event.verified.header
        beat = self.context.beats.newest.get(header.node_id)
        stamp = (header.incarnation, header.sent_at_ms)
        return beat is None or stamp > (beat.incarnation, beat.sent_at_ms)

    def from_myself(self, message: m.Message, now: Now) -> None:
        """What this node as leader says to itself as worker, and back."""
        me = self.context.config.me
        desired = message.desired if isinstance(message, m.Order) else ()
        signers = tuple(self._signers_of(d) for d in desired)
        sender = Sender(me.node_id, me.peer_key, self.context.config.incarnation, signers)
        take = self.for_members.get(type(message))
        if take is not None:
            take(message, sender, now)

    def _signers_of(self, desired: m.Desired) -> Signers | None:
        """Who signed a submission of the log: recovered before it was proposed."""
        state = self.context.ledger.state
        task = state.tasks.get(desired.allocation.task_id) if state is not None else None
        return Signers(task.record.signer, task.record.grantor) if task is not None else None

    # --- hello ------------------------------------------------------------------------------------

    def _hello(self, hello: m.Hello, event: Received, now: Now) -> None:
        if event.peer_key is None:
            return
        context = self.context
        context.effects += context.peers.greet(hello, event.peer_key, context.roster.belongs)
        node_id = context.peers.node_of(event.peer_key)
        if node_id is not None:
            self.node.neighbours.watch.connected(node_id)

    def admitted(self, effect: AdmitPeer, now: Now) -> None:
        """A peer was judged: get to know it."""
        if effect.standing == "refused":
            return
        self.node.neighbours.met(effect.peer_key, now)
        node_id = self.context.peers.node_of(effect.peer_key)
        if effect.standing == "member" and node_id is not None and self.node.leader is not None:
            self.node.leader.orders.came(node_id, now)

    # --- gossip -----------------------------------------------------------------------------------

    def _gossip(
        self,
        message: m.Heartbeat | m.Announcement | m.EquivocationProven,
        event: Received,
        now: Now,
    ) -> None:
        node_id = event.verified.header.node_id
        if isinstance(message, m.EquivocationProven):
            self.node.evidence.told(event.enclosed, now)
        elif isinstance(message, m.Announcement):
            self.node.evidence.saw(event.enclosed, now)
            self._announced(message, node_id, event, now)
        elif self.context.beats.hear(event.verified, now):
            self.node.oneself.witness.beat(event.verified)
            self.context.roster.heard(node_id, now)
            self.node.neighbours.addresses(node_id, message.addresses)

    def _announced(self, said: m.Announcement, sender: NodeId, event: Received, now: Now) -> None:
        context, ledger = self.context, self.context.ledger
        raft = ledger.raft
        if raft is None or said.log_id != raft.state.log_id:
            return
        self.node.proofs.announced(said, sender, event.enclosed, now)
        if not context.certified.leads(sender, said.term, now):
            return  # It may say so; it is no leader to us without proof.
        replica.heard(ledger, said, context.roster.size(), context.peers.key_of(sender), now)
        state = ledger.state
        same = state is not None and state.applied_index == said.commit_index
        same = same and ledger.former is None
        if same and state is not None and state.digest() != said.state_digest:
            context.log(
                Level.ERROR, "this node's state is not the leader's", index=said.commit_index
            )
            self.node.start_anew("its state was not the leader's", now)

    def _forwarded(self, asked: m.RequestForwarded, sender: Sender, now: Now) -> None:
        if sender.signers:  # Else nobody looked who signed it, and it is sent again.
            self.node.asks.forwarded(sender.peer_key, asked, sender.signers[0], now)

    # --- who is to go -----------------------------------------------------------------------------

    def _confirm_asked(self, asked: m.RemovalConfirmRequested, sender: Sender, now: Now) -> None:
        if (voter := self._voter(sender)) is not None:
            self.node.succession.confirmations.asked(voter, asked)

    def _confirmed(self, answer: m.RemovalConfirmed, sender: Sender, now: Now) -> None:
        if (voter := self._voter(sender)) is not None:
            self.node.succession.confirmations.answered(voter, answer, now)

    def _voter(self, sender: Sender) -> Voter | None:
        """The voter that a sender is, peer key and all."""
        voters = self.context.ledger.configuration.voters
        named = (sender.node_id, sender.peer_key)
        return next((v for v in voters if (v.node_id, v.peer_key) == named), None)

    # --- raft and state ---------------------------------------------------------------------------

    def _raft(self, frame: Any, sender: Sender, now: Now) -> None:
        if isinstance(frame, VoteAnswered) and frame.granted:
            self.node.evidence.saw((self._verified(frame, sender),), now)
        if self._claims(frame, sender, now):
            return
        self.node.oneself.witness.frame(frame, sender.sealed)
        self.context.ledger.receive(frame, sender.peer_key, now, sender.sealed)

    def _claims(self, frame: Any, sender: Sender, now: Now) -> bool:
        """Whether somebody says that it leads whom no certificate shows to: a participant knows its
        leader by Raft, but who is none would take any member's log for the pool's."""
        context = self.context
        if not isinstance(frame, (AppendRequested, SnapshotSent)) or not context.ledger.fetches:
            return False
        known = context.certified.fresh(now)
        if known is not None and (known.leader, known.term) == (frame.leader, frame.term):
            return False
        if frame.log_id == context.ledger.log_id:
            ask_proof(context, sender.peer_key, now)
        return True

    def _signed(self, word: Any, sender: Sender, now: Now) -> None:
        verified = self._verified(word, sender)
        self.node.evidence.saw((verified,), now)
        self.node.certifying.heard(verified, now)

    def _verified(self, message: m.Message, sender: Sender) -> m.Verified:
        """The message as it was opened."""
        header = m.Header(sender.node_id, sender.peer_key, sender.incarnation, 0, 0)
        return m.Verified(header, m.Channel.RAFT, message, sender.sealed)

    def _state_asked(self, asked: Any, sender: Sender, now: Now) -> None:
        answer = self.context.ledger.answer(asked)
        if answer is not None:
            self.context.tell(sender.peer_key, answer)

    def _state_told(self, answer: m.StateAnswered, sender: Sender, now: Now) -> None:
        context = self.context
        number = context.last_request + 1
        leader = context.certified.leader(now)
        leads = leader.peer_key if leader is not None else None
        ask = replica.answered(context.ledger, answer, sender.peer_key, number, leads, now)
        if ask is not None:
            context.request()
            context.tell(ask.peer_key, ask.message)

    # --- work -------------------------------------------------------------------------------------

    def _order(self, order: m.Order, sender: Sender, now: Now) -> None:
        """Obey a leader with a certificate in force; tell any other why it is not obeyed."""
        context, worker = self.context, self.node.worker
        if order.node_id != context.me or not context.roster.known:
            return
        by = (sender.node_id, sender.peer_key)
        refused = self.node.rights.refusal(order, by, sender.enclosed, now)
        if refused:
            context.log(
                Level.WARNING, "an order is not obeyed", by=sender.node_id.hex(), why=refused
            )
            answer = m.OrderAnswered(order.token, worker.high_water, False, refused)
        elif len(sender.signers) != len(order.desired):
            return  # Its leader was none yet when it came in: it sends the order again.
        else:
            answer = worker.obey(order, sender.signers, now)
        context.tell(sender.peer_key, answer)

    def _order_answered(self, answer: m.OrderAnswered, sender: Sender, now: Now) -> None:
        if self.node.leader is not None:
            self.node.leader.orders.answered(sender.node_id, answer)

    def _report(self, report: m.Report, sender: Sender, now: Now) -> None:
        # Who led not yet when a report came in did not look at its claims: they come again.
        looked = len(sender.signers) == len(report.claims)
        if self.node.leader is not None and self.context.ledger.leads and looked:
            self.node.leader.reports.take(sender.node_id, report, sender.signers, now)

    def _report_answered(self, answer: m.ReportAnswered, sender: Sender, now: Now) -> None:
        """What is answered is not told again, so a leader has to have said it."""
        known = self.context.certified.known
        certified = known.leader.node_id if known is not None else None
        if sender.node_id in (self.context.leader(now), certified):
            self.node.worker.settle(answer)

    # --- health -----------------------------------------------------------------------------------

    def _witnessed(self, answer: m.ProbeAnswered, sender: Sender, now: Now) -> None:
        if self.node.leader is not None:
            self.node.leader.health.witnessed(answer.request, answer.reachable, answer.known)

    def _hinted(self, hint: m.SuspicionReported, sender: Sender, now: Now) -> None:
        if self.node.leader is not None and self.context.ledger.leads:
            self.node.leader.told(sender.node_id, hint.node_id, hint.reason, now)
