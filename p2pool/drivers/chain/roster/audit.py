"""What is read again without an event, because an endpoint may have left one out.

Intuition: a pool of any size costs the same in rest, so it is read again bit by bit: the pool and
the list of its members now and then, and one member after the other.
"""

import attrs
import trio

from p2pool.drivers.chain.roster.events import Touched
from p2pool.drivers.chain.roster.trail import Read
from p2pool.model import limits

NEVER_S = float("-inf")


@attrs.define
class Audit:
    """When what was read last. `at`: which member is next."""

    listed_s: float = NEVER_S
    member_s: float = NEVER_S
    at: int = 0
    _listing: bool = False
    _one: bool = False

    def due(self, old: Read) -> Touched:
        """What is due now."""
        now_s = trio.current_time()
        self._listing = now_s - self.listed_s >= limits.CHAIN_FULL_READ_INTERVAL_MS / 1000
        members = old.roster.members
        self._one = bool(members) and now_s - self.member_s >= limits.CHAIN_MEMBER_READ_MS / 1000
        node = {members[self.at % len(members)].node_id} if self._one else set()
        return Touched(pool=self._listing, members=self._listing, nodes=frozenset(node))

    def read(self, whole: bool) -> None:
        """It was read."""
        now_s = trio.current_time()
        if whole or self._listing:
            self.listed_s = now_s
        if whole or self._one:
            self.member_s, self.at = now_s, self.at + 1
        self._listing = self._one = False
