"""The conductor: one node's decisions, driven by inputs, answering with what to do.

A table says which part takes which input; after each step every part does what has become due.

The driver's contract: one task calls `step`, with every input that is queued; it awaits the
`Persist` effect (the first one, if there is any) before it carries out the others, in their order;
it calls again at `next_wakeup_ms` at latest. Where a write failed it says so by `PersistFailed`:
from then on this node is silent, and says why. Source: design, section 3.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.core import inputs, outbox
from p2pool.core.context import Context, NodeConfig
from p2pool.core.dispatch import Dispatch
from p2pool.core.effects import AnyEffect, Level, Persist, Reply
from p2pool.core.follower.certificate_exchange import CertificateExchange
from p2pool.core.follower.order_check import OrderCheck
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.knowledge.bindings import BINDINGS_TABLE, PeerBindings
from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.core.knowledge.heartbeats import Heartbeats
from p2pool.core.knowledge.roster import ROSTER_KEY, Roster
from p2pool.core.leader.decisions import GONE
from p2pool.core.leader.leader import Leader
from p2pool.core.local.machine import Machine
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.peers.equivocation import EVIDENCE_TABLE, EquivocationLog
from p2pool.core.peers.exchange import PeerExchange
from p2pool.core.peers.watch import Watch
from p2pool.core.requests.client_requests import NO_TASK, ClientRequests
from p2pool.core.requests.log_survey import LogSurvey
from p2pool.core.view import build_view
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.voter.removal_agreement import RemovalAgreement
from p2pool.core.voter.signatures import CONFIRMED_KEY, VoterSignatures
from p2pool.core.voter.store_identity import StoreIdentity
from p2pool.core.worker.events import WorkerInput
from p2pool.core.worker.worker import Worker
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import EntryKind
from p2pool.model.messages.gossip import PeerBinding
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.ports.agent import Accepted, InviteOffered, LogEndsCommand
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.ports.store import Restored
from p2pool.model.ports.view import View
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now

AnyInput = inputs.Input | WorkerInput
NEVER_MS = 2**53


class Node:
    """One node of a pool."""

    def __init__(self, config: NodeConfig, restored: Restored, seed: int, now: Now) -> None:
        """Come back from the disk."""
        rng = Random(seed)
        ledger = PoolLog(config.me, config.pool, Random(rng.randrange(2**32)))
        self.replica = FollowerReplica.of(ledger)
        peers = PeerBindings(config.me.node_id, config.me.peer_key, encode_struct)
        beats = Heartbeats(Random(rng.randrange(2**32)))
        self.context = Context(
            config=config,
            rng=rng,
            ledger=ledger,
            roster=Roster(),
            peers=peers,
            beats=beats,
            clocks=ClockOffsets(config.me.node_id),
        )
        self.context.started_ms = now.mono_ms
        scope = RuntimeScope(config.pool, config.me.node_id)
        self.rights = OrderCheck(self.context)
        self.worker = Worker(scope, self.rights.judge, restored.tables, config.ended_keep_ms)
        self.neighbours = PeerExchange(self.context, Watch(config.me.node_id))
        self.asks = ClientRequests(self.context, self.replica)
        self.logs_held = LogSurvey(self.context)
        self.succession = LeaderEligibility(self.context, RemovalAgreement(self.context))
        self.leader: Leader | None = None
        self.certifying = VoterSignatures(self, restored.tables["meta"].get(CONFIRMED_KEY))
        self.proofs = CertificateExchange(self.context)
        self.evidence = EquivocationLog(self.context)
        self.evidence.restore(restored.tables[EVIDENCE_TABLE].values())
        self.inbound = Dispatch(self)
        self.condition = Machine(self.context, self.worker, self.neighbours, self.succession)
        self.oneself = StoreIdentity(self)
        self.revision = 0
        self.led_by: tuple[NodeId | None, int] = (None, 0)
        self._handlers = self._table()
        peers.restore(
            decode_struct(PeerKnown, row) for row in restored.tables[BINDINGS_TABLE].values()
        )
        self.context.roster.restore(restored.tables["meta"].get(ROSTER_KEY), now)
        ledger.restore(restored, now)
        ledger.events.clear()  # What was applied before the restart was told then.
        self.oneself.restore(restored.tables["meta"], now)

    def _table(self) -> Mapping[type, Callable[[Any, Now], None]]:
        return {
            inputs.Ticked: lambda event, now: None,
            inputs.Received: self.inbound.received,
            inputs.Sealed: self.certifying.sealed,
            inputs.OutdatedHeard: lambda e, now: self.neighbours.outdated(e, now),
            inputs.StrangerHeard: lambda e, now: self.neighbours.stranger(e.peer_key, now),
            inputs.ClockDiffered: lambda e, now: self.context.clocks.heard(
                e.node_id, e.sent_at_ms, now
            ),
            inputs.PeerConnected: lambda e, now: self.context.peers.connect(e.peer_key),
            inputs.PeerDisconnected: self._disconnected,
            inputs.ChainObserved: self._chain_observed,
            inputs.ChainUnreachable: lambda e, now: self.context.roster.unreachable(e.reason),
            inputs.HardwareObserved: self.condition.hardware_observed,
            inputs.RuntimeObserved: self.condition.runtime_observed,
            inputs.AddressesObserved: self.condition.addresses_observed,
            inputs.Asked: self._asked,
            inputs.LoopLagged: self._lagged,
            inputs.PersistFailed: self._persist_failed,
            inputs.StopAsked: self._stop_asked,
        }

    def introduce(self, binding: PeerBinding) -> None:
        """Our own binding, new or renewed: it is handed out with those of others."""
        known = PeerKnown(binding, self.condition.addresses)
        self.context.effects += self.context.peers.learn(known)

    # --- a step -----------------------------------------------------------------------------------

    def step(self, events: AnyInput | Iterable[AnyInput], now: Now) -> list[AnyEffect]:
        """Take inputs, all at this moment, and give what is to be done, `Persist` first."""
        self.revision += 1
        for event in events if isinstance(events, Iterable) else (events,):
            handler = self._handlers.get(type(event))
            if handler is not None:
                handler(event, now)
            else:
                self.worker.step(event, now)  # type: ignore[arg-type]  # The worker's own inputs.
        silence = self.oneself.silence()
        if silence is not None:
            return outbox.mute(self, silence, now)
        # First who was judged, answered, committed: nobody decides on what the log has overtaken.
        self.settle(now)
        for _ in range(outbox.SETTLE_ROUNDS):
            self.advance(now)
            if not self.settle(now):
                break
        return outbox.collect(self, now)

    def advance(self, now: Now) -> None:
        """Let every part do what is due."""
        ledger, context = self.context.ledger, self.context
        context.roster.tick(now)
        if ledger.follow_root(context.roster.root, now, context.roster.root_block):
            self._another_log(now)
        self.oneself.tick(now)
        context.clocks.tick(ledger.configuration, now)
        self.succession.tick(now)
        ledger.tick(now)
        self._lead_or_not(now)
        if self.leader is not None and ledger.leads:
            self.leader.tick(now)
        for node_id, reason in self.neighbours.missed(now):
            if self.leader is not None and ledger.leads:
                self.leader.hinted(node_id, reason, now)
        context.suspects = {
            **self.neighbours.watch.suspects(now),
            **(self.leader.health.suspected() if self.leader is not None else {}),
        }
        self.neighbours.tick(now)
        self.asks.tick(now)
        self.logs_held.tick(now)
        self.evidence.tick(now)
        self._fetch(now)
        self._work(now)

    def settle(self, now: Now) -> bool:
        """Tell the parts what the log did; True when there was anything, so that they go on."""
        ledger = self.context.ledger
        applied, ledger.applied = ledger.applied, []
        readable, ledger.readable = ledger.readable, []
        unreadable, ledger.unreadable = ledger.unreadable, []
        if any(entry.kind == EntryKind.NODE for entry in applied):
            self.context.note_judged(now)
        for entry in applied:
            self.asks.applied(entry, now)
            if self.leader is not None:
                self.leader.applied(entry.index)
        for number, index in readable:
            self.asks.readable(number, index, now)
        for number in unreadable:
            self.asks.unreadable(number)
        self._say_refused()
        self.certifying.settle(now)
        return bool(applied or readable or unreadable)

    def _say_refused(self) -> None:
        refused, self.context.ledger.refused = self.context.ledger.refused, []
        for peer_key in refused:
            by = self.context.peers.node_of(peer_key) or self.context.me
            self.context.log(Level.WARNING, "a snapshot is no good, and is not taken", by=by.hex())

    def start_anew(self, why: str, now: Now) -> bool:
        """What this node holds of the log is not what the committee has: it is fetched anew, by
        another store, for this one may have promised what it does not hold."""
        thrown = self.replica.discard(now)
        if thrown:
            self.oneself.probation.lost = why
        return thrown

    def _another_log(self, now: Now) -> None:
        """The chain founded another log: what was said under the last one counts no more."""
        context, ledger = self.context, self.context.ledger
        context.announced_by, context.announced_ms, context.announced_term = None, None, 0
        context.certified.forget()
        self.asks.deposed()
        self.worker.another_log(ledger.epoch, now)
        self.oneself.another_log(now)
        context.log(Level.INFO, "another root record is final", epoch=ledger.epoch)
        if ledger.refusal:
            context.log(Level.WARNING, "this node founds no log", reason=ledger.refusal)

    def _lead_or_not(self, now: Now) -> None:
        ledger = self.context.ledger
        leads = ledger.role is RaftRole.LEADER
        if self.leader is not None and (not leads or self.leader.term != ledger.term):
            self.leader = None
            self.asks.deposed()
            self.context.log(Level.INFO, "this node leads no more", term=ledger.term)
        if leads and self.leader is None:
            self.context.note_judged(now)
            self.leader = Leader.begin(self.context, self.succession, now)
            self.context.log(Level.INFO, "this node leads", term=ledger.term)
        led_by = self.context.leader(now)
        if led_by != self.led_by[0]:
            self.led_by = (led_by, now.wall_ms)
            self.worker.connected(now)

    def _fetch(self, now: Now) -> None:
        """Catch up with the log, being no participant."""
        context = self.context
        peers = tuple(key for key, _ in context.peers.connected_members())
        number, members = context.last_request + 1, context.roster.size()
        ask = self.replica.ask(number, peers, members, now)
        if ask is not None:
            context.request()
            context.tell(ask.peer_key, ask.message)

    def _work(self, now: Now) -> None:
        """The worker's part, and what it has to report to the leader."""
        context = self.context
        self.worker.member(context.roster.belongs(context.me) and not context.roster.ended)
        if context.roster.out_finally(context.me):
            self.worker.leave("its node left the pool")
        elif context.roster.ended:
            self.worker.leave("the pool has ended")
        leader, state = context.leader(now), context.ledger.state
        missed = state is not None and state.node(context.me).reachability in GONE
        self.worker.led(leader is not None and not missed, now)
        self.worker.tick(now)
        if leader is None:
            self.worker.wait(now)
        report = self.worker.report(now) if leader is not None else None
        if leader is None or report is None:
            return
        if leader != context.me:
            context.send(leader, report)
        elif self.leader is not None and context.ledger.leads:
            signers = self.worker.signers_of(report)
            self.leader.reports.take(context.me, report, signers, now)

    @property
    def next_wakeup_ms(self) -> int:
        """When `step` is wanted next, on the monotonic clock; a silent node waits to be asked."""
        if self.oneself.silence() is not None:
            return NEVER_MS
        ledger = self.context.ledger
        dues: list[int | None] = [
            ledger.wakeup_ms,
            self.oneself.probation.wakeup_ms(),
            self.replica.wakeup_ms(),
            self.leader.wakeup_ms() if self.leader is not None and ledger.leads else None,
            self.neighbours.wakeup_ms(),
            self.asks.wakeup_ms(),
            self.logs_held.wakeup_ms(),
            self.worker.wakeup_ms,
            self.context.beats.wakeup_ms() if self.condition.speaks else None,
        ]
        return min(due for due in dues if due is not None)

    # --- inputs -----------------------------------------------------------------------------------

    def _disconnected(self, event: inputs.PeerDisconnected, now: Now) -> None:
        node_id = self.context.peers.node_of(event.peer_key)
        self.context.peers.disconnect(event.peer_key)
        if node_id is not None:
            self.neighbours.watch.lost(node_id, now)

    def _chain_observed(self, event: inputs.ChainObserved, now: Now) -> None:
        context = self.context
        kept = context.roster.observe(event.latest, event.final, now, event.warning)
        if kept:
            context.effects.append(Persist(tuple(kept)))
        context.effects += context.peers.rejudge(context.roster.belongs)

    def _asked(self, event: inputs.Asked, now: Now) -> None:
        if isinstance(event.request, InviteOffered):
            self.neighbours.offered(event.request.invite, now)
            done = Accepted(NO_TASK, 0, self.context.leader(now))
            self.context.effects.append(Reply(event.request_id, done))
        elif isinstance(event.request, LogEndsCommand):
            self.logs_held.asked(event, now)
        else:
            self.asks.asked(event, now)

    def _lagged(self, event: inputs.LoopLagged, now: Now) -> None:
        if self.leader is not None:
            self.leader.health.lagged(now)
        self.neighbours.lagged(now)
        self.context.clocks.lagged()
        self.context.log(Level.WARNING, "the loop was late", lag_ms=event.lag_ms)

    def _stop_asked(self, event: inputs.StopAsked, now: Now) -> None:
        """This agent is about to end: hand leadership on, so that nobody has to wait for it."""
        if self.leader is not None:
            self.leader.committee.retire(now)

    def _persist_failed(self, event: inputs.PersistFailed, now: Now) -> None:
        self.oneself.fall_silent()
        self.condition.failed = event.reason
        self.context.log(Level.ERROR, "the disk refuses to write: silent", reason=event.reason)

    def view(self, now: Now) -> View:
        """All that this node knows, frozen."""
        return build_view(
            self.context,
            self.revision,
            self.led_by[1],
            self._problems(now),
            tuple(self.evidence.proofs.values()),
            now,
        )

    def _problems(self, now: Now) -> tuple[str, ...]:
        note = self.oneself.note
        return (*self.condition.problems(now), *((note,) if note else ()))
