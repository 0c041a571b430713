"""What must hold of what a member says: nobody takes more of one than its budget, in any while.

Counted from outside, at the door of each agent: gossip that got as far as the core, and the sealed
messages inside it that were opened.
"""

from collections import deque

import attrs

from p2pool.core.inputs import Received
from p2pool.model import limits
from p2pool.model.ids import PeerKey
from p2pool.wire.enclosures import enclosed_in
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import World

WHILE_MS = 2_000


@attrs.define
class Intake:
    """What each life of an agent took of each member's gossip lately: when, and what was inside."""

    world: World
    taken: dict[tuple[int, int, PeerKey], deque[tuple[int, tuple[bytes, ...]]]] = attrs.field(
        factory=dict
    )

    def took(self, m: Machine, event: Received) -> None:
        """A machine took a gossip message."""
        signer = event.verified.header.peer_key
        inside = enclosed_in(event.verified.message)
        lately = self.taken.setdefault((m.number, m.life, signer), deque())
        lately.append((self.world.now_ms, inside))
        while lately[0][0] <= self.world.now_ms - WHILE_MS:
            lately.popleft()
        messages = _budget(limits.GOSSIP_PER_ORIGIN_BURST, limits.GOSSIP_PER_ORIGIN_PER_S)
        if len(lately) > messages:
            raise Violation(f"node {m.number} took {len(lately)} gossip messages of one member")
        if len(lately) * len(inside) > _budget(
            limits.MEMBER_SIGNATURES_BURST, limits.MEMBER_SIGNATURES_PER_S
        ):
            opened = {one for _, words in lately for one in words}
            self._check_opened(m, len(opened))

    def _check_opened(self, m: Machine, opened: int) -> None:
        if opened > _budget(limits.MEMBER_SIGNATURES_BURST, limits.MEMBER_SIGNATURES_PER_S):
            raise Violation(f"node {m.number} opened {opened} sealed messages of one member")


def _budget(burst: int, per_s: int) -> int:
    """The most that a bucket lets through in a while."""
    return burst + per_s * WHILE_MS // 1_000
