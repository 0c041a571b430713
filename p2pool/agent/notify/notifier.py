"""Sends the pool's events to the receivers that the configuration names.

Intuition: the events that an agent keeps, on its disk too, are the queue, and a receiver is a
reader of them like any other: it has a place, gets what comes after it, in order, one message at a
time, and its place moves on. So a receiver that is slow or away costs this agent nothing but its
own place, and a restart of the agent loses no event. Where events went that it had not got, a `gap`
says so.

Invariants: the node never waits for a receiver; a place is written down after its message was
delivered or given up, so a message is delivered at least once; a place is written at most once in
WEBHOOK_PLACE_INTERVAL_MS; what is given up is counted and logged. Without receivers nothing runs.
Source: docs/operating.md, "Be told of events".
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import Any, cast

import attrs
import trio

from p2pool.agent.clock import read_clock
from p2pool.agent.event_hub import EventHub
from p2pool.agent.notify.message import Origin, message_body, message_id
from p2pool.agent.notify.patience import CHANCES, Patience, Step
from p2pool.codec.json.events import id_text
from p2pool.drivers.agent_log import get_logger
from p2pool.drivers.store.store import Store
from p2pool.drivers.webhooks.client import WebhookClient
from p2pool.drivers.webhooks.delivery import attempt
from p2pool.drivers.webhooks.receiver import Receiver
from p2pool.model import limits
from p2pool.model.errors import Overloaded, Stale, StoreFailed
from p2pool.model.ports.agent import WebhookStatus
from p2pool.model.ports.store import WEBHOOKS_TABLE, Delete, PersistOp, Put
from p2pool.model.ports.view import Event, EventId

log = get_logger(__name__)

_PLACE_BYTES = (8, 8, 4)


@attrs.define(eq=False)
class Delivery:
    """One receiver: up to where it has got the events, and how it goes."""

    receiver: Receiver
    client: WebhookClient
    hub: EventHub
    origin: Origin
    place: EventId | None
    moved: Callable[[], None]
    random: Random
    counters: Counter[str]
    voided: int
    patience: Patience = attrs.field(factory=Patience)
    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    problem: str = ""
    failing_since_ms: int = 0
    due_ms: int = 0
    ended: bool = False

    async def run(self) -> None:
        """Deliver until cancelled, or until the receiver wants no more."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.client.close_when_idle)
                while not self.ended:
                    await self._follow_on()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self.client.close()

    async def _follow_on(self) -> None:
        """Deliver until this reader has to begin again, at its place or, where the log became void,
        at the beginning of the next one."""
        try:
            await self._follow()
        except Overloaded:
            pass  # What it missed it gets after its place.
        except Stale as stale:
            if self.hub.voided != self.voided:
                self.voided = self.hub.voided
                await self._take(self.hub.begun_anew())
                return
            self.problem = stale.message
            await trio.sleep(limits.WEBHOOK_AHEAD_PAUSE_MS / 1000)

    async def _follow(self) -> None:
        """Deliver what comes after the place, one message after the other."""
        stream = await self.hub.listen(self.place)
        if not self.failing_since_ms:
            self.problem = ""
        if self.place is None:
            self._move(stream.begins)
        async with aclosing(cast(Any, stream.events)) as events:
            async for event in events:
                await self._take(event)
                if self.ended:
                    return

    async def _take(self, event: Event) -> None:
        if self.receiver.wants(event.kind):
            await self._deliver(event)
        if not self.ended:
            self._move(event.id)

    def _move(self, place: EventId) -> None:
        self.place = place
        self.moved()

    async def _deliver(self, event: Event) -> None:
        name, now_ms = message_id(event, self.origin), read_clock().wall_ms
        body = message_body(event, self.origin, now_ms)
        self.patience.begin(read_clock().mono_ms)
        while True:
            await trio.sleep(max(0, self.due_ms - read_clock().mono_ms) / 1000)
            outcome = await attempt(self.client, name, body, read_clock().wall_ms // 1000)
            now = read_clock()
            verdict = self.patience.judge(
                outcome.status,
                now.mono_ms,
                self.random.randint(0, CHANCES),
                outcome.retry_after_ms,
            )
            self.due_ms = now.mono_ms + verdict.pause_ms
            self._note(verdict.step, outcome.why, event)
            if verdict.step is not Step.AGAIN:
                return

    def _note(self, step: Step, why: str, event: Event) -> None:
        if step is Step.DELIVERED:
            self.delivered += 1
            self.counters["delivered"] += 1
            if self.problem:
                log.info("webhook delivers again", webhook=self.receiver.name)
            self.problem, self.failing_since_ms = "", 0
            return
        self.failed += 1
        self.counters["failed"] += 1
        if self.problem != why:
            log.warning("webhook does not get through", webhook=self.receiver.name, why=why)
        self.problem = why
        self.failing_since_ms = self.failing_since_ms or read_clock().wall_ms
        if step is Step.GIVEN_UP:
            self.given_up += 1
            self.counters["given_up"] += 1
            log.error(
                "webhook message given up",
                webhook=self.receiver.name,
                event_id=id_text(event.id),
                kind=event.kind,
                subject=event.subject,
                attempts=self.patience.attempts,
                why=why,
            )
        elif step is Step.ENDED:
            self.ended = True
            self.problem = "it answered that it is gone (410): nothing is sent until a restart"
            log.error("webhook ended", webhook=self.receiver.name, why=self.problem)

    @property
    def status(self) -> WebhookStatus:
        """How it goes, without what in its URL may be a key."""
        now = read_clock()
        waits_ms = self.due_ms - now.mono_ms if self.failing_since_ms and not self.ended else 0
        return WebhookStatus(
            name=self.receiver.name,
            url=self.receiver.shown,
            kinds=tuple(sorted(self.receiver.kinds)),
            delivered=self.delivered,
            failed=self.failed,
            given_up=self.given_up,
            read_up_to=id_text(self.place) if self.place is not None else "",
            failing_since_ms=self.failing_since_ms,
            next_attempt_ms=now.wall_ms + waits_ms if waits_ms > 0 else 0,
            problem=self.problem,
        )


class Notifier:
    """All receivers of one agent."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        hub: EventHub,
        store: Store,
        origin: Origin,
        random: Random,
    ) -> None:
        """Each goes on where the store says that it was, a new one with what happens from now
        on."""
        self.counters: Counter[str] = Counter()
        self._store = store
        self._moved = trio.Event()
        kept = store.restored.tables[WEBHOOKS_TABLE]
        self._written: dict[str, EventId | None] = {
            one.name: _place(kept.get(one.name.encode())) for one in receivers
        }
        self._forgotten = [name for name in kept if name.decode() not in self._written]
        self.deliveries = [
            Delivery(
                receiver=one,
                client=WebhookClient(one),
                hub=hub,
                origin=origin,
                place=self._written[one.name],
                moved=lambda: self._moved.set(),
                random=random,
                counters=self.counters,
                voided=hub.voided,
            )
            for one in receivers
        ]

    @property
    def statuses(self) -> tuple[WebhookStatus, ...]:
        """How it goes with each."""
        return tuple(one.status for one in self.deliveries)

    async def run(self) -> None:
        """Deliver until cancelled."""
        if not self.deliveries and not self._forgotten:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_places)
            for delivery in self.deliveries:
                nursery.start_soon(delivery.run)

    async def _write_places(self) -> None:
        """Write down where each receiver is, soon after it has moved."""
        if self._forgotten:
            self._moved.set()
        while True:
            await self._moved.wait()
            self._moved = trio.Event()
            operations: list[PersistOp] = [Delete(WEBHOOKS_TABLE, key) for key in self._forgotten]
            for one in self.deliveries:
                name, place = one.receiver.name, one.place
                if place is not None and place != self._written[name]:
                    self._written[name] = place
                    operations.append(Put(WEBHOOKS_TABLE, name.encode(), _place_bytes(place)))
            self._forgotten = []
            try:
                if operations:
                    await self._store.write(tuple(operations))
            except StoreFailed:
                return  # The loop's next write fails too, and begins the agent anew.
            await trio.sleep(limits.WEBHOOK_PLACE_INTERVAL_MS / 1000)


def _place_bytes(place: EventId) -> bytes:
    return b"".join(n.to_bytes(size, "big") for n, size in zip(place, _PLACE_BYTES, strict=True))


def _place(data: bytes | None) -> EventId | None:
    """The place in a row; None if there is none: then it begins with what happens from now on."""
    if data is None or len(data) != sum(_PLACE_BYTES):
        return None
    numbers = (data[:8], data[8:16], data[16:])
    epoch, index, number = (int.from_bytes(part, "big") for part in numbers)
    return epoch, index, number
