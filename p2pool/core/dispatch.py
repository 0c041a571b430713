"""Messages from peers: who may send which, and which part handles it.

Intuition: one table maps a message to its handler; each message's declaration says who may send it.
The roster changes, so every message checks its sender's rights anew. A handler bears its message's
name and takes (message, sender, now). Handlers for the leader stand here and pass the message on,
because leaders come and go.

Invariants: a guest reaches only handlers declared for guests; gossip counts only from members whose
binding is known; an answer counts only if it was asked for; a rejected message changes nothing; a
peer draws no more from us by its questions than its budget.
Source: docs/design/messages.md, "Who may send".
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from p2pool.core.effects import AdmitPeer, Level
from p2pool.core.fsm.committee_chain import incomplete
from p2pool.core.inputs import Received, Sealed, Sender
from p2pool.core.parts import Parts
from p2pool.core.raft.raft import Frame
from p2pool.model import limits
from p2pool.model import messages as m
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.ids import NodeId, PeerKey
from p2pool.model.log.state_digests import UNKNOWN_DIGEST
from p2pool.model.messages.registry import since_of
from p2pool.model.messages.work import signed_in
from p2pool.model.states import Standing
from p2pool.model.timing import Now

Handler = Callable[[Any, Sender, Now], None]


class Dispatch:
    """The table of messages of one node."""

    def __init__(self, parts: Parts) -> None:
        """Look up the parts once."""
        self.parts = parts
        self.context = parts.context
        self.table = self._table(parts)
        self.moves = TokenBuckets(
            limits.HELLO_ADDRESSES_PER_S, limits.HELLO_ADDRESSES_BURST, limits.PEERS_TRACKED_MAX
        )

    def _table(self, p: Parts) -> Mapping[type, Handler]:
        promises, check = p.identity.peer_promises, p.identity.store_check
        chain = p.chain_agreement
        return {
            m.Ping: p.probes.on_ping,
            m.Pong: p.probes.on_pong,
            m.BindingsRequested: p.exchange.on_bindings_requested,
            m.BindingsAnswered: p.exchange.on_bindings_answered,
            m.InviteRequested: p.invites.on_invite_requested,
            m.InviteAnswered: p.invites.on_invite_answered,
            m.CertificatesRequested: p.certificate_exchange.on_certificates_requested,
            m.CertificatesAnswered: p.certificate_exchange.on_certificates_answered,
            m.VoteRequested: self.on_vote_requested,
            m.VoteAnswered: self.on_vote_answered,
            m.AppendRequested: self.on_append_requested,
            m.AppendAnswered: self.on_raft_frame,
            m.SnapshotSent: self.on_snapshot_sent,
            m.SnapshotAnswered: self.on_raft_frame,
            m.TimeoutNow: self.on_raft_frame,
            m.CertificateSigned: self.on_certificate_signed,
            m.ConfigurationSigned: self.on_configuration_signed,
            m.HistoryRequested: p.history_signatures.on_history_requested,
            m.HistorySigned: self.on_history_signed,
            m.Order: self.on_order,
            m.OrderAnswered: self.on_order_answered,
            m.Report: self.on_report,
            m.ReportAnswered: self.on_report_answered,
            m.ProbeRequested: p.probes.on_probe_requested,
            m.ProbeAnswered: self.on_probe_answered,
            m.SuspicionReported: self.on_suspicion_reported,
            m.RemovalConfirmRequested: chain.on_removal_confirm_requested,
            m.RemovalConfirmed: chain.on_removal_confirmed,
            m.ChainReadRequested: chain.on_chain_read_requested,
            m.ChainReadAnswered: chain.on_chain_read_answered,
            m.StateRequested: self.on_state_requested,
            m.StateAnswered: self.on_state_answered,
            m.SnapshotRequested: self.on_snapshot_requested,
            m.StoreSeenRequested: promises.on_store_seen_requested,
            m.StoreSeenAnswered: check.on_store_seen_answered,
            m.DuplicateShown: check.on_duplicate_shown,
            m.LogEndRequested: p.log_survey.on_log_end_requested,
            m.LogEndAnswered: p.log_survey.on_log_end_answered,
            m.HeartbeatsRequested: p.exchange.on_heartbeats_requested,
            m.HeartbeatsAnswered: p.exchange.on_heartbeats_answered,
            m.HardwareRequested: p.exchange.on_hardware_requested,
            m.HardwareAnswered: p.exchange.on_hardware_answered,
            m.RequestForwarded: p.requests.on_request_forwarded,
            m.ForwardAnswered: p.requests.on_forward_answered,
            m.ReadIndexRequested: p.requests.on_read_index_requested,
            m.ReadIndexAnswered: p.requests.on_read_index_answered,
            m.Heartbeat: self.on_heartbeat,
            m.Announcement: self.on_announcement,
            m.EquivocationProven: p.equivocation.on_equivocation_proven,
            m.BadAppendProven: p.bad_appends.on_bad_append_proven,
            m.SecretBlobOffered: p.secret_distribution.on_secret_blob_offered,
            m.SecretBlobHeld: p.secret_distribution.on_secret_blob_held,
            m.SecretBlobRequested: p.secret_distribution.on_secret_blob_requested,
            m.SecretBlobAnswered: p.secret_distribution.on_secret_blob_answered,
            m.SecretKeyRequested: p.secret_key_exchange.on_secret_key_requested,
            m.SecretKeyAnswered: p.secret_key_exchange.on_secret_key_answered,
            m.VerdictOffered: p.verdict_exchange.on_verdict_offered,
            m.VerdictAnswered: p.verdict_exchange.on_verdict_answered,
            m.VerdictsAnnounced: p.verdict_exchange.on_verdicts_announced,
        }

    # --- the door ---------------------------------------------------------------------------------

    def on_received(self, event: Received, now: Now) -> None:
        """Handle a verified message, if its sender may send it."""
        header, message = event.verified.header, event.verified.message
        if event.peer_key is not None:
            self.context.clocks.heard(header.node_id, header.sent_at_ms, now)
        if isinstance(message, m.Hello):
            self._hello(message, event, now)
            return
        if header.peer_key == self.context.config.me.peer_key:
            self.parts.identity.store_check.show(event.verified, now)
            return
        handler = self.table.get(type(message))
        if handler is None:
            kind = type(message).__name__
            self.context.log(Level.ERROR, "no part handles this message", message=kind)
            return
        senders = m.DECLARATIONS[type(message)].senders
        sender = Sender(event.verified, event.signers, event.enclosed)
        if not self._is_heard(senders, sender, event) or not self._is_asked(message, sender, now):
            return
        self._alive(event, now)
        if sender.enclosed and senders is not m.Senders.GOSSIP:
            self.parts.equivocation.saw(sender.enclosed, now)
        if senders is not m.Senders.VOTERS or self._is_voter(sender):
            self.parts.answer_budget.answer(handler, message, sender, now)

    def _is_heard(self, senders: m.Senders, sender: Sender, event: Received) -> bool:
        """Whether the message is the sender's own, and the sender may send this kind."""
        if senders is m.Senders.GOSSIP:
            member = self.context.roster.belongs(sender.node_id)
            return member and self.context.bindings.key_of(sender.node_id) == sender.peer_key
        if event.peer_key != sender.peer_key:
            return False
        if senders is m.Senders.GUESTS or self.is_participant_or_member(sender.node_id):
            return True
        return senders is m.Senders.CERTIFIERS and self._was_voter(sender.node_id)

    def _is_asked(self, message: m.Message, sender: Sender, now: Now) -> bool:
        """Whether a message is no answer, or one that we await; from now on we do not."""
        peer_key = sender.peer_key
        if not m.DECLARATIONS[type(message)].answers:
            return True
        asked = self.context.awaited.take(peer_key, message, now.mono_ms)
        return asked or self._awaits(peer_key, message, now)

    def _awaits(self, peer_key: PeerKey, answer: m.Message, now: Now) -> bool:
        """Whether we await an answer: from whom we asked, once, in time. In a pool of the first
        level, an agent shows by an answer that nobody asked for that another run has our keys."""
        shows = isinstance(answer, m.StoreSeenAnswered) and answer.request == 0
        if shows and self.context.level < since_of(m.DuplicateShown):
            return True
        return self.context.awaited.has(peer_key, answer, now.mono_ms)

    def _is_voter(self, sender: Sender) -> bool:
        """Whether the sender is a voter, peer key included."""
        voters = self.context.pool_log.configuration.electors
        named = (sender.node_id, sender.peer_key)
        return any((v.node_id, v.peer_key) == named for v in voters)

    def _was_voter(self, node_id: NodeId) -> bool:
        """Whether a node was a voter before a change that lacks a quorum, open or given up: it
        certifies that even if removed."""
        chain = self.context.pool_log.chain
        return any(v.node_id == node_id for link in incomplete(chain) for v in chain.before(link))

    def is_participant_or_member(self, node_id: NodeId) -> bool:
        """Whether a node is a member by the roster, or in the committee by the log (a voter that is
        out of the pool serves until its removal commits)."""
        group = self.context.pool_log.configuration.everybody
        return any(v.node_id == node_id for v in group) or self.context.roster.belongs(node_id)

    def worth_verifying(
        self, verified: m.Verified, enclosed: tuple[m.Verified | None, ...], now: Now
    ) -> bool:
        """Whether to recover the signers of a message's requests, or of the many links of a chain:
        that costs more than the rest, so first check that the sender may send it, and to us."""
        header, message = verified.header, verified.message
        declared = m.DECLARATIONS[type(message)]
        if declared.answers and not self._awaits(header.peer_key, message, now):
            return False
        if declared.senders is m.Senders.GUESTS:
            return True
        if not self.is_participant_or_member(header.node_id):
            return False
        if isinstance(message, m.HeartbeatsAnswered):
            return self.parts.exchange.awaits_heartbeats(header.peer_key, message, now)
        if isinstance(message, m.CertificatesAnswered):
            return message.log_id == self.context.pool_log.log_id
        if isinstance(message, m.Order):
            by = (header.node_id, header.peer_key)
            return self.parts.order_check.worth_verifying(message, by, enclosed, now)
        if isinstance(message, m.Report):
            leading = self.parts.leading
            return leading is not None and leading.reports.needs_signers(message)
        return True

    def _alive(self, event: Received, now: Now) -> None:
        """Anything from the node itself is a sign of life; gossip only if it is new."""
        node_id = event.verified.header.node_id
        if event.peer_key is None and not self._is_new(event):
            return
        self.parts.probes.alive(node_id, now)
        if self.parts.leader is not None:
            self.parts.leader.failure_detector.heard(node_id)

    def _is_new(self, event: Received) -> bool:
        """Whether gossip is newer than the last; a relayed heartbeat may be old."""
        header = event.verified.header
        beat = self.context.heartbeats.newest.get(header.node_id)
        stamp = (header.incarnation, header.sent_at_ms)
        return beat is None or stamp > (beat.incarnation, beat.sent_at_ms)

    def from_myself(self, message: m.Message, now: Now) -> None:
        """A message from this node as leader to itself as worker, or back; it needs no seal."""
        handler = self.table.get(type(message))
        senders = m.DECLARATIONS[type(message)].senders
        if handler is None or senders in (m.Senders.GUESTS, m.Senders.GOSSIP):
            return
        me = self.context.config.me
        header = m.Header(
            node_id=me.node_id,
            peer_key=me.peer_key,
            incarnation=self.context.config.incarnation,
            sequence=0,
            sent_at_ms=now.wall_ms,
        )
        desired = message.desired if isinstance(message, m.Order) else ()
        # The log says who signed them, but a leader before us may have lied there.
        renewed = (d.secrets for d in desired if d.secrets is not None)
        signed = (*(d.signed for d in desired), *renewed)
        signers = tuple(self.context.config.recovers(one) for one in signed)
        sender = Sender(m.Verified(header, m.Channel.WORK, message, b""), signers)
        handler(message, sender, now)

    # --- hello ------------------------------------------------------------------------------------

    def _hello(self, hello: m.Hello, event: Received, now: Now) -> None:
        if event.peer_key is None:
            return
        context = self.context
        if not self.moves.admit(event.peer_key, now.mono_ms):
            hello = attrs.evolve(hello, addresses=())  # Those that we know stand.
        context.effects += context.bindings.greet(hello, event.peer_key, context.roster.belongs)
        node_id = context.bindings.node_of(event.peer_key)
        if node_id is not None:
            self.parts.probes.watch.connected(node_id)

    def admitted(self, effect: AdmitPeer, now: Now) -> None:
        """A peer was admitted: get to know it."""
        if effect.standing is Standing.REFUSED:
            return
        self.parts.exchange.met(effect.peer_key, now)
        node_id = self.context.bindings.node_of(effect.peer_key)
        if (
            effect.standing is Standing.MEMBER
            and node_id is not None
            and self.parts.leader is not None
        ):
            self.parts.leader.orders.came(node_id, now)

    # --- gossip -----------------------------------------------------------------------------------

    def on_heartbeat(self, message: m.Heartbeat, sender: Sender, now: Now) -> None:
        """A member's heartbeat; if it is newer, it is also a promise of the member's store."""
        if self.context.heartbeats.hear(sender.verified, now):
            self.parts.identity.peer_promises.note_heartbeat(sender.verified)
            self.context.roster.heard(sender.node_id, now)
            self.parts.exchange.on_addresses(sender, message.addresses, now)

    def on_announcement(self, message: m.Announcement, sender: Sender, now: Now) -> None:
        """A node announces that it leads, and how far: believe what it proves."""
        context, pool_log, parts = self.context, self.context.pool_log, self.parts
        parts.equivocation.saw(sender.enclosed, now)
        raft = pool_log.raft
        if raft is None or message.log_id != raft.state.log_id:
            return
        parts.certificate_exchange.on_announcement(message, sender, now)
        if not context.leader_certificates.leads(sender.node_id, message.term, now):
            return  # Without proof it is no leader to us.
        key = context.bindings.key_of(sender.node_id)
        parts.replica.announced(message, context.roster.size(), key, now)
        if pool_log.distrusts or pool_log.applied_index != message.commit_index:
            return  # A leader's word ends no log whose voters sign what it holds.
        digests = pool_log.digest(), message.state_digest
        known = None not in digests and UNKNOWN_DIGEST not in digests
        if known and digests[0] != digests[1]:
            context.log(
                Level.ERROR, "this node's state is not the leader's", index=message.commit_index
            )
            parts.identity.discard_log("its state was not the leader's", now)

    # --- raft -------------------------------------------------------------------------------------

    def on_raft_frame(self, message: Frame, sender: Sender, now: Now) -> None:
        """A Raft frame that needs no proof, or none from here."""
        self._receive(message, sender, now)

    def on_vote_requested(self, message: m.VoteRequested, sender: Sender, now: Now) -> None:
        """A candidate; if we do not know it, perhaps its committee's chain shows us why."""
        raft = self.context.pool_log.raft
        if raft is not None and raft.needs_proof(message, now):
            self.parts.certificate_exchange.ask_proof(sender.peer_key, now)
        self._receive(message, sender, now)

    def on_vote_answered(self, message: m.VoteAnswered, sender: Sender, now: Now) -> None:
        """A vote; if granted, compare it with the voter's others."""
        if message.granted:
            self.parts.equivocation.saw((sender.verified,), now)
        self._receive(message, sender, now)

    def on_append_requested(self, message: m.AppendRequested, sender: Sender, now: Now) -> None:
        """Entries from a leader; if we refuse them, perhaps others can see why."""
        refused = len(self.context.pool_log.entries_refused)
        self._from_leader(message, sender, now)
        if len(self.context.pool_log.entries_refused) > refused:
            self.parts.bad_appends.on_refused(sender.verified, now)

    def on_snapshot_sent(self, message: m.SnapshotSent, sender: Sender, now: Now) -> None:
        """A part of a snapshot from a leader; the last brings a quorum's word for it."""
        self.parts.certificate_exchange.on_snapshot(message, sender, now)
        self._from_leader(message, sender, now)

    def _from_leader(
        self, frame: m.AppendRequested | m.SnapshotSent, sender: Sender, now: Now
    ) -> None:
        """Hear a claimed leader, and ask it for proof if we do not know it. A participant judges by
        the voters that it knows (`raft.election`); any other node would accept any member's log as
        the pool's, so it requires a certificate. Where voters sign the history, even that is too
        little: such a node fetches, until an entry that it fetched gives it a seat. A learner that
        no leader contacted for long fetches too; a leader may need its voice to be certified at
        all, so there the votes that elected it are enough."""
        context, raft = self.context, self.context.pool_log.raft
        if context.pool_log.must_fetch:
            return
        known = context.leader_certificates.fresh(now)
        named = (frame.leader, frame.term)
        proven = known is not None and (known.leader, known.term) == named
        if context.pool_log.seated:
            proven = proven or context.leader_certificates.chosen == (frame.log_id, *named)
        asks = raft is not None and (context.pool_log.fetches or raft.needs_proof(frame, now))
        ours = frame.log_id == context.pool_log.log_id
        if ours and asks and not proven:
            self.parts.certificate_exchange.ask_proof(sender.peer_key, now)
        if proven or not context.pool_log.fetches:
            self._receive(frame, sender, now, proven=proven)

    def _receive(self, message: Frame, sender: Sender, now: Now, *, proven: bool = False) -> None:
        """Give Raft a frame, and remember what it promises for its sender's store."""
        sealed = sender.verified.sealed
        self.parts.identity.peer_promises.note_frame(message, sender.verified)
        self.context.pool_log.receive(
            message, sender.peer_key, now, sealed, shown=sender.enclosed, proven=proven
        )

    # --- signatures -------------------------------------------------------------------------------

    def on_certificate_signed(self, message: m.CertificateSigned, sender: Sender, now: Now) -> None:
        """A voter confirms who leads."""
        self.parts.equivocation.saw((sender.verified,), now)
        self._certify(sender.verified, now)

    def on_configuration_signed(
        self, message: m.ConfigurationSigned, sender: Sender, now: Now
    ) -> None:
        """A voter from before a change of the committee certifies it."""
        self.parts.equivocation.saw((sender.verified,), now)
        self._certify(sender.verified, now)

    def on_history_signed(self, message: m.HistorySigned, sender: Sender, now: Now) -> None:
        """A voter signs how far the log is committed, and what it holds up to there."""
        self.parts.equivocation.saw((sender.verified,), now)
        if (leading := self.parts.leading) is not None:
            leading.history_proofs.add(sender.verified, now)

    def on_sealed(self, event: Sealed, now: Now) -> None:
        """Our own message, sealed: it counts like any other voter's."""
        message, raft = event.verified.message, self.context.pool_log.raft
        if isinstance(message, m.HistorySigned):
            if (leading := self.parts.leading) is not None:
                leading.history_proofs.add(event.verified, now)
        elif not isinstance(message, m.VoteAnswered):
            self._certify(event.verified, now)
        elif raft is not None and message.log_id == raft.state.log_id:
            raft.own_vote(message, event.verified.sealed)

    def _certify(self, verified: m.Verified, now: Now) -> None:
        if (leading := self.parts.leading) is not None:
            leading.certification.add(verified, now)

    # --- state ------------------------------------------------------------------------------------

    def on_state_requested(self, message: m.StateRequested, sender: Sender, now: Now) -> None:
        """A follower replica asks for committed entries."""
        if (answer := self.context.pool_log.answer(message)) is not None:
            self.context.tell(sender.peer_key, answer)

    def on_snapshot_requested(self, message: m.SnapshotRequested, sender: Sender, now: Now) -> None:
        """A follower replica asks for the next part of a snapshot."""
        if (answer := self.context.pool_log.answer(message)) is not None:
            self.context.tell(sender.peer_key, answer)

    def on_state_answered(self, message: m.StateAnswered, sender: Sender, now: Now) -> None:
        """A peer's part of the log; the next question, if any, follows at once."""
        context = self.context
        self.parts.certificate_exchange.on_snapshot(message, sender, now)
        number = context.request()
        leader = context.leader_certificates.leader(now)
        leads = leader.peer_key if leader is not None else None
        ask = self.parts.replica.answered(message, sender.peer_key, number, leads, now)
        if ask is not None:
            context.tell(ask.peer_key, ask.message)

    # --- work -------------------------------------------------------------------------------------

    def on_order(self, message: m.Order, sender: Sender, now: Now) -> None:
        """Obey a leader with a certificate in force; tell any other why we refuse."""
        context, worker = self.context, self.parts.worker
        if message.node_id != context.me or not context.roster.known:
            return
        by = (sender.node_id, sender.peer_key)
        refused = self.parts.order_check.refusal(message, by, sender.enclosed, now)
        if refused is not None:
            context.log(Level.WARNING, "an order is refused", by=sender.node_id.hex(), why=refused)
            answer = m.OrderAnswered(message.token, worker.high_water, False, refused)
        elif len(sender.signers) != signed_in(message):
            return  # Its leader had no certificate yet when it arrived: the order comes again.
        else:
            answer = worker.obey(message, sender.signers, now)
        context.tell(sender.peer_key, answer)

    def on_order_answered(self, message: m.OrderAnswered, sender: Sender, now: Now) -> None:
        """A node answered an order of ours."""
        if self.parts.leader is not None:
            self.parts.leader.orders.on_order_answered(message, sender, now)

    def on_report(self, message: m.Report, sender: Sender, now: Now) -> None:
        """A node reports to its leader."""
        if (leading := self.parts.leading) is None:
            return
        looked = len(sender.signers) == len(message.claims)
        if not looked and leading.reports.needs_signers(message):
            return  # It came before we led, so its claims are unverified: it comes again.
        leading.reports.take(sender.node_id, message, sender.signers, now)

    def on_report_answered(self, message: m.ReportAnswered, sender: Sender, now: Now) -> None:
        """A node does not repeat what a leader answered, so only a leader's answer counts."""
        known = self.context.leader_certificates.known
        certified = known.leader.node_id if known is not None else None
        if sender.node_id in (self.context.leader(now), certified):
            self.parts.worker.settle(message)

    # --- who is alive -----------------------------------------------------------------------------

    def on_probe_answered(self, message: m.ProbeAnswered, sender: Sender, now: Now) -> None:
        """A witness says whether it reaches a node."""
        if self.parts.leader is not None:
            self.parts.leader.failure_detector.take_answer(sender.node_id, message)

    def on_suspicion_reported(self, message: m.SuspicionReported, sender: Sender, now: Now) -> None:
        """A member misses a node."""
        if (leading := self.parts.leading) is not None:
            leading.on_suspicion_reported(message, sender, now)
