"""A pool with delegates, fed by records."""

from typing import Any

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.model.access.delegations import Delegation, Quota, Scope, SignedDelegation
from p2pool.model.access.quotas import NO_USAGE, Usage, usage_of
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.features import DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Address, AllocationId, NodeId, TaskId
from p2pool.model.log.entries import Outcome, Placed, Placement, ReportApplied, RequestApplied
from p2pool.model.states import AllocationState
from tests.core.fsm.records import MANAGER, NODE, NOW_S, POOL, feed

FRIEND, OTHER_FRIEND = Address(b"f" * 20), Address(b"g" * 20)
CREATOR = Address(b"k" * 20)


def given(quota: Quota | None = None, **change: Any) -> Delegation:
    """What the manager lets the friend do."""
    plain = Delegation(
        pool_id=0,
        delegate=FRIEND,
        scope=Scope.SUBMIT,
        not_before_s=NOW_S - 60,
        not_after_s=NOW_S + 3600,
        quota=quota,
    )
    return attrs.evolve(plain, **change)


@attrs.define
class Delegated:
    """A state, and what delegates do to it."""

    level: FeatureLevel = DISTRUST_LEVEL
    state: PoolState = attrs.field(init=False)
    number: int = 0

    def __attrs_post_init__(self) -> None:
        self.state = PoolState(POOL, 1, level=self.level)

    def request(self, action: Action, target: str = "", text: str = "") -> TaskRequest:
        """A request that nobody has made yet."""
        self.number += 1
        name = self.number.to_bytes(32, "big")
        return TaskRequest(action, 0, target, text, name, NOW_S, NOW_S + 600)

    def submission(self, under: Delegation | None, **keys: Any) -> SignedRequest:
        """A task of the friend, which nobody has submitted yet."""
        spec = {"name": f"t-{self.number}", "image": "busybox:1", **keys}
        request = self.request(Action.SUBMIT, text=spec_json(spec))
        signed = SignedDelegation(under, b"d" * 65) if under is not None else None
        return SignedRequest(request, b"s" * 65, signed)

    def submit(
        self, under: Delegation | None, grantor: Address = MANAGER, gpus: int = 0, **keys: Any
    ) -> TaskId:
        """A task under a delegation (None: the manager's own); its id, whether it was taken."""
        if gpus:
            keys["resources"] = {"gpu": {"count": gpus}}
        signed = self.submission(under, **keys)
        signer = MANAGER if under is None else under.delegate
        feed(
            self.state,
            RequestApplied(signed, NODE, signer, None if under is None else grantor),
        )
        return task_id(POOL, signed.request)

    def ask(self, action: Action, target: str, text: str = "") -> None:
        """The manager asks for something."""
        signed = SignedRequest(self.request(action, target, text), b"s" * 65)
        feed(self.state, RequestApplied(signed, NODE, MANAGER))

    def revoke(self, account: Address = FRIEND, *, stop_running: bool = False) -> None:
        """The manager voids what an account holds."""
        text = '{"stopRunning":true}' if stop_running else ""
        self.ask(Action.REVOKE, account.hex(), text)

    def place(self, *names: tuple[TaskId, int], node: NodeId = NODE) -> None:
        """A leader places these copies in one entry, with GPUs that nobody holds."""
        placed = []
        for task, replica in names:
            name = AllocationId(task, replica)
            copy = self.state.allocation(name)
            count = self.state.tasks[task].spec.resources.gpu.count
            gpus = tuple(f"G-{task.hex()[:8]}-{replica}-{n}" for n in range(count))
            attempt = copy.next_attempt if copy is not None else 1
            placed.append(Placed(name, attempt, node, gpus))
        feed(self.state, Placement(tuple(placed)))

    def report(self, task: TaskId, becomes: AllocationState, replica: int = 0) -> None:
        """Its node says what became of a copy."""
        copy = self.copy(task, replica)
        assert copy.node_id is not None
        outcome = Outcome(copy.allocation, copy.attempt, becomes)
        feed(self.state, ReportApplied(copy.node_id, (outcome,)))

    def copy(self, task: TaskId, replica: int = 0) -> Allocation:
        """One copy of a task."""
        found = self.state.allocation(AllocationId(task, replica))
        assert found is not None
        return found

    def used(self, delegate: Address = FRIEND, grantor: Address = MANAGER) -> Usage:
        """What the state has counted."""
        return self.state.delegates.used(grantor, delegate)


def recounted(state: PoolState, delegate: Address, grantor: Address) -> Usage:
    """What a delegate uses, by a walk over all tasks."""
    found = NO_USAGE
    for task in state.tasks.values():
        mine = (task.record.signer, task.record.grantor) == (delegate, grantor)
        if not mine or task.delegation is None or task.finished:
            continue
        held = sum(copy.holds for copy in state.of_task(task.task_id))
        found = found.plus(usage_of(task.spec.resources, held))
    return found
