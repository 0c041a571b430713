"""Who has a place among the inbound connections, and who gives his up to a newcomer.

Intuition: whoever refuses newcomers when all places are taken lets the first comer shut the door:
six hundred silent sockets suffice. So a newcomer always gets a place, and somebody who has shown
less gives up his. A connection is *half open* until its handshake has begun and *shaking hands*
until both sides have proved their keys, then a *stranger* until its hello is judged, then a *guest*
or a *member*, and each kind has places of its own: nobody who only opens sockets costs a place of
those who have spoken. Within a kind the most
crowded network of addresses gives way, in it the most crowded address, and of that the quietest
connection. One that has sent anything counts as less quiet for a while: opening a socket costs
nothing, and an honest newcomer speaks at once. And one that has just come is left the moment that
a handshake takes: where hundreds come in a second, and all were let in, nobody would get further.

Invariants: members are never displaced, and the places that are theirs are never anybody else's. A
newcomer is refused only where nobody is quiet yet and no address is more crowded than its own, and
one that gets further where members have every place. Time is an argument.
Source: docs/design/messages.md, "What a peer may cost".
"""

from collections import Counter
from enum import IntEnum

import attrs

from p2pool.drivers.net.host.address_groups import AddressGroups
from p2pool.model import limits


class Stage(IntEnum):
    """How far a connection has come."""

    HALF_OPEN = 0
    HANDSHAKE = 1
    STRANGER = 2
    GUEST = 3
    MEMBER = 4


OPENED = tuple(stage for stage in Stage if stage is not Stage.HALF_OPEN)


@attrs.define(eq=False)
class Slot:
    """One inbound connection. `heard_ms`: when it last sent anything, or came."""

    groups: AddressGroups
    came_ms: int
    heard_ms: int = attrs.field(init=False)
    stage: Stage = Stage.HALF_OPEN
    spoke: bool = False

    def __attrs_post_init__(self) -> None:
        """Nothing was heard yet."""
        self.heard_ms = self.came_ms

    def heard(self, now_ms: int) -> None:
        """It sent something."""
        self.heard_ms = now_ms
        self.spoke = True

    @property
    def patience_ms(self) -> int:
        """Whose is lowest is the quietest."""
        return self.heard_ms + (limits.SPOKE_PATIENCE_MS if self.spoke else 0)


class Slots:
    """The places of one host."""

    def __init__(self, members_reserved: int) -> None:
        """All are free. `members_reserved`: how many guests leave to members."""
        self._most = {
            Stage.HALF_OPEN: limits.SLOTS_HALF_OPEN_MAX,
            Stage.HANDSHAKE: limits.SLOTS_HANDSHAKE_MAX,
            Stage.STRANGER: limits.SLOTS_STRANGERS_MAX,
            Stage.MEMBER: limits.CONNECTIONS_MAX,
        }
        before = limits.SLOTS_HANDSHAKE_MAX + limits.SLOTS_STRANGERS_MAX
        self._most[Stage.GUEST] = limits.CONNECTIONS_MAX - before - members_reserved
        self._taken: dict[Stage, dict[Slot, None]] = {stage: {} for stage in Stage}
        self._narrow: dict[Stage, Counter[bytes]] = {stage: Counter() for stage in Stage}
        self._wide: dict[Stage, Counter[bytes]] = {stage: Counter() for stage in Stage}

    def __len__(self) -> int:
        """How many places are taken."""
        return sum(map(len, self._taken.values()))

    def opened(self) -> int:
        """How many are past the first bytes: of these a host has CONNECTIONS_MAX."""
        return sum(map(self.count, OPENED))

    def count(self, stage: Stage) -> int:
        """How many connections have come so far, and no further."""
        return len(self._taken[stage])

    def holds(self, slot: Slot) -> bool:
        """Whether a connection still has its place."""
        return slot in self._taken[slot.stage]

    def come(self, groups: AddressGroups, now_ms: int) -> tuple[Slot | None, list[Slot]]:
        """A newcomer's place, and who gives way to it; None where there is no place for it."""
        newcomer = Slot(groups, now_ms)
        if self._leaves_no_time(newcomer):
            return None, []
        displaced = self._place(newcomer)
        return (None, []) if displaced is None else (newcomer, displaced)

    def reach(self, slot: Slot, stage: Stage) -> list[Slot] | None:
        """A connection has come further, or a member is a guest again; returns who gives way to it,
        None if it has itself to go, or has gone."""
        if not self.holds(slot):
            return None
        if stage is slot.stage:
            return []
        self.leave(slot)
        slot.stage = stage
        return self._place(slot)

    def leave(self, slot: Slot) -> None:
        """A connection has ended; one that gave way has already left."""
        if self.holds(slot):
            del self._taken[slot.stage][slot]
            for counts, group in self._counts(slot):
                counts[group] -= 1
                if not counts[group]:
                    del counts[group]

    def _leaves_no_time(self, newcomer: Slot) -> bool:
        """Whether all places are taken by such as have only just come, and from no more crowded
        addresses than the newcomer's."""
        if self.count(newcomer.stage) < self._most[newcomer.stage]:
            return False
        victim = self._quietest(newcomer.stage, newcomer)
        just_came = newcomer.came_ms - victim.came_ms < limits.SLOT_KEPT_MIN_MS
        return just_came and victim.groups.narrow == newcomer.groups.narrow

    def _place(self, slot: Slot) -> list[Slot] | None:
        """Put a connection among those of its stage; who gives way, None if nobody can."""
        displaced: list[Slot] = []
        if self.count(slot.stage) >= self._most[slot.stage]:
            displaced.append(self._quietest(slot.stage, slot))
        elif slot.stage is not Stage.HALF_OPEN and self.opened() >= limits.CONNECTIONS_MAX:
            lower = (one for one in OPENED if one is not Stage.MEMBER and self.count(one))
            crowded = max(lower, key=self.count, default=None)
            if crowded is None:
                return None
            displaced.append(self._quietest(crowded, slot))
        for gone in displaced:
            self.leave(gone)
        self._taken[slot.stage][slot] = None
        for counts, group in self._counts(slot):
            counts[group] += 1
        return displaced

    def _quietest(self, stage: Stage, newcomer: Slot) -> Slot:
        """Who gives way: of the most crowded network, of its most crowded address, the quietest.
        The newcomer counts where it comes from: whoever crowds displaces his own."""
        narrow, wide = self._narrow[stage].copy(), self._wide[stage].copy()
        for counts, group in ((narrow, newcomer.groups.narrow), (wide, newcomer.groups.wide)):
            if counts[group]:
                counts[group] += 1
        # Step by step: a crowd makes this often, and most fall out at the first look.
        most = max(wide.values())
        crowd = [one for one in self._taken[stage] if wide[one.groups.wide] == most]
        most = max(narrow[one.groups.narrow] for one in crowd)
        crowd = [one for one in crowd if narrow[one.groups.narrow] == most]
        return min(crowd, key=lambda one: one.patience_ms)

    def _counts(self, slot: Slot) -> tuple[tuple[Counter[bytes], bytes], ...]:
        return (
            (self._narrow[slot.stage], slot.groups.narrow),
            (self._wide[slot.stage], slot.groups.wide),
        )
