"""The conductor: one node's decisions, driven by inputs, answering with effects.

A table says which part handles which input; after each input every part does what is due.

The driver's contract: one task calls `step`, with every queued input; it awaits the `Persist`
effect (the first, if any) before it carries out the others, in order; it calls again at
`next_wakeup_ms` at the latest. It reports a failed write by `PersistFailed`: from then on this node
is silent, and says why. Source: docs/ARCHITECTURE.md, "One step".
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.fit import fitted
from p2pool.core import inputs
from p2pool.core.context import Context, NodeConfig
from p2pool.core.dispatch import Dispatch
from p2pool.core.effects import (
    AdmitPeer,
    AnyEffect,
    Effect,
    Emit,
    Level,
    Log,
    Persist,
    Publish,
    Reply,
    Seal,
    SendTo,
)
from p2pool.core.feature_levels import pool_level
from p2pool.core.follower.bad_appends import BAD_APPENDS_TABLE, BadAppends
from p2pool.core.follower.certificate_exchange import CertificateExchange
from p2pool.core.follower.order_check import OrderCheck
from p2pool.core.follower.replica import FollowerReplica
from p2pool.core.knowledge.bindings import BINDINGS_TABLE, PeerBindings
from p2pool.core.knowledge.clock_offsets import ClockOffsets
from p2pool.core.knowledge.contract_verdicts import ContractVerdicts
from p2pool.core.knowledge.heartbeats import Heartbeats
from p2pool.core.knowledge.leadership.last_certificate import SEEN_KEY, CertificateSighting
from p2pool.core.knowledge.leadership.leader_certificate import LeaderCertificates
from p2pool.core.knowledge.roster import ROSTER_KEY, Roster
from p2pool.core.knowledge.secret_blobs import SecretBlobs
from p2pool.core.knowledge.verdicts import ValidatorVerdicts
from p2pool.core.leader.decisions import GONE
from p2pool.core.leader.leader import Leader
from p2pool.core.local.heartbeat import HeartbeatSender
from p2pool.core.local.machine import Machine
from p2pool.core.local.problems import accusations, problems, provider_warnings
from p2pool.core.log.pool_log import PoolLog
from p2pool.core.node_status import NodeStatus
from p2pool.core.parts import Between, Part, Parts
from p2pool.core.peers.answer_budget import AnswerBudget
from p2pool.core.peers.equivocation import EVIDENCE_TABLE, EquivocationLog
from p2pool.core.peers.exchange import PeerExchange
from p2pool.core.peers.invites import Invites
from p2pool.core.peers.probes import Probes
from p2pool.core.peers.verdict_exchange import VerdictExchange
from p2pool.core.peers.watch import Watch
from p2pool.core.requests.client_requests import NO_TASK, ClientRequests
from p2pool.core.requests.log_survey import LogSurvey
from p2pool.core.secrets.distribution import SecretDistribution
from p2pool.core.secrets.key_exchange import SecretKeyExchange
from p2pool.core.view import build_view
from p2pool.core.voter.chain_agreement import ChainAgreement
from p2pool.core.voter.eligibility import LeaderEligibility
from p2pool.core.voter.history_signatures import HistorySignatures
from p2pool.core.voter.signatures import CONFIRMED_KEY, VoterSignatures
from p2pool.core.voter.store_identity import StoreIdentity
from p2pool.core.voter.voter_standings import VoterStandings
from p2pool.core.worker.events import WorkerInput
from p2pool.core.worker.worker import Worker
from p2pool.model import limits
from p2pool.model.errors import P2poolError, Refusal, StoreFailed, Unavailable
from p2pool.model.ids import Digest, NodeId
from p2pool.model.log.certificates import LieProof
from p2pool.model.log.raft import EntryKind
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.messages.raft import TimeoutNow
from p2pool.model.messages.registry import since_of
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.agent import Accepted, InviteOffered, LogEndsCommand
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.ports.store import VERDICTS_TABLE, PersistOp, Restored
from p2pool.model.ports.view import View
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now

AnyInput = inputs.Input | WorkerInput
NEVER_MS = 2**53
FROM_OUTSIDE = (
    inputs.HardwareObserved,
    inputs.RuntimeObserved,
    inputs.AddressesObserved,
    inputs.ChainUnreachable,
    inputs.ContractSignaturesJudged,
    inputs.PersistFailed,
)
"""What a machine's own tools say, like all that the engine does: cut to the bounds of messages."""


class Node:
    """One node of a pool."""

    def __init__(self, config: NodeConfig, restored: Restored, seed: int, now: Now) -> None:
        """Restore a node from its disk. `TooOld` if a newer program wrote there."""
        self.context = _context(config, Random(seed))
        try:
            self.parts = _parts(self.context, restored)
        except Refusal:
            # A newer program may have written what we cannot read: then the log says so.
            self.context.pool_log.restore(restored, now)
            raise
        self.dispatch = Dispatch(self.parts)
        self.revision = 0
        self.said_too_old = False
        self.led_by: tuple[NodeId | None, int] = (None, 0)
        self._order = self._in_order()
        self._handlers = self._table()
        self._restore(restored, now)

    def _restore(self, restored: Restored, now: Now) -> None:
        context, meta = self.context, restored.tables["meta"]
        context.bindings.restore(
            decode_struct(PeerKnown, row) for row in restored.tables[BINDINGS_TABLE].values()
        )
        context.roster.restore(meta.get(ROSTER_KEY), now)
        context.pool_log.restore(restored, now)
        context.secrets.restore(restored.tables, now.mono_ms)
        context.validations.restore(restored.tables[VERDICTS_TABLE].values())
        self.parts.worker.begin(context.pool_log.epoch)
        context.pool_log.events.clear()  # Events from before the restart went out then.
        self.parts.identity.restore(meta, now)

    def _in_order(self) -> tuple[Part, ...]:
        """Every part once, in the order in which a step goes through them."""
        parts = self.parts
        return (
            self.context.roster,
            parts.chain_agreement,
            Between(self._follow_root),
            Between(self._check_store, parts.identity.wakeup_ms),
            Between(self._compare_clocks),
            parts.eligibility,
            self.context.pool_log,
            Between(self._lead_or_not),
            Between(self._lead, self._leader_due_ms),
            Between(self._suspect),
            parts.probes,
            parts.invites,
            parts.exchange,
            parts.requests,
            parts.secret_distribution,
            parts.log_survey,
            parts.equivocation,
            parts.bad_appends,
            parts.verdict_exchange,
            parts.certificate_exchange,
            parts.history_signatures,
            Between(self._fetch, self._fetch_due_ms),
            Between(self._work, self._work_due_ms),
        )

    def _table(self) -> Mapping[type, Callable[[Any, Now], None]]:
        context, parts = self.context, self.parts
        return {
            inputs.Ticked: lambda event, now: None,
            inputs.Received: self.dispatch.on_received,
            inputs.Sealed: self.dispatch.on_sealed,
            inputs.OutdatedHeard: parts.exchange.on_outdated_heard,
            inputs.StrangerHeard: parts.exchange.on_stranger_heard,
            inputs.ClockDiffered: lambda e, now: context.clocks.heard(e.node_id, e.sent_at_ms, now),
            inputs.PeerConnected: lambda e, now: context.bindings.connect(
                e.peer_key, dialled=e.dialled
            ),
            inputs.PeerDisconnected: self._on_peer_disconnected,
            inputs.ChainObserved: parts.chain_agreement.on_chain_observed,
            inputs.ChainUnreachable: lambda e, now: context.roster.unreachable(e.reason),
            inputs.ContractSignaturesJudged: self._on_contract_signatures_judged,
            inputs.ValidatorRoleRead: parts.verdict_exchange.on_validator_role_read,
            inputs.VerdictReceived: parts.verdict_exchange.on_verdict_received,
            inputs.HardwareObserved: parts.machine.on_hardware_observed,
            inputs.RuntimeObserved: parts.machine.on_runtime_observed,
            inputs.AddressesObserved: parts.machine.on_addresses_observed,
            inputs.Asked: self._on_asked,
            inputs.LoopLagged: self._on_loop_lagged,
            inputs.PersistFailed: self._on_persist_failed,
            inputs.JoiningTold: self._on_joining_told,
            inputs.StopAsked: self._on_stop_asked,
        }

    def introduce(self, binding: PeerBinding) -> None:
        """Learn our own binding, new or renewed, to give it out with those of others."""
        known = PeerKnown(binding, self.parts.machine.addresses)
        self.context.effects += self.context.bindings.learn(known)

    # --- a step -----------------------------------------------------------------------------------

    def step(self, events: AnyInput | Iterable[AnyInput], now: Now) -> list[AnyEffect]:
        """Handle inputs, all at this moment, and return the effects, `Persist` first."""
        self.revision += 1
        for event in events if isinstance(events, Iterable) else (events,):
            handler = self._handlers.get(type(event))
            if handler is None or isinstance(event, FROM_OUTSIDE):
                event = fitted(event)
            if handler is not None:
                handler(event, now)
            else:
                self.parts.worker.step(event, now)  # type: ignore[arg-type]  # The worker's own.
        silence = self.silence()
        if silence is not None:
            return self._silenced_effects(silence, now)
        # First what was applied, read or refused: no part may decide on an outdated log.
        self.settle(now)
        for _ in range(limits.STEP_ROUNDS_MAX):
            self.advance(now)
            if not self.settle(now):
                break
        return self.collect(now)

    def advance(self, now: Now) -> None:
        """Let every part do what is due."""
        for part in self._order:
            part.tick(now)

    @property
    def next_wakeup_ms(self) -> int:
        """When to call `step` next, on the monotonic clock; a silent node waits for input."""
        if self.context.status.silent:
            return NEVER_MS
        # The heartbeat is no part of a round: it goes out once, at the end of a step.
        dues = [part.wakeup_ms() for part in self._order]
        dues.append(self.parts.heartbeat.wakeup_ms())
        return min(due for due in dues if due is not None)

    def settle(self, now: Now) -> bool:
        """Tell the parts what the log did; True if there was anything, so that they go on."""
        pool_log = self.context.pool_log
        applied, pool_log.applied = pool_log.applied, []
        readable, pool_log.readable = pool_log.readable, []
        unreadable, pool_log.unreadable = pool_log.unreadable, []
        if any(entry.kind == EntryKind.NODE for entry in applied):
            self.context.note_judged(now)
        for entry in applied:
            self.parts.requests.applied(entry, now)
            if self.parts.leader is not None:
                self.parts.leader.applied(entry.index)
        for number, index in readable:
            self.parts.requests.readable(number, index, now)
        for number in unreadable:
            self.parts.requests.unreadable(number)
        self._say_refused()
        self._say_liars()
        self._say_too_old()
        self._certify(now)
        return bool(applied or readable or unreadable)

    def _certify(self, now: Now) -> None:
        """Show each applied question of a leader to the leader and to our voter; sign changes."""
        context, parts = self.context, self.parts
        points, context.pool_log.points = context.pool_log.points, []
        known = context.leader_certificates.known
        if known is not None and known.log_id == context.pool_log.log_id:
            # What a quorum certified stays, whatever our clock says of it.
            context.pool_log.certify(known.commit_index, known.state_digest, known.signatures)
        for point in points:
            if parts.leader is not None:
                parts.leader.certification.on_point(point, now)
            parts.signatures.on_point(point, now)
        diverged = parts.signatures.compare(now) or parts.replica.compare()
        if diverged is not None:
            why = "its state was not what the committee certifies"
            discarded = parts.identity.discard_log(why, now)
            context.leader_certificates.diverged = diverged.told(discarded=discarded)
        parts.signatures.sign_changes(now, asked=bool(points))

    def _say_liars(self) -> None:
        """Tell people who gave this replica what the voters did not sign."""
        context = self.context
        known = context.leader_certificates.known
        for peer_key in self.parts.replica.take_liars():
            by = context.bindings.node_of(peer_key) or context.me
            leads = known is not None and known.leader.peer_key == peer_key
            level = Level.ERROR if leads and context.pool_log.distrusts else Level.WARNING
            context.log(level, "a peer's entries are not what is committed", by=by.hex())
            if level is Level.ERROR:
                context.leader_certificates.misled = (
                    f"Leader {address_text(by)} gave this node entries that are not what the "
                    "voters signed: it lies, or is faulty. This node takes them from others; look "
                    "at that node, and ban it if it goes on."
                )

    def _say_refused(self) -> None:
        refused, self.context.pool_log.refused = self.context.pool_log.refused, []
        for peer_key in refused:
            by = self.context.bindings.node_of(peer_key) or self.context.me
            self.context.log(Level.WARNING, "a bad snapshot is refused", by=by.hex())
        found, self.context.pool_log.entries_refused = self.context.pool_log.entries_refused, []
        for peer_key, why in found:
            by = self.context.bindings.node_of(peer_key) or self.context.me
            self.context.log(Level.ERROR, "a leader's entries are refused", by=by.hex(), why=why)
        check = self.context.pool_log.request_check
        held, check.told = check.told, []
        for leader, why in held:
            by = leader.node_id
            self.context.log(Level.WARNING, "a leader's entry has to wait", by=by.hex(), why=why)

    def _say_too_old(self) -> None:
        too_old = self.context.pool_log.too_old
        if too_old is not None and not self.said_too_old:
            self.said_too_old = True
            self.context.log(Level.ERROR, "too old for the pool: silent", reason=str(too_old))

    # --- between the parts ------------------------------------------------------------------------

    def _follow_root(self, now: Now) -> None:
        """Follow a newly final root record: nothing said under the last log counts any more."""
        context, pool_log, parts = self.context, self.context.pool_log, self.parts
        roster = context.roster
        if not pool_log.follow_root(roster.root, now, roster.root_block, roster.withdrawn):
            return
        context.announced.forget()
        context.leader_certificates.forget()
        parts.requests.deposed()
        parts.worker.another_log(pool_log.epoch, now)
        parts.identity.another_log(now)
        context.log(Level.INFO, "another root record is final", epoch=pool_log.epoch)
        if pool_log.refusal:
            context.log(Level.WARNING, "this node founds no log", reason=pool_log.refusal)

    def _check_store(self, now: Now) -> None:
        """A store that is given up for a new one no longer leads."""
        if self.parts.identity.tick(now):
            self.parts.requests.deposed()

    def _compare_clocks(self, now: Now) -> None:
        context = self.context
        context.clocks.tick(context.pool_log.configuration, context.roster.latest, now)

    def _lead_or_not(self, now: Now) -> None:
        pool_log, parts = self.context.pool_log, self.parts
        leads = pool_log.role is RaftRole.LEADER
        if parts.leader is not None and (not leads or parts.leader.term != pool_log.term):
            parts.leader = None
            parts.requests.deposed()
            self.context.log(Level.INFO, "this node no longer leads", term=pool_log.term)
        if leads and parts.leader is None:
            self.context.note_judged(now)
            parts.leader = Leader.begin(self.context, parts.eligibility, now)
            self.context.log(Level.INFO, "this node leads", term=pool_log.term)
        led_by = self.context.leader(now)
        if led_by != self.led_by[0]:
            self.led_by = (led_by, now.wall_ms)
            parts.worker.connected(now)

    def _lead(self, now: Now) -> None:
        if (leading := self.parts.leading) is not None:
            leading.tick(now)

    def _leader_due_ms(self) -> int | None:
        leading = self.parts.leading
        return leading.wakeup_ms() if leading is not None else None

    def _suspect(self, now: Now) -> None:
        """Report the nodes that this one misses to the leader, which may be this very node."""
        parts = self.parts
        for node_id, reason in parts.probes.missed(now):
            if (leading := parts.leading) is not None:
                leading.suspect(node_id, reason, now)
        self.context.suspects = {
            **parts.probes.watch.suspects(now),
            **(parts.leader.failure_detector.suspected() if parts.leader is not None else {}),
        }

    def _fetch(self, now: Now) -> None:
        """Catch up with the log as a follower replica."""
        context = self.context
        peers = tuple(key for key, _ in context.bindings.connected_members())
        number = context.request() if context.pool_log.fetches else 0
        ask = self.parts.replica.ask(number, peers, context.roster.size(), now)
        if ask is not None:
            context.tell(ask.peer_key, ask.message)

    def _fetch_due_ms(self) -> int | None:
        return self.parts.replica.wakeup_ms()

    def _work(self, now: Now) -> None:
        """Run the worker, and report to the leader."""
        context, worker = self.context, self.parts.worker
        worker.member(context.roster.belongs(context.me) and not context.roster.ended)
        if context.roster.out_finally(context.me):
            worker.leave("its node left the pool")
        elif context.roster.ended:
            worker.leave("the pool has ended")
        leader, state = context.leader(now), context.pool_log.state
        missed = state is not None and state.node(context.me).reachability in GONE
        worker.level = pool_level(context)
        worker.led(leader is not None and not missed, now)
        worker.tick(now)
        self.parts.secret_key_exchange.keep(worker.lacks_secrets)
        if leader is None:
            worker.wait(now)
        report = worker.report(now) if leader is not None else None
        if leader is None or report is None:
            return
        if leader != context.me:
            context.send(leader, report)
        elif (leading := self.parts.leading) is not None:
            leading.reports.take(context.me, report, worker.signers_of(report), now)

    def _work_due_ms(self) -> int | None:
        dues = self.parts.worker.wakeup_ms(), self.parts.secret_key_exchange.wakeup_ms()
        return min(due for due in dues if due is not None)

    # --- the end of a step ------------------------------------------------------------------------

    def collect(self, now: Now) -> list[AnyEffect]:
        """The step's effects: first one `Persist`, then everything that relies on it."""
        context, pool_log = self.context, self.context.pool_log
        self.parts.heartbeat.send(now)
        self._deliver_to_self(now)
        pool_log.flush()
        sends = [SendTo(peer_key, message) for peer_key, message in pool_log.send]
        seals = [Seal(message) for message in pool_log.seal]
        events = [Emit(event) for event in pool_log.events]
        pool_log.send, pool_log.seal, pool_log.events = [], [], []
        work, worker_effects = self.parts.worker.take()
        operations: list[PersistOp] = [*pool_log.take_persist(), *work]
        rest: list[AnyEffect] = []
        rest += context.verdicts.take()
        rest += context.validator_roles.take()
        for effect in context.effects:  # It may grow: we query an admitted peer at once.
            if isinstance(effect, Persist):
                operations += effect.operations
                continue
            rest.append(effect)
            if isinstance(effect, AdmitPeer):
                self.dispatch.admitted(effect, now)
        context.effects = []
        first: list[AnyEffect] = [Persist(tuple(operations))] if operations else []
        said = [e for e in (*sends, *seals, *rest) if not self._comes_later(e)]
        for sent in said:
            if isinstance(sent, SendTo):
                context.awaited.note(sent.peer_key, sent.message, now.mono_ms)
        return [*first, *said, *worker_effects, *events]

    def _comes_later(self, effect: AnyEffect) -> bool:
        """Whether an effect sends a message of a later level than the pool's: hold it back."""
        if not isinstance(effect, SendTo | Publish | Seal):
            return False
        return since_of(type(effect.message)) > pool_level(self.context)

    def _deliver_to_self(self, now: Now) -> None:
        """Deliver messages between this node's leader and its worker here, within the step: a node
        that leads obeys itself by the same rules as any other."""
        mine = self.context.config.me.peer_key
        for _ in range(limits.STEP_ROUNDS_MAX):
            effects, self.context.effects = self.context.effects, []
            to_me: list[SendTo] = []
            for effect in effects:
                if isinstance(effect, SendTo) and effect.peer_key == mine:
                    to_me.append(effect)
                else:
                    self.context.effects.append(effect)
            if not to_me:
                return
            for sent in to_me:
                self.dispatch.from_myself(sent.message, now)
            self.advance(now)
            self.settle(now)

    # --- silence ----------------------------------------------------------------------------------

    def silence(self) -> P2poolError | None:
        """Why this node has fallen silent, or None."""
        status = self.context.status
        if status.value is NodeStatus.STORE_FAILED:
            return StoreFailed(
                f"This agent cannot write: {status.reason}",
                hint="Mend the disk (space, health): the agent opens its store again by itself.",
            )
        if status.value is NodeStatus.SUPERSEDED:
            return Unavailable(
                f"This agent has withdrawn from the pool: {status.reason}.",
                hint="Stop one of the two. Each agent needs its own node key and data directory;"
                " never copy either.",
            )
        if status.value is NodeStatus.TOO_OLD:
            return self.context.pool_log.too_old
        return None

    def _silenced_effects(self, error: P2poolError, now: Now) -> list[AnyEffect]:
        """The effects of a silent node: callers learn why, peers hear nothing. A leader may still
        hand on leadership, which promises nothing, and a superseded node says once that it takes no
        work."""
        told: list[AnyEffect] = []
        last = self.parts.heartbeat.last_word(now)
        if last is not None:
            told.append(Publish(last))
        for effect in self.context.effects:
            if isinstance(effect, Reply) and isinstance(effect.result, Accepted):
                told.append(Reply(effect.request_id, error))
            elif isinstance(effect, (Log, Reply)) or _hands_on(effect):
                told.append(effect)
        self.context.effects = []
        return [*told, *self.parts.requests.drop_all(error)]

    # --- inputs -----------------------------------------------------------------------------------

    def _on_peer_disconnected(self, event: inputs.PeerDisconnected, now: Now) -> None:
        node_id = self.context.bindings.node_of(event.peer_key)
        self.context.bindings.disconnect(event.peer_key)
        if node_id is not None:
            self.parts.probes.watch.lost(node_id, now)

    def _on_asked(self, event: inputs.Asked, now: Now) -> None:
        if isinstance(event.request, InviteOffered):
            self.parts.invites.keep(event.request.invite, now)
            done = Accepted(NO_TASK, 0, self.context.leader(now))
            self.context.effects.append(Reply(event.request_id, done))
        elif isinstance(event.request, LogEndsCommand):
            self.parts.log_survey.on_asked(event, now)
        else:
            self.parts.requests.on_asked(event, now)

    def _on_contract_signatures_judged(
        self, event: inputs.ContractSignaturesJudged, now: Now
    ) -> None:
        self.context.verdicts.on_judged(event.signed, event.at, event.verdict, now)

    def _on_loop_lagged(self, event: inputs.LoopLagged, now: Now) -> None:
        if self.parts.leader is not None:
            self.parts.leader.failure_detector.lagged(now)
        self.parts.probes.lagged(now)
        self.context.clocks.lagged()
        self.context.log(Level.WARNING, "the loop was late", lag_ms=event.lag_ms)

    def _on_stop_asked(self, event: inputs.StopAsked, now: Now) -> None:
        """This agent is about to stop: hand leadership on, so that nobody waits for a timeout."""
        if self.parts.leader is not None:
            self.parts.leader.committee.retire(now)

    def _on_persist_failed(self, event: inputs.PersistFailed, now: Now) -> None:
        self.parts.identity.fall_silent()
        self.parts.leader = None
        self.context.store_failure = event.reason
        self.context.log(Level.ERROR, "the disk refuses to write: silent", reason=event.reason)

    def _on_joining_told(self, event: inputs.JoiningTold, now: Now) -> None:
        self.context.joining = event.text
        self.context.stuck = event.stuck

    def view(self, now: Now) -> View:
        """Everything this node knows, frozen; its tables can be read until the next step."""
        revision = self.revision
        return build_view(
            self.context,
            revision,
            lambda: self.revision == revision,
            self.led_by[1],
            self._problems(now),
            self._warnings(),
            self._evidence(),
            now,
        )

    def _evidence(self) -> tuple[LieProof, ...]:
        """The proofs of both kinds against voters."""
        parts = self.parts
        kept = parts.equivocation.kept.by_name, parts.bad_appends.kept.by_name
        return (*kept[0].values(), *kept[1].values())

    def _problems(self, now: Now) -> tuple[str, ...]:
        parts = self.parts
        said = problems(self.context, parts.machine, parts.eligibility, parts.chain_agreement, now)
        note = parts.identity.note
        return (*said, note) if note is not None else said

    def _warnings(self) -> tuple[str, ...]:
        leading = self.parts.leading
        overfull = leading.orders.warnings() if leading is not None else ()
        said = (*accusations(self.context, self._evidence()), *overfull)
        return (*said, *provider_warnings(self.context))


def _hands_on(effect: Effect) -> bool:
    return isinstance(effect, SendTo) and isinstance(effect.message, TimeoutNow)


def _context(config: NodeConfig, rng: Random) -> Context:
    """What the parts of a node share, before the disk is read."""
    clocks, roster = ClockOffsets(config.me.node_id), Roster()
    verdicts = ContractVerdicts(
        lambda: roster.reading.final if roster.reading is not None else None
    )
    pool_log = PoolLog(
        config.me,
        config.pool,
        Random(rng.randrange(2**32)),
        newest_level=config.newest_level,
        opens=config.opens,
        recovers=config.recovers,
        rights=roster,
        clocks=clocks,
        verdicts=verdicts,
    )
    bindings = PeerBindings(config.me.node_id, config.me.peer_key)

    def needed(digest: Digest) -> bool:
        return pool_log.state is not None and pool_log.state.needs_secrets(digest)

    beats = Heartbeats(Random(rng.randrange(2**32)))
    certificates = LeaderCertificates(trusted=config.trusted)
    return Context(
        config=config,
        rng=rng,
        pool_log=pool_log,
        roster=roster,
        bindings=bindings,
        heartbeats=beats,
        clocks=clocks,
        verdicts=verdicts,
        secrets=SecretBlobs(needed),
        validations=ValidatorVerdicts(roster.belongs, roster.out_finally),
        leader_certificates=certificates,
    )


def _parts(context: Context, restored: Restored) -> Parts:
    """The parts of a node, each with what it restores from the disk by itself."""
    config, tables = context.config, restored.tables
    replica = FollowerReplica.of(context.pool_log)
    sighting = CertificateSighting.restored(tables["meta"].get(SEEN_KEY))
    certificate_exchange = CertificateExchange(context, sighting)
    order_check = OrderCheck(context, certificate_exchange)
    scope = RuntimeScope(config.pool, config.me.node_id)
    distribution = SecretDistribution(context)
    key_exchange = SecretKeyExchange(context, distribution)
    worker = Worker(
        scope=scope,
        allowed=order_check.judge,
        restored=tables,
        keep_ms=config.ended_keep_ms,
        judged=order_check.verdict,
        withdrawn=order_check.withdrawn,
    )
    worker.open_secrets, worker.secrets_allowed = key_exchange.opening, order_check.judge_secrets
    context.secrets.in_use = worker.uses_secrets
    invites = Invites(context)
    exchange = PeerExchange(context, invites)
    machine = Machine(context, worker, exchange)
    standings = VoterStandings(context)
    equivocation = EquivocationLog(context)
    equivocation.kept.restore(tables[EVIDENCE_TABLE].values())
    bad_appends = BadAppends(context, equivocation.counts_against)
    bad_appends.kept.restore(tables[BAD_APPENDS_TABLE].values())
    return Parts(
        context=context,
        replica=replica,
        worker=worker,
        order_check=order_check,
        probes=Probes(context, Watch(config.me.node_id)),
        answer_budget=AnswerBudget(context),
        invites=invites,
        exchange=exchange,
        requests=ClientRequests(context, replica, distribution),
        log_survey=LogSurvey(context),
        eligibility=LeaderEligibility(context, standings),
        chain_agreement=ChainAgreement(context, standings),
        signatures=VoterSignatures(context, tables["meta"].get(CONFIRMED_KEY)),
        history_signatures=HistorySignatures(context),
        certificate_exchange=certificate_exchange,
        equivocation=equivocation,
        bad_appends=bad_appends,
        machine=machine,
        heartbeat=HeartbeatSender(context, worker, machine),
        identity=StoreIdentity(context, replica),
        secret_distribution=distribution,
        secret_key_exchange=key_exchange,
        verdict_exchange=VerdictExchange(context),
    )
