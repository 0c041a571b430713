"""What a leader knows of each follower, and what it sends to whom."""

from collections import deque

import attrs

from p2pool.model import limits
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Voter


@attrs.define
class Sending:
    """A snapshot on its way to one follower: the same one to its end, whatever is made meanwhile.

    `waited`: the append intervals since the part at `offset` was sent.
    """

    index: int
    term: int
    data: bytes = attrs.field(repr=False)
    offset: int = 0
    waited: int = 0


@attrs.define
class Progress:
    """What a leader knows of one follower. `answered_round`: the newest frame that it answered.

    `probing`: where the logs agree is not known, so one append waits for the answer to the last.
    `in_flight`: the last index and the bytes of each append that was not answered yet.
    `told_commit`: the commit index in the last frame to it, which may be lost.
    """

    next_index: int
    match_index: int = 0
    probing: bool = True
    active: bool = False
    in_flight: deque[tuple[int, int]] = attrs.field(factory=deque)
    in_flight_bytes: int = 0
    answered_round: int = 0
    heard_ms: int | None = None
    told_commit: int = 0
    sending: Sending | None = None

    @property
    def has_room(self) -> bool:
        """Whether another append with entries may be sent ahead of the answers."""
        most = 1 if self.probing else limits.APPENDS_IN_FLIGHT_MAX
        room = self.in_flight_bytes < limits.APPENDS_IN_FLIGHT_MAX_BYTES
        return room and len(self.in_flight) < most

    def sent(self, last_index: int, size: int) -> None:
        """An append with entries is under way."""
        self.in_flight.append((last_index, size))
        self.in_flight_bytes += size

    def freed(self, match_index: int) -> None:
        """What ends at or before an index is not under way any more: it came, or its answer did."""
        while self.in_flight and self.in_flight[0][0] <= match_index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]

    def probe(self, next_index: int) -> None:
        """Go back to an index, and forget what is under way: it follows on something lacking."""
        self.next_index, self.probing = next_index, True
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def installed(self, index: int) -> None:
        """A follower is known to hold all up to an index, and goes on with entries from there."""
        self.match_index = max(self.match_index, index)
        self.probe(self.match_index + 1)
        self.probing, self.sending = False, None


@attrs.frozen
class Leaving:
    """One that a change removed: told so by its leader, until it holds that or time is up."""

    voter: Voter
    index: int
    deadline_ms: int


@attrs.define
class Receiving:
    """The parts of one snapshot from one leader in one term, as far as they have come."""

    name: tuple[int, StoreId, int, int, int] | None = None
    data: bytearray = attrs.field(factory=bytearray)
