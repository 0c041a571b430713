"""Heartbeats: when ours is due, and what the newest one of each member said.

Intuition: gossip costs a node about the same at any size of pool, so the interval grows with the
roster: max(5 s, members / 20 s), a tenth of it jitter. A change goes out at once, but at most once
a second, so that a flapping task does not flood the pool.

Invariants: only the newest (incarnation, sequence) of each node is kept, with its sealed bytes, so
that a newcomer gets it with its proof. The hardware record travels when it changes and on request;
its digest always.
Source: docs/design/health.md, "Heartbeats".
"""

from collections import OrderedDict
from operator import attrgetter
from random import Random

import attrs

from p2pool.codec.digests import hardware_digest
from p2pool.model import limits
from p2pool.model.ids import Digest, NodeId
from p2pool.model.machine.hardware import Hardware
from p2pool.model.messages.gossip import AllocationStatus, Heartbeat
from p2pool.model.messages.registry import Verified
from p2pool.model.timing import Now
from p2pool.proofs.incarnations import is_later_run


@attrs.frozen
class ReceivedHeartbeat:
    """A node's newest heartbeat, when it arrived, and its sealed bytes."""

    heartbeat: Heartbeat
    incarnation: int
    sequence: int
    sent_at_ms: int
    heard_at: Now
    sealed: bytes


@attrs.define
class Heartbeats:
    """The newest heartbeat of each member, and the timer for our own."""

    rng: Random
    newest: "OrderedDict[NodeId, ReceivedHeartbeat]" = attrs.field(factory=OrderedDict)
    hardware: dict[NodeId, tuple[Digest, Hardware]] = attrs.field(factory=dict)
    last_sent_ms: int | None = None
    next_due_ms: int = 0
    changed: bool = True
    sent_content: Heartbeat | None = None

    def interval_ms(self, members: int) -> int:
        """The interval without a change, before jitter."""
        return max(
            limits.HEARTBEAT_MIN_INTERVAL_MS, members * 1000 // limits.HEARTBEAT_MEMBERS_PER_SECOND
        )

    def patience_ms(self, members: int) -> int:
        """How long the newest heartbeat of a member counts, in a pool of so many."""
        return limits.HEARTBEATS_MISSED_MAX * self.interval_ms(members)

    def wakeup_ms(self) -> int:
        """When our own next heartbeat is due, on the monotonic clock."""
        if not self.changed or self.last_sent_ms is None:
            return self.next_due_ms if self.last_sent_ms is not None else 0
        soonest = self.last_sent_ms + limits.HEARTBEAT_CHANGE_INTERVAL_MS
        return min(soonest, self.next_due_ms)

    def offer(self, content: Heartbeat) -> None:
        """Compare what we would send with what we sent last; load alone is no change."""
        said = self.sent_content
        if said is None:
            self.changed = True
            return
        if not self.changed and _told_at_once(content) != _told_at_once(said):
            self.changed = True

    def take_due(self, content: Heartbeat, members: int, now: Now) -> Heartbeat | None:
        """Our heartbeat if it is due, with the hardware record if its digest is new."""
        if now.mono_ms < self.wakeup_ms():
            return None
        said = self.sent_content
        if said is not None and said.hardware_digest == content.hardware_digest:
            content = attrs.evolve(content, hardware=None)
        interval_ms = self.interval_ms(members)
        jitter_ms = self.rng.randrange(interval_ms // 10 + 1)
        self.last_sent_ms = now.mono_ms
        self.next_due_ms = now.mono_ms + interval_ms - jitter_ms
        self.changed = False
        self.sent_content = content
        return content

    def hear(self, verified: Verified, now: Now) -> bool:
        """Keep a member's heartbeat if it is newer than the last; True if so."""
        beat = verified.message
        assert isinstance(beat, Heartbeat)
        header = verified.header
        old = self.newest.get(header.node_id)
        stamp = (header.incarnation, header.sequence)
        if old is not None and stamp <= (old.incarnation, old.sequence):
            heard_ms = old.heard_at.wall_ms
            if not is_later_run(header, old.incarnation, heard_ms, now.wall_ms):
                return False
        self.newest[header.node_id] = ReceivedHeartbeat(
            heartbeat=beat,
            incarnation=header.incarnation,
            sequence=header.sequence,
            sent_at_ms=header.sent_at_ms,
            heard_at=now,
            sealed=verified.sealed,
        )
        self.newest.move_to_end(header.node_id)
        if beat.hardware is not None:
            self.take_hardware(header.node_id, beat.hardware)
        while len(self.newest) > limits.MEMBERS_MAX:
            gone, _ = self.newest.popitem(last=False)
            self.hardware.pop(gone, None)
        return True

    def hear_own(self, me: NodeId, content: Heartbeat, incarnation: int, now: Now) -> None:
        """Keep our own heartbeat among the others'; unsealed, as only its receivers pass it on."""
        self.newest[me] = ReceivedHeartbeat(
            heartbeat=content,
            incarnation=incarnation,
            sequence=0,
            sent_at_ms=now.wall_ms,
            heard_at=now,
            sealed=b"",
        )
        if content.hardware is not None:
            self.hardware[me] = (content.hardware_digest, content.hardware)

    def fresh(self, node_id: NodeId, members: int, now: Now) -> Heartbeat | None:
        """What a node said last, in a pool of so many members, unless that is too long ago."""
        beat = self.newest.get(node_id)
        if beat is None or now.mono_ms - beat.heard_at.mono_ms > self.patience_ms(members):
            return None
        return beat.heartbeat

    def hardware_of(self, node_id: NodeId) -> Hardware | None:
        """The record behind the digest in a node's newest heartbeat, if we hold it."""
        beat = self.newest.get(node_id)
        record = self.hardware.get(node_id)
        if beat is None or record is None or record[0] != beat.heartbeat.hardware_digest:
            return None
        return record[1]

    def take_hardware(self, node_id: NodeId, hardware: Hardware) -> bool:
        """Keep a requested record if its digest is the one in the node's heartbeat."""
        beat = self.newest.get(node_id)
        named = hardware_digest(hardware)
        if beat is None or beat.heartbeat.hardware_digest != named:
            return False
        self.hardware[node_id] = (named, hardware)
        return True

    def lacks_hardware(self, node_id: NodeId) -> bool:
        """Whether we have a node's heartbeat but must ask for its hardware record."""
        return node_id in self.newest and self.hardware_of(node_id) is None

    def sealed(self) -> tuple[bytes, ...]:
        """The newest heartbeats, for a newcomer, newest first, in at most half a frame."""
        out: list[bytes] = []
        budget = limits.STREAM_FRAME_MAX_BYTES // 2
        for beat in reversed(self.newest.values()):
            if not beat.sealed:
                continue
            budget -= len(beat.sealed)
            if budget < 0 or len(out) >= limits.BEATS_PER_ANSWER_MAX:
                break
            out.append(beat.sealed)
        return tuple(out)


CAN_WAIT = ("hardware", "load", "applied_index")
_NEWS = attrgetter(
    *(f.name for f in attrs.fields(Heartbeat) if f.name not in (*CAN_WAIT, "allocations"))
)


def _told_at_once(heartbeat: Heartbeat) -> tuple[object, ...]:
    """A heartbeat without what changes all the time and can wait for the interval. Pull progress
    counts in tenths, so a pull costs the pool at most ten heartbeats."""
    allocations = tuple(_by_tenths(status) for status in heartbeat.allocations)
    return (*_NEWS(heartbeat), allocations)


def _by_tenths(status: AllocationStatus) -> AllocationStatus:
    if not status.pull_total_bytes:
        return status
    tenths = 10 * status.pulled_bytes // status.pull_total_bytes
    return attrs.evolve(status, pulled_bytes=tenths, pull_total_bytes=0)
