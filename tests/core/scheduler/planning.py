"""A pool as the scheduler's tests need it: submitted, placed and reported by real entries."""

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.entries import Record, encode_body
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import Allocation, PoolState
from p2pool.core.scheduler.capacity import NodeOffer
from p2pool.core.scheduler.plan import Plan, plan
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.ids import Address, AllocationId, NodeId, PoolRef, TaskId
from p2pool.model.log.entries import NodeChanged, Outcome, ReportApplied, RequestApplied
from p2pool.model.log.raft import Entry
from p2pool.model.machine.hardware import Gpu, Hardware
from p2pool.model.states import AllocationState, Intent, Reachability

MIB = 1024 * 1024
NOW_S = 1_700_000_000
MANAGER = Address(b"m" * 20)


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(20, "big"))


def card(name: str, model: str = "NVIDIA A100", gib: int = 40, healthy: bool = True) -> Gpu:
    return Gpu(name, model, gib * 1024 * MIB, healthy)


def offer(
    number: int,
    *gpus: Gpu,
    provider: int = 0,
    cpu_milli: int = 4000,
    memory_mib: int = 4096,
    disk_mib: int = 1024,
    eligible: bool = True,
    reason: str = "",
) -> NodeOffer:
    """A node of that number; each has a provider of its own unless one is given."""
    owner = Address((1000 + (provider or number)).to_bytes(20, "big"))
    hardware = Hardware(
        "Ryzen",
        cpu_milli,
        memory_mib * MIB,
        disk_mib * MIB,
        gpus,
        runtime="docker",
        architecture="x86_64",
    )
    return NodeOffer(node_id(number), owner, hardware, eligible, reason)


@attrs.define
class Pool:
    """A state and what is done to it, each time by an entry of the log."""

    state: PoolState = attrs.field(factory=lambda: PoolState(PoolRef(31337, MANAGER, 0), 1))

    def feed(self, record: Record) -> None:
        """Apply one entry, through its bytes, which must be small enough for the log."""
        kind, body = encode_body(record, self.state.level)
        assert len(body) <= limits.ENTRY_MAX_BYTES
        index = self.state.applied_index + 1
        apply_entry(self.state, Entry(index, 1, kind, NOW_S * 1000 + index, body))

    def submit(self, **keys: object) -> TaskId:
        """A task with these keys of a specification; 1 CPU and 256 MiB unless it says else."""
        text = spec_json({"name": "t", "image": "busybox:1", **keys})
        return self._ask(Action.SUBMIT, "", text)

    def stop(self, task: TaskId) -> None:
        """Its submitter asks for its end."""
        self._ask(Action.STOP, task.hex(), "")

    def drain(self, number: int) -> None:
        """Somebody drains a node."""
        self._ask(Action.DRAIN, node_id(number).hex(), "")

    def resume(self, number: int) -> None:
        """Somebody puts it back."""
        self._ask(Action.RESUME, node_id(number).hex(), "")

    def judge(self, number: int, reachability: Reachability) -> None:
        """The leader's word on a node."""
        self.feed(NodeChanged(node_id(number), reachability, Intent.ELIGIBLE))

    def report(self, copy: Allocation, becomes: AllocationState) -> None:
        """News of a copy, from the node that has it."""
        assert copy.node_id is not None
        outcome = Outcome(copy.allocation, copy.attempt, becomes)
        self.feed(ReportApplied(copy.node_id, (outcome,)))

    def run(self, *offers: NodeOffer, later_ms: int = 0) -> Plan:
        """Plan and apply the plan, so long after the last entry."""
        made = plan(self.state, offers, self.state.log_time_ms + later_ms)
        for placement in made.placements:
            self.feed(placement)
        return made

    def copy(self, task: TaskId, replica: int = 0) -> Allocation:
        """One copy of a task."""
        copy = self.state.allocation(AllocationId(task, replica))
        assert copy is not None
        return copy

    def where(self, task: TaskId) -> list[int]:
        """The numbers of the nodes that a task's copies are on, by replica; 0: none."""
        copies = self.state.of_task(task)
        return [int.from_bytes(c.node_id or b"", "big") for c in copies]

    def _ask(self, action: Action, target: str, text: str) -> TaskId:
        number = self.state.applied_index.to_bytes(32, "big")
        request = TaskRequest(action, 0, target, text, number, NOW_S, NOW_S + 3600)
        self.feed(RequestApplied(SignedRequest(request, b"s" * 65), node_id(1), MANAGER))
        return task_id(self.state.pool, request)


def reason(made: Plan, task: TaskId, replica: int = 0) -> str:
    """Why a copy waits; empty where nothing is said."""
    return dict(made.reasons).get(AllocationId(task, replica), "")
