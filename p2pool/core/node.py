"""The conductor: one node's decisions, driven by inputs, answering with what to do.

Intuition: bytes were opened and checked outside; here a table says which part takes which input,
and after each step every part does what has become due. Parts share a `Context`, and nothing else
of them is reached from outside but the view.

The driver's contract: one task calls `step`, with every input that is queued; it awaits the
`Persist` effect (the first one, if there is any) before it carries out the others, in their order;
it calls again at `next_wakeup_ms` at latest. Where a write failed it says so by `PersistFailed`,
and from then on this node promises nothing: it is silent, and says why. No clock, no randomness of
its own, no I/O. Source: design, section 3.
"""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from p2pool.codec.structs import decode_struct, encode_struct
from p2pool.core import inputs
from p2pool.core.asks import NO_TASK, Asks
from p2pool.core.beats import Beats
from p2pool.core.context import Context, NodeConfig
from p2pool.core.effects import AdmitPeer, Effect, Emit, Level, Log, Persist, Reply, SendTo
from p2pool.core.inbound import Inbound
from p2pool.core.leading.leader import Leader
from p2pool.core.ledger import Ledger
from p2pool.core.neighbours import Neighbours
from p2pool.core.peers import BINDINGS_TABLE, Peers
from p2pool.core.roster import ROSTER_KEY, RosterBook
from p2pool.core.status import build_view, heartbeat
from p2pool.core.watch import Watch
from p2pool.core.worker.events import WorkerEffect, WorkerInput
from p2pool.core.worker.worker import Worker
from p2pool.core.workrights import WorkRights
from p2pool.model.errors import StoreFailed
from p2pool.model.gossip import PeerBinding
from p2pool.model.hardware import Hardware, Load
from p2pool.model.ids import NodeId
from p2pool.model.ports import Accepted, InviteOffered
from p2pool.model.query import PeerKnown
from p2pool.model.runtime import RuntimeScope
from p2pool.model.states import RaftRole
from p2pool.model.storage import PersistOp, Restored
from p2pool.model.timing import Now
from p2pool.model.view import View

AnyInput = inputs.Input | WorkerInput
AnyEffect = Effect | WorkerEffect
SETTLE_ROUNDS = 16


class Node:
    """One node of a pool."""

    def __init__(self, config: NodeConfig, restored: Restored, seed: int, now: Now) -> None:
        """Come back from the disk."""
        rng = Random(seed)
        ledger = Ledger(config.me, config.pool, Random(rng.randrange(2**32)))
        peers = Peers(config.me.node_id, config.me.peer_key, encode_struct)
        beats = Beats(Random(rng.randrange(2**32)))
        self.context = Context(config, rng, ledger, RosterBook(), peers, beats)
        self.context.started_ms = now.mono_ms
        scope = RuntimeScope(config.pool, config.me.node_id)
        self.rights = WorkRights(self.context)
        self.worker = Worker(scope, self.rights.judge, restored.tables)
        self.neighbours = Neighbours(self.context, Watch(config.me.node_id))
        self.asks = Asks(self.context)
        self.leader: Leader | None = None
        self.inbound = Inbound(self)
        self.hardware: Hardware | None = None
        self.load = Load()
        self.addresses: tuple[str, ...] = ()
        self.runtime_reason = "the container runtime was not asked yet"
        self.failed = ""
        self.revision = 0
        self.led_by: tuple[NodeId | None, int] = (None, 0)
        self._handlers = self._table()
        peers.restore(
            decode_struct(PeerKnown, row) for row in restored.tables[BINDINGS_TABLE].values()
        )
        self.context.roster.restore(restored.tables["meta"].get(ROSTER_KEY), now)
        ledger.restore(restored, now)
        ledger.events.clear()  # What was applied before the restart was told then.

    def _table(self) -> Mapping[type, Callable[[Any, Now], None]]:
        return {
            inputs.Ticked: lambda event, now: None,
            inputs.Received: self.inbound.received,
            inputs.StrangerHeard: lambda e, now: self.neighbours.stranger(e.peer_key, now),
            inputs.PeerConnected: lambda e, now: self.context.peers.connect(e.peer_key),
            inputs.PeerDisconnected: self._disconnected,
            inputs.ChainObserved: self._chain_observed,
            inputs.ChainUnreachable: lambda e, now: self.context.roster.unreachable(e.reason),
            inputs.HardwareObserved: self._hardware_observed,
            inputs.RuntimeObserved: self._runtime_observed,
            inputs.AddressesObserved: self._addresses_observed,
            inputs.Asked: self._asked,
            inputs.LoopLagged: self._lagged,
            inputs.PersistFailed: self._persist_failed,
            inputs.StopAsked: self._stop_asked,
        }

    def introduce(self, binding: PeerBinding) -> None:
        """Our own binding, new or renewed: it is handed out with those of others."""
        self.context.effects += self.context.peers.learn(PeerKnown(binding, self.addresses))

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
        if self.failed:
            return self._mute()
        for _ in range(SETTLE_ROUNDS):
            self._advance(now)
            if not self._settle(now):
                break
        return self._collect(now)

    def _advance(self, now: Now) -> None:
        """Let every part do what is due."""
        ledger, context = self.context.ledger, self.context
        context.roster.tick(now)
        ledger.follow_root(context.roster.root, now)
        ledger.tick(now)
        self._lead_or_not(now)
        if self.leader is not None and ledger.leads:
            self.leader.tick(now)
        watch_ms = self.neighbours.watch.wakeup_ms()
        if now.mono_ms >= self.neighbours.round_due_ms or (
            watch_ms is not None and now.mono_ms >= watch_ms
        ):
            for node_id, reason in self.neighbours.watched(now):
                if self.leader is not None and ledger.leads:
                    self.leader.hinted(node_id, reason, now)
        self.neighbours.tick(now)
        self.asks.tick(now)
        self._fetch(now)
        self._work(now)

    def _settle(self, now: Now) -> bool:
        """Tell the parts what the log did; True when there was anything, so that they go on."""
        ledger = self.context.ledger
        applied, ledger.applied = ledger.applied, []
        readable, ledger.readable = ledger.readable, []
        unreadable, ledger.unreadable = ledger.unreadable, []
        for entry in applied:
            self.asks.applied(entry, now)
            if self.leader is not None:
                self.leader.applied(entry.index)
        for number, index in readable:
            self.asks.readable(number, index, now)
        for number in unreadable:
            self.asks.unreadable(number)
        return bool(applied or readable or unreadable)

    def _lead_or_not(self, now: Now) -> None:
        ledger = self.context.ledger
        leads = ledger.role is RaftRole.LEADER
        if self.leader is not None and (not leads or self.leader.term != ledger.term):
            self.leader = None
            self.asks.deposed()
            self.context.log(Level.INFO, "this node leads no more", term=ledger.term)
        if leads and self.leader is None:
            self.leader = Leader.begin(self.context, now)
            self.context.log(Level.INFO, "this node leads", term=ledger.term)
        led_by = self.context.leader(now)
        if led_by != self.led_by[0]:
            self.led_by = (led_by, now.wall_ms)
            self.worker.connected(now)

    def _fetch(self, now: Now) -> None:
        """Catch up with the log, being no participant."""
        context = self.context
        peers = tuple(key for key, _ in context.peers.connected_members())
        ask = context.ledger.ask(context.last_request + 1, peers, context.roster.size(), now)
        if ask is not None:
            context.request()
            context.tell(ask.peer_key, ask.message)

    def _work(self, now: Now) -> None:
        """The worker's part, and what it has to report to the leader."""
        context = self.context
        self.worker.member(context.roster.belongs(context.me))
        if context.roster.out_finally(context.me):
            self.worker.leave(now)
        self.worker.tick(now)
        leader = context.leader(now)
        if leader is None:
            self.worker.wait(now)
            return
        report = self.worker.report(now)
        if report is None:
            return
        if leader != context.me:
            context.send(leader, report)
        elif self.leader is not None and context.ledger.leads:
            self.leader.reports.take(context.me, report, now)

    # --- what comes out ---------------------------------------------------------------------------

    def _collect(self, now: Now) -> list[AnyEffect]:
        """Everything that is to be made durable first, then the rest in its order."""
        context, ledger = self.context, self.context.ledger
        self._beat(now)
        raft_sends, ledger.send = ledger.send, []
        events, ledger.events = ledger.events, []
        self._to_myself(now)
        operations: list[PersistOp] = []
        rest: list[AnyEffect] = []
        work, worker_effects = self.worker.take()
        operations += ledger.take_persist()
        operations += work
        for effect in context.effects:
            if isinstance(effect, Persist):
                operations += effect.operations
            else:
                rest.append(effect)
                if isinstance(effect, AdmitPeer):
                    self.inbound.admitted(effect, now)
        context.effects = []
        sends = [SendTo(peer_key, message) for peer_key, message in raft_sends]
        first: list[AnyEffect] = [Persist(tuple(operations))] if operations else []
        return [*first, *sends, *rest, *worker_effects, *(Emit(event) for event in events)]

    def _to_myself(self, now: Now) -> None:
        """Orders and answers of a leader to its own worker do not travel."""
        mine = self.context.config.me.peer_key
        for _ in range(SETTLE_ROUNDS):
            to_me = [e for e in self.context.effects if isinstance(e, SendTo) and
                     e.peer_key == mine]  # fmt: skip
            if not to_me:
                return
            self.context.effects = [e for e in self.context.effects if e not in to_me]
            for effect in to_me:
                self.inbound.from_myself(effect.message, now)
            self._advance(now)
            self._settle(now)

    def _beat(self, now: Now) -> None:
        """Our heartbeat, where it is due; it is heard here as it is by others."""
        context = self.context
        if self.hardware is None or not self._speaks:
            return
        content = heartbeat(
            context, self.worker, self.hardware, self.load, self.addresses, self.trouble, now
        )
        context.beats.offer(content)
        due = context.beats.take_due(content, context.roster.size(), now)
        context.beats.hear_own(context.me, content, context.config.incarnation, now)
        context.roster.heard(context.me, now)
        if due is not None:
            context.publish(due)

    @property
    def _speaks(self) -> bool:
        """Whether this node sends heartbeats: a member that knows what it has."""
        return self.hardware is not None and self.context.roster.belongs(self.context.me)

    def _mute(self) -> list[AnyEffect]:
        """After a failed write nothing is promised: callers are told, peers hear nothing."""
        error = StoreFailed(f"This agent cannot write: {self.failed}", hint="Mend the disk.")
        waiting = [e for e in self.context.effects if isinstance(e, (Log, Reply))]
        refused = [
            Reply(e.request_id, error) if isinstance(e, Reply) and isinstance(e.result, Accepted)
            else e for e in waiting
        ]  # fmt: skip
        self.context.effects = []
        return [*refused, *self.asks.drop_all(error)]

    @property
    def next_wakeup_ms(self) -> int:
        """When `step` is wanted next, on the monotonic clock."""
        ledger = self.context.ledger
        dues: list[int | None] = [
            ledger.raft.next_wakeup_ms if ledger.raft is not None else None,
            ledger.replica.wakeup_ms() if ledger.fetches else None,
            self.leader.wakeup_ms() if self.leader is not None and ledger.leads else None,
            self.neighbours.wakeup_ms(),
            self.asks.wakeup_ms(),
            self.worker.wakeup_ms,
            self.context.beats.wakeup_ms() if self._speaks else None,
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

    def _hardware_observed(self, event: inputs.HardwareObserved, now: Now) -> None:
        self.hardware = self.neighbours.hardware = event.hardware
        self.load = event.load

    def _runtime_observed(self, event: inputs.RuntimeObserved, now: Now) -> None:
        self.runtime_reason = "" if event.well else event.reason or "it does not answer"
        self.worker.runtime(event.well, event.reason)

    def _addresses_observed(self, event: inputs.AddressesObserved, now: Now) -> None:
        self.addresses = event.addresses

    def _asked(self, event: inputs.Asked, now: Now) -> None:
        if isinstance(event.request, InviteOffered):
            self.neighbours.offered(event.request.invite, now)
            done = Accepted(NO_TASK, 0, self.context.leader(now))
            self.context.effects.append(Reply(event.request_id, done))
        else:
            self.asks.asked(event, now)

    def _lagged(self, event: inputs.LoopLagged, now: Now) -> None:
        if self.leader is not None:
            self.leader.health.lagged(now)
        self.context.log(Level.WARNING, "the loop was late", lag_ms=event.lag_ms)

    def _stop_asked(self, event: inputs.StopAsked, now: Now) -> None:
        """This agent is about to end: hand leadership on, so that nobody has to wait for it."""
        if self.leader is not None:
            self.leader.committee.retire(now)

    def _persist_failed(self, event: inputs.PersistFailed, now: Now) -> None:
        self.failed = event.reason
        self.context.log(Level.ERROR, "the disk refuses to write: silent", reason=event.reason)

    # --- what it says of itself -------------------------------------------------------------------

    @property
    def trouble(self) -> str:
        """Why no work should come here, or ""."""
        if self.failed:
            return f"cannot write: {self.failed}"
        if self.context.peers.superseded:
            return "another agent uses its node key"
        return self.runtime_reason

    def problems(self, now: Now) -> tuple[str, ...]:
        """What keeps this node from taking part, and who has to do what."""
        context, out = self.context, [self.trouble] if self.trouble else []
        roster = context.roster
        if roster.problem:
            out.append(f"The chain cannot be read: {roster.problem}")
        if not roster.known:
            return (*out, "The pool's roster was not read yet.")
        if not roster.belongs(context.me):
            out.append("This node is not in the pool: `p2pool agent run --provider-key` joins it.")
        if roster.root is None:
            out.append(
                "The pool has no root record in a final block: its creator or manager runs "
                "`p2pool pool start`."
            )
        elif context.leader(now) is None:
            out.append("The pool has no leader now.")
        return tuple(out)

    def view(self, now: Now) -> View:
        """All that this node knows, frozen."""
        return build_view(self.context, self.revision, self.led_by[1], self.problems(now), now)
