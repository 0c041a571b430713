"""What a leader knows of each follower, and how it sends to it.

Intuition: a leader that does not know where a follower's log diverges from its own probes with one
append at a time; once they agree it streams; if it has compacted away what the follower lacks, it
sends a snapshot first. As in etcd's `Progress`:

                                 agreed
                  +---------------------------------+
                  |                                 v
    elected   +-------+         refused        +-----------+
    --------> | PROBE | <--------------------- | REPLICATE | (agreed: stays)
              +-------+                        +-----------+
    refused:      |                              |     ^
    stays         | compacted          compacted |     | installed
                  v                              v     |
                +-----------------------------------------+
                |                 SNAPSHOT                |
                +-----------------------------------------+

Unlike in etcd, a follower goes from SNAPSHOT to REPLICATE at once: its answer says that it holds
the whole snapshot, so the leader knows where the logs agree.

A follower's word alone moves this, and it may lie: one that accepts and refuses in turn draws the
same entries again and again. So what goes out a second time has a budget (`Repeats`).

Invariants: only `TRANSITIONS` changes the state; a snapshot is in flight in SNAPSHOT and in no
other state; every step back clears the appends in flight; what a follower was never sent costs it
nothing, and while its budget is spent it gets empty appends.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum

import attrs

from p2pool.model import limits
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Entry, Voter


@attrs.define
class Sending:
    """A snapshot on its way to one follower: the same one to the end, though newer ones are made.

    `waited`: append intervals since the part at `offset` went out. `sent_bytes`: how far any part
    of it reached.
    """

    index: int
    term: int
    data: bytes = attrs.field(repr=False)
    certificate: tuple[bytes, ...] = attrs.field(default=(), repr=False, kw_only=True)
    offset: int = 0
    waited: int = 0
    sent_bytes: int = 0


class ProgressState(Enum):
    """How a leader sends to a follower. `TRANSITIONS` says what leads where."""

    PROBE = "probe"
    """The leader does not know where the logs agree: it sends one append per answer."""
    REPLICATE = "replicate"
    """They agree up to `match_index`: appends go out ahead of their answers."""
    SNAPSHOT = "snapshot"
    """What it lacks is compacted away: it gets a snapshot, and appends that keep authority."""


class ProgressEvent(Enum):
    """What moves a follower's progress."""

    AGREED = "agreed"
    """It accepted an append, so its log matches ours up to there."""
    REFUSED = "refused"
    """It refused an append: the logs diverge further back."""
    COMPACTED = "compacted"
    """The log begins after the entry that it needs next."""
    INSTALLED = "installed"
    """It holds the snapshot, or everything in it."""


_S, _E = ProgressState, ProgressEvent
TRANSITIONS: Mapping[ProgressState, Mapping[ProgressEvent, ProgressState]] = {
    _S.PROBE: {_E.AGREED: _S.REPLICATE, _E.REFUSED: _S.PROBE, _E.COMPACTED: _S.SNAPSHOT},
    _S.REPLICATE: {_E.AGREED: _S.REPLICATE, _E.REFUSED: _S.PROBE, _E.COMPACTED: _S.SNAPSHOT},
    # Answers to the appends beside it mean nothing, until one shows that it holds the snapshot.
    _S.SNAPSHOT: {_E.INSTALLED: _S.REPLICATE},
}


@attrs.frozen
class NotYet:
    """A follower takes no entry from `index` on yet, for its date or its signer, since a moment."""

    since_ms: int
    index: int


@attrs.define
class Repeats:
    """What one follower may still be sent a second time, below zero by one frame at most."""

    left_bytes: int = 1024 * limits.SENT_AGAIN_KIB_BURST
    refilled_ms: int | None = None

    def refill(self, now_ms: int) -> None:
        """Time pays for more."""
        since_ms = now_ms - self.refilled_ms if self.refilled_ms is not None else 0
        more = since_ms * 1024 * limits.SENT_AGAIN_KIB_PER_S // 1000
        self.left_bytes = min(self.left_bytes + more, 1024 * limits.SENT_AGAIN_KIB_BURST)
        self.refilled_ms = now_ms


@attrs.define
class Progress:
    """What a leader knows of one follower. `answered_round`: the newest frame that it answered.

    `in_flight`: the last index and the size of each append without an answer.
    `told_commit`: the commit index in the last frame to it, which may be lost.
    `sending`: the snapshot in flight, in SNAPSHOT and in no other state.
    `sent_index`: the highest entry that was ever sent to it.
    `not_yet`: the entry that it does not take yet.
    `refused_round`: frames up to this one had left when it last made us go back.
    """

    next_index: int
    match_index: int = 0
    state: ProgressState = ProgressState.PROBE
    active: bool = False
    in_flight: deque[tuple[int, int]] = attrs.field(factory=deque)
    in_flight_bytes: int = 0
    answered_round: int = 0
    heard_ms: int | None = None
    told_commit: int = 0
    sending: Sending | None = None
    sent_index: int = 0
    refused_round: int = 0
    repeats: Repeats = attrs.field(factory=Repeats)
    not_yet: NotYet | None = None

    @property
    def has_room(self) -> bool:
        """Whether another append with entries may be sent ahead of the answers."""
        if self.next_index <= self.sent_index and self.repeats.left_bytes <= 0:
            return False
        streams = self.state is ProgressState.REPLICATE
        most = limits.APPENDS_IN_FLIGHT_MAX if streams else 1
        room = self.in_flight_bytes < limits.APPENDS_IN_FLIGHT_MAX_BYTES
        return room and len(self.in_flight) < most

    def sent(self, entries: Sequence[Entry]) -> None:
        """An append with entries is in flight."""
        size, last_index = sum(len(e.body) for e in entries), entries[-1].index
        again = [len(e.body) for e in entries if e.index <= self.sent_index]
        self.repeats.left_bytes -= sum(again) + len(again) * limits.SENT_AGAIN_ENTRY_BYTES
        self.sent_index = max(self.sent_index, last_index)
        self.in_flight.append((last_index, size))
        self.in_flight_bytes += size
        if self.state is ProgressState.REPLICATE:
            # Optimistic: each entry travels once, unless the follower's refusal shows a loss.
            self.next_index = last_index + 1

    def agreed(self, match_index: int) -> None:
        """Its log matches ours up to an index; appends that end there or before have landed."""
        if self.state is ProgressState.PROBE:
            # The probe itself may be lost: with the smallest window nothing else would ever go.
            self._go_on_from(match_index + 1)
        self._move(ProgressEvent.AGREED)
        while self.in_flight and self.in_flight[0][0] <= match_index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]
        self.match_index = match_index
        self.next_index = max(self.next_index, match_index + 1)
        if self.not_yet is not None and self.not_yet.index <= match_index:
            self.not_yet = None

    def refused(self, next_index: int) -> None:
        """Go back to an index."""
        self._move(ProgressEvent.REFUSED)
        self._go_on_from(next_index)

    def compacted(self, sending: Sending) -> None:
        """What it lacks is compacted away: it gets a snapshot first."""
        self._move(ProgressEvent.COMPACTED)
        self._go_on_from(self.match_index + 1)
        self.sending = sending

    def installed(self, index: int) -> None:
        """It holds everything up to an index, and goes on with entries from there."""
        self._move(ProgressEvent.INSTALLED)
        self.match_index = max(self.match_index, index)
        self._go_on_from(self.match_index + 1)
        self.sending = None

    def _move(self, event: ProgressEvent) -> None:
        moved = TRANSITIONS[self.state].get(event)
        assert moved is not None, f"a follower in {self.state.name} cannot be {event.value}"
        self.state = moved

    def _go_on_from(self, next_index: int) -> None:
        """Forget the appends in flight: they follow entries that the follower lacks."""
        self.next_index = next_index
        self.in_flight.clear()
        self.in_flight_bytes = 0


@attrs.frozen
class Leaving:
    """A removed participant: its leader sends it the change until it holds it or time is up."""

    voter: Voter
    index: int
    deadline_ms: int


@attrs.define
class Receiving:
    """The parts received so far of one snapshot from one leader in one term."""

    name: tuple[int, StoreId, int, int, int] | None = None
    data: bytearray = attrs.field(factory=bytearray)
