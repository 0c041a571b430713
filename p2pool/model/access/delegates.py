"""What a pool knows of its delegates: by which delegations their tasks are there, and what these
tasks use.

Intuition: a delegation is a paper that its holder keeps, and the pool sees it first inside a
submission. So who holds what is read from the tasks that the state has, and goes with the last of
them. What counts against a quota is counted as copies come and go, and never summed up over tasks.

Invariants: all of it follows from the tasks and copies in the state, so all replicas have the same,
also after a snapshot; a change costs what changed, and a reader what it reads. A delegate's use is
counted for each grantor apart, under all of that grantor's delegations together.
Source: docs/design/tasks.md, "Quotas".
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

import attrs

from p2pool.model.access.delegations import Delegation
from p2pool.model.access.quotas import NO_USAGE, Usage
from p2pool.model.ids import ADDRESS_BYTES, Address, TaskId

GRANT_ID_BYTES = 8
_NOBODY = Address(bytes(ADDRESS_BYTES))


@attrs.frozen(order=True)
class GrantPlace:
    """A delegation that was used: who holds it, who gave it, and the beginning of its digest."""

    delegate: Address
    grantor: Address
    grant_id: bytes

    @property
    def pair(self) -> "Pair":
        """Against whom the use counts."""
        return self.grantor, self.delegate


Pair = tuple[Address, Address]
"""Grantor and delegate."""


@attrs.frozen
class Grant:
    """A delegation by which tasks are there: how many of them live, how many have ended. Without
    one: an account whose delegations were revoked, and of which the pool has no task."""

    place: GrantPlace
    delegation: Delegation | None
    tasks: int = 0
    tasks_ended: int = 0


@attrs.define
class _Count:
    delegation: Delegation
    live: dict[TaskId, None] = attrs.field(factory=dict)
    ended: dict[TaskId, None] = attrs.field(factory=dict)


@attrs.define
class Delegates:
    """All delegations in use, by place, and what each pair of grantor and delegate uses."""

    _used: dict[Pair, Usage] = attrs.field(factory=dict)
    _counts: dict[GrantPlace, _Count] = attrs.field(factory=dict)
    _places: list[GrantPlace] = attrs.field(factory=list)
    _of_task: dict[TaskId, GrantPlace] = attrs.field(factory=dict)
    _tasks: dict[Address, dict[TaskId, None]] = attrs.field(factory=dict)
    _revoked: list[Address] = attrs.field(factory=list)

    # --- reading --------------------------------------------------------------------------------

    def used(self, grantor: Address, delegate: Address) -> Usage:
        """What an account uses under the delegations of another."""
        return self._used.get((grantor, delegate), NO_USAGE)

    def tasks_of(self, delegate: Address) -> tuple[TaskId, ...]:
        """The tasks that a delegate submitted as one, whoever gave it the right; oldest first."""
        return tuple(self._tasks.get(delegate, ()))

    def behind(self, place: GrantPlace | None) -> Iterator[Grant]:
        """The delegations in use behind a place, by delegate, and with them the accounts that hold
        none and were revoked; None: all."""
        places = iter(self._places) if place is None else self._places_behind(place)
        after = None if place is None else place.delegate
        at = 0 if after is None else bisect_right(self._revoked, after)
        bare = (a for a in self._revoked[at:] if a not in self._tasks)
        ahead = next(bare, None)
        for one in places:
            while ahead is not None and ahead < one.delegate:
                yield self._bare(ahead)
                ahead = next(bare, None)
            count = self._counts[one]
            yield Grant(one, count.delegation, len(count.live), len(count.ended))
        while ahead is not None:
            yield self._bare(ahead)
            ahead = next(bare, None)

    def of_account(self, delegate: Address) -> Iterator[Grant]:
        """What `behind` gives of one account."""
        start = GrantPlace(delegate, _NOBODY, b"")
        at = bisect_left(self._places, start)
        if delegate not in self._tasks and _holds(self._revoked, delegate):
            yield self._bare(delegate)
        while at < len(self._places) and (place := self._places[at]).delegate == delegate:
            count = self._counts[place]
            yield Grant(place, count.delegation, len(count.live), len(count.ended))
            at += 1

    def _places_behind(self, place: GrantPlace) -> Iterator[GrantPlace]:
        at = bisect_right(self._places, place)
        while at < len(self._places):
            yield self._places[at]
            at += 1

    def _bare(self, delegate: Address) -> Grant:
        return Grant(GrantPlace(delegate, _NOBODY, bytes(GRANT_ID_BYTES)), None)

    def __len__(self) -> int:
        """How many delegations are in use."""
        return len(self._places)

    # --- changing -------------------------------------------------------------------------------

    def put_task(
        self, task_id: TaskId, place: GrantPlace, delegation: Delegation, *, finished: bool
    ) -> None:
        """A task is there by a delegation; it may be there already, and have ended since."""
        count = self._counts.get(place)
        if count is None:
            count = self._counts[place] = _Count(delegation)
            insort(self._places, place)
        if task_id not in self._of_task:
            self._of_task[task_id] = place
            self._tasks.setdefault(place.delegate, {})[task_id] = None
        into, out = (count.ended, count.live) if finished else (count.live, count.ended)
        out.pop(task_id, None)
        into[task_id] = None

    def place_of(self, task_id: TaskId) -> GrantPlace | None:
        """By which delegation a task is there, if by any."""
        return self._of_task.get(task_id)

    def drop_task(self, task_id: TaskId) -> None:
        """A task is forgotten, and the delegation with its last one."""
        place = self._of_task.pop(task_id, None)
        if place is None:
            return
        count, mine = self._counts[place], self._tasks[place.delegate]
        count.live.pop(task_id, None)
        count.ended.pop(task_id, None)
        del mine[task_id]
        if not mine:
            del self._tasks[place.delegate]
        if not count.live and not count.ended:
            del self._counts[place]
            del self._places[bisect_left(self._places, place)]

    def count(self, pair: Pair, share: Usage, sign: int) -> None:
        """A copy takes its share, or gives it back (-1)."""
        after = self._used.get(pair, NO_USAGE).plus(share, sign)
        assert min(after.gpus, after.cpu_milli, after.replicas) >= 0, pair
        if after == NO_USAGE:
            self._used.pop(pair, None)
        else:
            self._used[pair] = after

    def note_revoked(self, delegate: Address) -> None:
        """An account's delegations were revoked."""
        if not _holds(self._revoked, delegate):
            insort(self._revoked, delegate)


def _holds(accounts: list[Address], account: Address) -> bool:
    at = bisect_left(accounts, account)
    return at < len(accounts) and accounts[at] == account
