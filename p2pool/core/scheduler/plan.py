"""The scheduler: from the replicated state and the nodes' offers to a plan of placements.

Intuition: the leader asks whenever something changed. Tasks go by priority, then age; each waiting
copy goes to the node that `NodeRanking` names, and what it takes there is gone for the next. A copy
that finds no place gets a sentence that says why each node refused.

Invariants: pure and deterministic, whatever the order of the offers; no placed copy moves; a gang
is placed whole, in an entry of its own, or not at all; every waiting copy gets a placement or a
reason; every entry fits `ENTRY_MAX_BYTES`, and `core.fsm.apply` can apply them to this state in the
plan's order.
Source: docs/design/tasks.md, "Placement".
"""

from collections.abc import Callable
from itertools import count

import attrs

from p2pool.codec.text.clip import clipped
from p2pool.core.fsm.access.quotas import QuotaRoom, added
from p2pool.core.fsm.access.revocations import WITHDRAWN, withdrawn
from p2pool.core.fsm.nodes import back_of_late
from p2pool.core.fsm.state import Allocation, PoolState, Task
from p2pool.core.fsm.tasks import has_room_for_copy, waits_anew, wants_copy
from p2pool.core.scheduler.capacity import (
    Demand,
    NodeCapacity,
    NodeOffer,
    SecretReach,
    need_of,
    room_of,
)
from p2pool.core.scheduler.ranking import NodeRanking
from p2pool.model import limits
from p2pool.model.ids import AllocationId, NodeId
from p2pool.model.log.entries import Placed, Placement
from p2pool.model.states import AllocationState

Reach = Callable[[Task], SecretReach]
"""Who can get a task's secrets, as the leader knows it."""

PLACED_BYTES = 96
"""More than a `Placed` takes in bytes, without its GPUs."""
GPU_BYTES = 5
"""More than a GPU's name takes besides its own text."""
JUST_BACK = "its node was heard again a moment ago, and may still run it"
WAITS = "; waits: "
NEXT_TIME = "waits to be placed"
"""For copies beyond one plan: a new copy's reason, so that nothing changes in the log."""


@attrs.frozen
class Plan:
    """What the leader proposes, and why the copies that still wait found no place.

    Copies that do not exist yet (a system task's on nodes that refuse it) get no reason. `failed`:
    copies that every node which could run them refuses to start, and why.
    """

    placements: tuple[Placement, ...]
    reasons: tuple[tuple[AllocationId, str], ...]
    failed: tuple[tuple[AllocationId, str], ...] = ()


def plan(
    state: PoolState,
    offers: tuple[NodeOffer, ...],
    at_ms: int | None = None,
    *,
    whole: bool = False,
    reach: Reach | None = None,
) -> Plan:
    """Place at most `PLACEMENTS_PER_PLAN_MAX` waiting copies (a gang may go beyond): ask again once
    these entries are applied. `at_ms`: log time now, if it goes on without entries; `whole`: the
    offers leave out no node that might run a copy; `reach`: who can get a task's secrets."""
    by_name = sorted(offers, key=lambda offer: offer.node_id)
    rooms = {offer.node_id: room_of(state, offer) for offer in by_name}
    at_ms = state.log_time_ms if at_ms is None else at_ms
    planner = _Planner(state=state, rooms=rooms, at_ms=at_ms, whole=whole, reach=reach)
    for task in sorted(state.tasks.values(), key=_turn):
        planner.place(task)
    return Plan(planner.entries.finish(), tuple(planner.reasons), tuple(planner.failed))


def why_waiting(state: PoolState, copy: Allocation, reason: str) -> str:
    """What the log should say of a copy that waits for this reason; for one that had a place, also
    why it left that."""
    if copy.node_id is None:
        return reason
    if not waits_anew(state, copy) or reason in (JUST_BACK, NEXT_TIME):
        return copy.reason
    left, _, _ = copy.reason.partition(WAITS)
    return clipped(f"{left}{WAITS}{reason}", limits.TEXT_MAX_BYTES) if left else reason


def _turn(task: Task) -> tuple[int, int, bytes]:
    """High priority first, then the oldest."""
    return -task.spec.priority, task.index, task.task_id


@attrs.define
class _Entries:
    """Batches placements into entries of bounded size."""

    done: list[Placement] = attrs.field(factory=list)
    batch: list[Placed] = attrs.field(factory=list)
    size: int = PLACED_BYTES

    def add(self, placed: Placed) -> None:
        """Add one copy to the current entry."""
        size = _size(placed)
        if self.size + size > limits.ENTRY_MAX_BYTES or len(self.batch) >= limits.REPLICAS_MAX:
            self.flush()
        self.batch.append(placed)
        self.size += size

    def add_whole(self, gang: tuple[Placed, ...]) -> None:
        """Add a gang, in an entry of its own."""
        self.flush()
        self.done.append(Placement(gang))

    def flush(self) -> None:
        """Close the current entry."""
        if self.batch:
            self.done.append(Placement(tuple(self.batch)))
        self.batch, self.size = [], PLACED_BYTES

    def finish(self) -> tuple[Placement, ...]:
        """All entries."""
        self.flush()
        return tuple(self.done)


@attrs.define
class _Planner:
    """A plan in the making. `hopeless`: shapes of needs that no node fits any more."""

    state: PoolState
    rooms: dict[NodeId, NodeCapacity]
    at_ms: int
    whole: bool
    reach: Reach | None = None
    failed: list[tuple[AllocationId, str]] = attrs.field(factory=list)
    entries: _Entries = attrs.field(factory=_Entries)
    reasons: list[tuple[AllocationId, str]] = attrs.field(factory=list)
    quotas: QuotaRoom = attrs.field(init=False)
    hopeless: dict[tuple[object, ...], str] = attrs.field(factory=dict)
    placed: int = 0

    def __attrs_post_init__(self) -> None:
        self.quotas = QuotaRoom(self.state)

    def place(self, task: Task) -> None:
        """Place a task's waiting copies."""
        if task.finished or task.stop_requested:
            return
        if withdrawn(self.state, task):
            self._wait(self._waiting(task), WITHDRAWN)
            return
        if task.spec.system:
            self._place_system(task, self._need(task))
            return
        waiting = self._waiting(task)
        if not task.spec.gang:
            self._wait(tuple(c for c in waiting if self._just_back(c)), JUST_BACK)
            waiting = tuple(c for c in waiting if not self._just_back(c))
        if not waiting:
            return
        need = self._need(task)
        if self.placed >= limits.PLACEMENTS_PER_PLAN_MAX:
            self._wait(waiting, NEXT_TIME)
        elif len(need.set_aside) >= limits.SET_ASIDE_PER_TASK_MAX:
            # The pool remembers no more of them: it would try them all again, one after another.
            told = f"{_nodes(len(need.set_aside))} refused to start it; more are tried later"
            self._give_up(waiting, need, told)
        elif need.shape in self.hopeless:
            self._give_up(waiting, need, self.hopeless[need.shape])
        elif task.spec.gang:
            self._place_gang(task, waiting, need)
        else:
            self._place_each(task, waiting, need)

    def _need(self, task: Task) -> Demand:
        sealed = self.reach is not None and task.secrets.sealed
        secrets = self.reach(task) if self.reach is not None and sealed else None
        return need_of(task, self.state.set_aside.of_task(task.task_id), self.at_ms, secrets)

    def _waiting(self, task: Task) -> tuple[Allocation, ...]:
        """The copies that want a place; of a gang, all or none."""
        copies = self.state.of_task(task.task_id)
        if task.spec.gang:
            whole = bool(copies) and wants_copy(self.state, task, copies[0].allocation.replica)
            return copies if whole else ()
        return tuple(c for c in copies if wants_copy(self.state, task, c.allocation.replica))

    def _just_back(self, copy: Allocation) -> bool:
        """Whether a lost copy's node was heard again only now: first it says what it runs."""
        if copy.state is not AllocationState.LOST or copy.node_id is None:
            return False
        return back_of_late(self.state.node(copy.node_id), self.at_ms)

    def _place_each(self, task: Task, waiting: tuple[Allocation, ...], need: Demand) -> None:
        lineup = NodeRanking(self.rooms.values(), need)
        for number, copy in enumerate(waiting):
            if self.placed >= limits.PLACEMENTS_PER_PLAN_MAX:
                self._wait(waiting[number:], NEXT_TIME)
                return
            over = self.quotas.refusal(task, added(copy))
            if over is not None:
                self._wait((copy,), over)
                continue
            taken = lineup.take()
            if taken is None:
                self._give_up(waiting[number:], need, self._hopeless_because(need))
                return
            room, gpus = taken
            self.quotas.take(task, added(copy))
            self.entries.add(_placed(copy, room, gpus))
            self.placed += 1

    def _place_gang(self, task: Task, waiting: tuple[Allocation, ...], need: Demand) -> None:
        """Copies are equal and nodes independent, so greedy choice places all if anything does."""
        copies = sum(map(added, waiting))
        over = self.quotas.refusal(task, copies)
        if over is not None:
            self._wait(waiting, over)
            return
        lineup = NodeRanking(self.rooms.values(), need)
        taken: list[tuple[NodeCapacity, tuple[str, ...]]] = []
        for _ in waiting:
            got = lineup.take()
            if got is None:
                break
            taken.append(got)
        gang = tuple(
            _placed(copy, room, gpus) for copy, (room, gpus) in zip(waiting, taken, strict=False)
        )
        large = PLACED_BYTES + sum(map(_size, gang)) > limits.ENTRY_MAX_BYTES
        if len(gang) == len(waiting) and not large:
            self.quotas.take(task, copies)
            self.entries.add_whole(gang)
            self.placed += len(gang)
            return
        reason = f"{len(gang)} of the gang's {len(waiting)} copies fit; {self._refusals(need)}"
        if large:
            reason = "the gang is too large to be placed at once; submit it with fewer replicas"
        for room, gpus in reversed(taken):
            room.give_back(need, gpus)
        self._give_up(waiting, need, reason)

    def _place_system(self, task: Task, need: Demand) -> None:
        """Place a copy on each node that has none and fits it, under its old number if any."""
        copies = self.state.of_task(task.task_id)
        there = {c.node_id: c for c in copies if c.holds or not self._wants(task, c)}
        before = {c.node_id: c for c in reversed(copies) if c.node_id not in there}
        numbers = {c.allocation.replica: None for c in copies}
        free = (number for number in count() if number not in numbers)
        again: dict[AllocationId, None] = {}
        for node_id, room in self.rooms.items():
            if self.placed >= limits.PLACEMENTS_PER_PLAN_MAX:
                break
            if node_id in there or room.refusal(need) is not None:
                continue
            old = before.get(node_id)
            if old is None and not has_room_for_copy(self.state, task):
                continue
            if self.quotas.refusal(task, added(old)) is not None:
                break
            self.quotas.take(task, added(old))
            copy = old or Allocation(AllocationId(task.task_id, next(free)))
            again[copy.allocation] = None
            self.entries.add(_placed(copy, room, room.take(need)))
            self.placed += 1
        for copy in copies:
            if copy.allocation not in again and self._wants(task, copy):
                over = self.quotas.refusal(task, added(copy))
                self.reasons.append((copy.allocation, over or self._at_home(copy, need)))

    def _wants(self, task: Task, copy: Allocation) -> bool:
        return wants_copy(self.state, task, copy.allocation.replica)

    def _at_home(self, copy: Allocation, need: Demand) -> str:
        """Why a system task's copy does not go back to its node."""
        room = self.rooms.get(copy.node_id) if copy.node_id is not None else None
        if room is None:
            return "its node is not in the pool"
        refusal = room.refusal(need)
        return f"its node refuses it: {refusal}" if refusal is not None else NEXT_TIME

    def _give_up(self, waiting: tuple[Allocation, ...], need: Demand, reason: str) -> None:
        """Copies that fit no node now wait. They have failed where every node that could ever run
        them refuses to start them, and says that only its owner can change that."""
        if self.whole and need.set_aside and self._refused_everywhere(need):
            told = f"no node starts it: {self._refusals(need)}"
            self.failed += [(c.allocation, told) for c in waiting if c.node_id is None]
            waiting = tuple(c for c in waiting if c.node_id is not None)
        self._wait(waiting, reason)

    def _refused_everywhere(self, need: Demand) -> bool:
        able = [node_id for node_id, room in self.rooms.items() if room.suits(need)]
        everywhere = self.state.set_aside.everywhere
        return bool(able) and everywhere(need.task_id, able, self.at_ms)

    def _hopeless_because(self, need: Demand) -> str:
        """Why no node fits it. Free room only shrinks, so equal needs are as hopeless, unless an
        older copy of this very task stood in the way."""
        reason = self._refusals(need)
        if not any(need.task_id in room.leaving for room in self.rooms.values()):
            self.hopeless[need.shape] = reason
        return reason

    def _refusals(self, need: Demand) -> str:
        """The nodes' refusals, the most common first, within the length of a text."""
        said: dict[str, int] = {}
        for room in self.rooms.values():
            refusal = room.refusal(need)
            if refusal is not None:
                said[refusal] = said.get(refusal, 0) + 1
        parts: list[str] = []
        room_bytes, left = limits.TEXT_MAX_BYTES - 100, sum(said.values())
        for refusal, nodes in sorted(said.items(), key=lambda item: (-item[1], item[0])):
            part = f"{_nodes(nodes)}: {refusal}"
            room_bytes -= len(part.encode()) + 2
            if room_bytes < 0:
                parts.append(f"{_nodes(left)}: other reasons")
                break
            parts.append(part)
            left -= nodes
        return "; ".join(parts) or "no node is known yet"

    def _wait(self, waiting: tuple[Allocation, ...], reason: str) -> None:
        self.reasons += [(copy.allocation, reason) for copy in waiting]


def _placed(copy: Allocation, room: NodeCapacity, gpus: tuple[str, ...]) -> Placed:
    return Placed(copy.allocation, copy.next_attempt, room.offer.node_id, gpus)


def _size(placed: Placed) -> int:
    """An upper bound on its bytes in an entry."""
    return PLACED_BYTES + sum(len(uuid.encode()) + GPU_BYTES for uuid in placed.gpus)


def _nodes(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"
