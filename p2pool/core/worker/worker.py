"""The worker: one node's share of the pool's work, reconciled with its actual containers.

Intuition: orders say what is wanted, listings say what is. Each step closes the gap by at most one
effect for each item, and waits for its outcome. Only an explicit stop ends a copy: one that is
neither wanted nor to be stopped runs on, and the worker reports it until the leader decides.

Invariants: one high-water token, durable before an order is answered, and no older order is obeyed;
an item is on disk before its container starts; this node judges the rights when an order names a
copy, and before each start and restart whether they were revoked since; a GPU gets a new holder
only once the old one is gone; an older attempt ends before a newer one starts; the worker repeats
an outcome until it is settled. While the engine is away, nothing counts as ended.
Source: docs/design/tasks.md, "The worker"; Nomad's client, kubelet's reconciliation.
"""

from collections.abc import Callable, Mapping

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.rows import put_record
from p2pool.codec.text.clip import clipped
from p2pool.core.worker import events as ev
from p2pool.core.worker import previous_epoch, reconcile
from p2pool.core.worker.attempt import Attempt, Key, has_row, item_of, row_key, take
from p2pool.core.worker.start_record import StartRecord
from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest, Signers
from p2pool.model.access.verdicts import Verdict
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Refusal, RuntimeUnavailable
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import ZERO_TOKEN, AllocationId, Digest, TaskId, Token
from p2pool.model.log.entries import Outcome
from p2pool.model.machine.hardware import FreeResources, Hardware
from p2pool.model.messages.gossip import AllocationStatus
from p2pool.model.messages.task_streams import FullReason
from p2pool.model.messages.work import Desired, Order, OrderAnswered, Report, ReportAnswered, Stop
from p2pool.model.ports.runtime import RuntimeScope
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.ports.store import Delete, PersistOp
from p2pool.model.states import AllocationState, StartRefusal
from p2pool.model.tasks.secrets import SecretOwner, TaskSecrets
from p2pool.model.timing import Now

Allowed = Callable[[Desired, Signers | None, int], str | None]
Judged = Callable[[Desired, Now], Verdict | None]
"""What the chain says of the contract accounts under a submission; None: it is asked."""
SecretsAllowed = Callable[[Desired, Signers | None, Signers | None, int], str | None]
"""Why who signed a copy's later secrets had no right to; beside them, who signed its submission."""
OpenSecrets = Callable[[AllocationId, int, TaskSecrets, SecretOwner, Now], SealedSecret | str]
"""What opens the secrets of a copy, or why it has to wait for them."""
ITEMS_TABLE = "orders"
META_TABLE = "meta"
TOKEN_KEY = b"worker.token"
S = AllocationState


@attrs.define
class Worker:
    """All items of one node."""

    scope: RuntimeScope
    allowed: Allowed
    restored: Mapping[str, Mapping[bytes, bytes]] = attrs.field(repr=False)
    keep_ms: int = limits.ENDED_KEEP_DEFAULT_S * 1000
    judged: Judged = lambda desired, now: None
    withdrawn: reconcile.Withdrawn = attrs.field(default=lambda _: None, repr=False)
    items: dict[Key, Attempt] = attrs.field(factory=dict)
    high_water: Token = ZERO_TOKEN
    obeyed_before: Token = ZERO_TOKEN
    listed: bool = False
    well: bool = False
    is_member: bool = False
    left: bool = False
    led_ms: int | None = None
    unled_due_ms: int | None = None
    level: FeatureLevel = BASE_LEVEL
    away_since_ms: int | None = None
    starts: StartRecord = attrs.field(factory=StartRecord)
    list_due_ms: int = 0
    listing: bool = False
    report_due_ms: int | None = None
    reported: dict[Key, Outcome] = attrs.field(factory=dict)
    full_reasons: BoundedDict[Key, str] = attrs.field(
        factory=lambda: BoundedDict(limits.FULL_REASONS_KEPT_MAX)
    )
    open_secrets: OpenSecrets = lambda *given: "this node opens no secrets"
    secrets_allowed: SecretsAllowed = lambda *given: None
    lacks_secrets: dict[AllocationId, int] = attrs.field(factory=dict)
    dirty: dict[Key, None] = attrs.field(factory=dict)
    persist: list[PersistOp] = attrs.field(factory=list)
    effects: list[ev.WorkerEffect] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Restore the orders from before the restart."""
        for row in self.restored[ITEMS_TABLE].values():
            item = item_of(row)
            self.items[item.key] = item
        kept = self.restored[META_TABLE].get(TOKEN_KEY)
        if kept is not None:
            self.high_water = decode_struct(Token, kept)
        self.restored = {}

    def begin(self, epoch: int) -> None:
        """The log on the disk is of this epoch: orders of earlier ones are older than any of it."""
        self.high_water = max(self.high_water, Token(epoch, 0, 0))

    # --- orders and reports -----------------------------------------------------------------------

    def obey(self, order: Order, signers: tuple[Signers | None, ...], now: Now) -> OrderAnswered:
        """Obey an order unless it is older than the last; `signers` signed its submissions."""
        if order.token < self.high_water:
            return OrderAnswered(
                order.token, self.high_water, False, "this node has obeyed a newer order"
            )
        if order.token == self.high_water:
            # The same state, but the leader may have found an unwanted copy here since.
            for stop in order.stops:
                self._stop_named(stop, order.token)
            return OrderAnswered(order.token, self.high_water, True, "")
        newer_term = order.token.term != self.high_water.term
        self.high_water = order.token
        self.persist.append(put_record(META_TABLE, TOKEN_KEY, order.token))
        wanted: dict[AllocationId, int] = {}
        renewers = iter(signers[len(order.desired) :])
        for number, desired in enumerate(order.desired):
            by = signers[number] if number < len(signers) else None
            renewer = next(renewers, None) if desired.secrets is not None else None
            wanted[desired.allocation] = desired.attempt
            self._want(desired, by, order.token, now)
            self._renew_secrets(desired, renewer, now)
        for item in self.items.values():
            if item.attempt < wanted.get(item.allocation, 0):
                self._stop(item)
        for stop in order.stops:
            self._stop_named(stop, order.token)
        if newer_term:
            self.connected(now)
        return OrderAnswered(order.token, self.high_water, True, "")

    def _want(self, desired: Desired, by: Signers | None, token: Token, now: Now) -> None:
        key = (desired.allocation, desired.attempt)
        item = self.items.get(key)
        if item is not None and item.desired is not None:
            if item.previous_epoch:
                item.previous_epoch, item.token = False, token
                self.dirty[key] = None
            return
        if not has_row(*key):
            return
        if item is None and len(self.items) >= limits.ITEMS_PER_NODE_MAX:
            return  # It stays assigned, and the leader's deadline or a stop ends it.
        try:
            new = take(desired.allocation, desired.attempt, token, desired)
        except Refusal:
            return  # No correct leader places a specification that nobody can parse.
        denied = self.allowed(desired, by, now.wall_ms // 1000)
        if item is not None:
            # A listing showed it before its order came: it is this copy. Who set its secrets since
            # is judged apart.
            first = attrs.evolve(desired, secrets=None, secrets_judged_at=None)
            item.desired, item.spec, item.token = first, new.spec, token
            item.previous_epoch, new = False, item
        elif denied is not None:
            new.become(S.FAILED, f"not allowed: {denied}")
        new.signers, new.fresh, new.unjudged = by, True, desired.signed.by_contract
        self.items[key] = new
        self.dirty[key] = None

    def _renew_secrets(self, desired: Desired, by: Signers | None, now: Now) -> None:
        """The secrets of a copy here were set anew: it gets them at its next start, if who signed
        that had the right to."""
        item = self.items.get((desired.allocation, desired.attempt))
        if item is None or desired.secrets is None or item.desired is None or item.ended:
            return
        if item.desired.secrets == desired.secrets and item.secret_signers is not None:
            return
        denied = self.secrets_allowed(desired, by, item.signers, now.wall_ms // 1000)
        if denied is not None:
            if item.desired.secrets is not None and item.secret_signers is None:
                # It came with them, and has no others. Another node may know better who rules the
                # pool. What was here before keeps what it has.
                why = f"not allowed: {denied}"
                reconcile.give_up(item, StartRefusal.LASTING, why, self.mark)
            return
        try:
            item.renew_secrets(desired, by)
        except Refusal:
            return  # No correct leader orders secrets that nobody can parse.
        item.trouble_since_ms = None
        self.dirty[item.key] = None

    def uses_secrets(self, digest: Digest) -> bool:
        """Whether a copy here that has not ended gets, or got, the secrets of that blob."""
        name = digest.hex()
        return any(not i.ended and i.secrets.digest == name for i in self.items.values())

    def _secrets_of(self, item: Attempt, now: Now) -> SealedSecret | str:
        owner = item.secret_owner(self.scope.pool)
        found = self.open_secrets(item.allocation, item.attempt, item.secrets, owner, now)
        if isinstance(found, str):
            self.lacks_secrets[item.allocation] = item.attempt
        return found

    def _stop_named(self, stop: Stop, token: Token) -> None:
        """An explicit stop. Note even a copy that never came here, to report its end."""
        key = (stop.allocation, stop.attempt)
        if not has_row(*key):
            return
        if key not in self.items and len(self.items) < limits.ITEMS_PER_NODE_MAX:
            self.items[key] = take(stop.allocation, stop.attempt, token, None)
        for item in self.items.values():
            if item.allocation == stop.allocation and item.attempt <= stop.attempt:
                self._stop(item)

    def _stop(self, item: Attempt, reason: str = "") -> None:
        if not item.stop_wanted and not item.ended:
            item.stop_wanted, item.stop_reason = True, reason
            self.dirty[item.key] = None

    def led(self, led: bool, now: Now) -> None:
        """Whether we hear a leader and it hears us. Copies whose task says so (`on_disconnect`
        stop, an advance order that its submitter signed) end by themselves after their whole window
        without a leader; the leader waits longer before it replaces them."""
        self.unled_due_ms = None
        if led or self.led_ms is None:
            self.led_ms = now.mono_ms
            return
        for item in self.items.values():
            most_ms = item.unled_max_ms
            if most_ms is None or item.stop_wanted:
                continue
            due_ms = self.led_ms + most_ms
            if now.mono_ms >= due_ms:
                self._stop(item, "no leader was heard within its reconnect window")
            else:
                self.unled_due_ms = min(due_ms, self.unled_due_ms or due_ms)

    def connected(self, now: Now) -> None:
        """There is another leader: it may lack what we reported to the last one."""
        self.reported.clear()
        self.report_due_ms = now.mono_ms

    def another_log(self, epoch: int, now: Now) -> None:
        """Orders come from another log from now on; copies of the last one run on. Back in an
        earlier epoch, orders from before are as old as they were: the disk has the newest that
        was obeyed, until one of the other log is."""
        before, self.obeyed_before = self.obeyed_before, self.high_water
        self.high_water = before if before.epoch == epoch else Token(epoch, 0, 0)
        previous_epoch.another_log(self.items)
        self.dirty |= dict.fromkeys(self.items)
        self.connected(now)

    def submitted(self, name: AllocationId) -> tuple[SignedRequest, Signers] | None:
        """The submission of a copy that came here by an order, and who signed it, as verified then;
        None if it did not, or ended long ago, or nobody knows yet who signed it."""
        for item in self.items.values():
            known = item.signers is not None and not item.unjudged
            if item.allocation == name and item.desired is not None and known:
                assert item.signers is not None
                return item.desired.signed, item.signers
        return None

    def signers_of(self, report: Report) -> tuple[Signers | None, ...]:
        """The signers of our own report's claims, as recovered when the orders came."""
        found = (self.items.get((c.allocation, c.attempt)) for c in report.claims)
        return tuple(item.signers if item is not None else None for item in found)

    def report(self, now: Now) -> Report | None:
        """The report that is due now, if any."""
        told, claimed = previous_epoch.reportable(self.items)
        news = {item.key: item.outcome() for item in told}
        fresh = any(self.reported.get(key) != outcome for key, outcome in news.items())
        due = self.report_due_ms is not None and now.mono_ms >= self.report_due_ms
        if not news:
            self.report_due_ms = None
        if not news or not (fresh or due):
            return None
        self.reported = news
        self.report_due_ms = now.mono_ms + limits.REPORT_RESEND_MS
        outcomes = tuple(news.values())[: limits.ALLOCATIONS_PER_NODE_MAX]
        return Report(self.high_water, outcomes, claimed)

    def wait(self, now: Now) -> None:
        """There is no leader to report to: look again later."""
        if self.report_due_ms is not None:
            self.report_due_ms = max(self.report_due_ms, now.mono_ms + limits.REPORT_RESEND_MS)

    def settle(self, answer: ReportAnswered) -> None:
        """The leader has logged these outcomes, or does not need them."""
        for outcome in answer.outcomes:
            item = self.items.get((outcome.allocation, outcome.attempt))
            if item is not None and item.outcome() == outcome:
                item.settled = outcome
                if item.ended:
                    self.dirty[item.key] = None

    # --- inputs -----------------------------------------------------------------------------------

    def step(self, event: ev.WorkerInput, now: Now) -> None:
        """Handle one input."""
        match event:
            case ev.ContainersListed():
                self.listing, self.listed = False, True
                self.list_due_ms = now.mono_ms + limits.RECONCILE_INTERVAL_MS
                reconcile.listed(self.items, event, self.mark, now)
                previous_epoch.found(self.items, self.high_water)
            case ev.ContainerStarted():
                item = self._item(event.status.allocation, event.status.attempt)
                if item is not None:
                    item.busy, item.failures, item.missing = False, 0, 0
                    item.fetching, item.trouble_since_ms = False, None
                    self.starts.succeeded()
                    reconcile.seen(item, event.status, self.mark, now)
            case ev.PullProgressed():
                item = self._item(event.allocation, event.attempt)
                if item is not None and item.busy and item.become(S.PULLING):
                    item.progress = event.progress
            case ev.QuotaExceeded():
                item = self._item(event.allocation, event.attempt)
                if item is not None:
                    reconcile.exceeded(item, event.reason)
            case ev.StartFailed():
                item = self._item(event.allocation, event.attempt)
                if item is not None:
                    refuses = self.level >= DISTRUST_LEVEL
                    reconcile.start_failed(item, event, self.mark, now, refuses=refuses)
                    if item.ended and item.refused is not StartRefusal.NONE:
                        task, signers = item.allocation.task_id, item.signers
                        self.starts.failed(event.code, event.message, task, signers, now)
            case ev.ContainerStopped():
                item = self._item(event.allocation, event.attempt)
                if item is not None:
                    item.busy = False
                    reconcile.gone(item, self.mark, now)
            case ev.StopFailed():
                item = self._item(event.allocation, event.attempt)
                if item is not None:
                    item.busy, item.failures = False, item.failures + 1
                    item.retry_ms = now.mono_ms + item.backoff_ms()
                    if not item.ended:
                        item.reason = event.message
            case ev.ContainerRemoved():
                item = self.items.pop((event.allocation, event.attempt), None)
                if item is not None:
                    self._forget(item.key)

    def _item(self, allocation: AllocationId, attempt: int) -> Attempt | None:
        return self.items.get((allocation, attempt))

    def mark(self, item: Attempt) -> None:
        """An item changed in what the disk keeps, which has room for a short reason."""
        self.dirty[item.key] = None
        if item.short_reason != item.reason:
            self.full_reasons.renew(item.key, clipped(item.reason, limits.ENGINE_TEXT_MAX_BYTES))

    def reasons_of(self, task_id: TaskId) -> tuple[FullReason, ...]:
        """Why copies of a task ended here or did not start, in full: those whose reasons are longer
        than what was reported, the newest first. Until the agent stops."""
        told = [
            FullReason(name, attempt, reason)
            for (name, attempt), reason in self.full_reasons.items()
            if name.task_id == task_id
        ]
        return tuple(told[::-1][: limits.FULL_REASONS_TOLD_MAX])

    def _forget(self, key: Key) -> None:
        self.dirty.pop(key, None)
        self.reported.pop(key, None)
        self.persist.append(Delete(ITEMS_TABLE, row_key(key)))

    def runtime(self, well: bool) -> None:
        """Whether the engine answers; while it does not, states stay as they are."""
        if well and not self.well:
            self.list_due_ms, self.away_since_ms = 0, None
        self.well = well

    def member(self, is_member: bool) -> None:
        """Whether this node is in the pool: it starts nothing before."""
        self.is_member = is_member
        if is_member:
            self.left = False

    def leave(self, reason: str) -> None:
        """This node is finally out of the pool, or the pool has ended: stop all its copies."""
        if not self.left:
            self.left = True
            for item in self.items.values():
                self._stop(item, reason)

    def gpus_lost(self, uuids: tuple[str, ...]) -> None:
        """GPUs are gone or broken for good: stop the copies that hold one; others replace them."""
        lost = dict.fromkeys(uuids)
        for item in self.items.values():
            gone = [uuid for uuid in item.gpus if uuid in lost]
            if gone:
                self._stop(item, f"its GPU {gone[0]} was lost")

    def tick(self, now: Now) -> None:
        """Close the gap between the wanted and the actual state."""
        if self.listing and now.mono_ms >= self.list_due_ms:
            self.listing = False  # The last one got lost; list again.
        if now.mono_ms >= self.list_due_ms and not self.listing:
            self.listing = True
            self.list_due_ms = now.mono_ms + limits.ENGINE_CALL_TIMEOUT_MS
            self.effects.append(ev.ListContainers())
        self.starts.tick(now)
        self.lacks_secrets = {}
        if not self.well:
            self._give_up_unbegun(now)
        if not (self.listed and self.well):
            return
        opened: reconcile.Opened = lambda item: self._secrets_of(item, now)  # noqa: E731
        for item in tuple(self.items.values()):
            if self.is_member and reconcile.waits_for_verdict(item, now):
                assert item.desired is not None
                found, refuses = self.judged(item.desired, now), self.level >= DISTRUST_LEVEL
                reconcile.judge(item, found, self.mark, now, refuses=refuses)
            effect = reconcile.drive(
                item=item,
                items=self.items,
                is_member=self.is_member,
                scope=self.scope,
                withdrawn=self.withdrawn,
                open_secrets=opened,
                mark=self.mark,
                now=now,
            )
            if effect is not None:
                self.effects.append(effect)
        for item in reconcile.to_drop(self.items, self.keep_ms, now):
            if item.container is not None:
                if not item.busy and now.mono_ms >= item.retry_ms:
                    item.retry_ms = now.mono_ms + limits.RECONCILE_INTERVAL_MS
                    self.effects.append(ev.RemoveContainer(item.allocation, item.attempt))
            else:
                del self.items[item.key]
                self._forget(item.key)

    def _give_up_unbegun(self, now: Now) -> None:
        """The engine is away: what was not begun here goes elsewhere after a while."""
        if self.away_since_ms is None:
            self.away_since_ms = now.mono_ms
        if now.mono_ms < self.away_since_ms + limits.START_TROUBLE_MAX_MS:
            return
        for item in self._unbegun():
            reason = f"{RuntimeUnavailable.code}: its container engine does not answer"
            reconcile.give_up(item, StartRefusal.PASSING, reason, self.mark)

    def _unbegun(self) -> list[Attempt]:
        """Copies for which surely nothing was begun: of those from before the agent's start only a
        listing tells. None at a level that has no words for it."""
        if self.level < DISTRUST_LEVEL:
            return []
        known = (item for item in self.items.values() if self.listed or item.fresh)
        return [item for item in known if reconcile.unbegun(item)]

    # --- outputs ----------------------------------------------------------------------------------

    def take(self) -> tuple[tuple[PersistOp, ...], tuple[ev.WorkerEffect, ...]]:
        """What to make durable, and what to do after that."""
        for key in self.dirty:
            if key in self.items:
                kept = self.items[key].stored()
                self.persist.append(put_record(ITEMS_TABLE, row_key(key), kept))
        persist, effects = tuple(self.persist), tuple(self.effects)
        self.dirty, self.persist, self.effects = {}, [], []
        return persist, effects

    def statuses(self) -> tuple[AllocationStatus, ...]:
        """The status of each item that has not ended, or whose end is not settled."""
        return tuple(_status(item) for item in self.items.values() if not item.ended or item.news)

    def free(self, hardware: Hardware) -> FreeResources:
        """The free part of the machine's offer."""
        held = [i for i in self.items.values() if not i.ended or i.alive]
        specs = [i.spec.resources for i in held if i.spec is not None]
        gpus = sum(len(i.gpus) for i in held)
        healthy = sum(g.healthy for g in hardware.gpus)
        return FreeResources(
            max(0, hardware.cpu_milli - sum(r.cpu_milli for r in specs)),
            max(0, hardware.memory_bytes - sum(r.memory_bytes for r in specs)),
            max(0, hardware.disk_bytes - sum(r.disk_bytes for r in specs)),
            max(0, healthy - gpus),
        )

    def wakeup_ms(self) -> int:
        """When to call `tick` next."""
        dues = [self.list_due_ms]
        if self.report_due_ms is not None:
            dues.append(self.report_due_ms)
        if self.unled_due_ms is not None:
            dues.append(self.unled_due_ms)
        if self.starts.out_until_ms is not None:
            dues.append(self.starts.out_until_ms)
        if self.away_since_ms is not None and self._unbegun():
            dues.append(self.away_since_ms + limits.START_TROUBLE_MAX_MS)
        if self.listed and self.well:
            dues += [i.retry_ms for i in self.items.values() if i.retry_ms and not i.ended]
        return min(dues)


def _status(item: Attempt) -> AllocationStatus:
    """An item's status for a heartbeat."""
    done, total = 0, 0
    if item.progress is not None:
        done, total = item.progress.done_bytes, item.progress.total_bytes
    return AllocationStatus(
        allocation=item.allocation,
        attempt=item.attempt,
        state=item.state,
        token=item.token,
        health=item.health,
        pulled_bytes=done,
        pull_total_bytes=total,
    )
