"""A worker with an engine in memory that the test moves, for the tests of its rules."""

from collections.abc import Iterator
from typing import Any

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core.worker import events as ev
from p2pool.core.worker.worker import Worker
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.access.verdicts import Verdict
from p2pool.model.ids import Address, AllocationId, NodeId, PoolRef, Token
from p2pool.model.log.entries import Outcome
from p2pool.model.messages.work import Desired, Order, ReportAnswered, Stop
from p2pool.model.ports.runtime import ContainerState, ContainerStatus, RuntimeScope
from p2pool.model.ports.store import TABLES, Delete, Put
from p2pool.model.states import AllocationState, Health
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from p2pool.model.timing import Now

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)
ME = NodeId(b"\x22" * 20)
S = AllocationState


def desired(name: str = "t", attempt: int = 1, gpus: tuple[str, ...] = (), **of: Any) -> Desired:
    """A copy that is ordered."""
    spec = TaskSpec(name=name, image="i", resources=Resources(gpu=GpuRequest(len(gpus))))
    request = TaskRequest(
        Action.SUBMIT,
        1,
        "",
        spec_json(attrs.evolve(spec, **of)),
        b"r" * 32,
        0,
        600,
    )
    name_of = AllocationId(task_id(POOL, request), 0)
    return Desired(name_of, attempt, SignedRequest(request, b"s" * 65), gpus)


class Bench:
    """A worker, its disk and its engine."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES}
        self.engine: dict[tuple[AllocationId, int], ContainerStatus] = {}
        self.refused: str | None = None
        self.verdict: Verdict | None = None
        self.withdrawn: str | None = None
        self.interrupted: tuple[tuple[AllocationId, int], ...] = ()
        self.at_ms, self.index = 1_000, 0
        self.done: list[ev.WorkerEffect] = []
        self.start()

    def start(self) -> None:
        """(Re)start the worker from its disk."""
        self.worker = Worker(
            scope=RuntimeScope(POOL, ME),
            allowed=lambda d, s, t: self.refused,
            restored=self.rows,
            judged=lambda d, now: self.verdict,
            withdrawn=lambda d: self.withdrawn,
        )
        self.worker.member(True)
        self.worker.runtime(True)

    def now(self) -> Now:
        return Now(self.at_ms, 1_700_000_000_000 + self.at_ms)

    def order(self, *wanted: Desired, stops: tuple[Desired, ...] = ()) -> bool:
        """Give a newer order; whether it was taken."""
        self.index += 1
        named = tuple(Stop(d.allocation, d.attempt) for d in stops)
        order = Order(ME, Token(1, 1, self.index), tuple(wanted), named)
        return self.worker.obey(order, (None,) * len(wanted), self.now()).ok

    def turn(self, ms: int = 0) -> list[ev.WorkerEffect]:
        """Let time pass and carry out what the worker wants; what that was, listings apart."""
        self.at_ms += ms
        out: list[ev.WorkerEffect] = []
        for _ in range(6):
            self.worker.tick(self.now())
            operations, effects = self.worker.take()
            for op in operations:
                if isinstance(op, Put):
                    self.rows[op.table][op.key] = op.value
                elif isinstance(op, Delete):
                    self.rows[op.table].pop(op.key, None)
            for effect in effects:
                for event in self._carry_out(effect):
                    self.worker.step(event, self.now())
                if not isinstance(effect, ev.ListContainers):
                    out.append(effect)
        return out

    def _carry_out(self, effect: ev.WorkerEffect) -> Iterator[ev.WorkerInput]:
        match effect:
            case ev.ListContainers():
                yield ev.ContainersListed(tuple(self.engine.values()), self.interrupted)
            case ev.StartContainer():
                plan = effect.plan
                key = (plan.allocation, plan.attempt)
                assert any(self.rows["orders"]), "an item is on disk before its container starts"
                self.engine[key] = ContainerStatus(
                    *key, plan.token, plan.spec_hash, ContainerState.RUNNING, gpus=plan.gpus
                )
                yield ev.ContainerStarted(self.engine[key])
            case ev.RestartContainer():
                key = (effect.allocation, effect.attempt)
                self.engine[key] = attrs.evolve(
                    self.engine[key], state=ContainerState.RUNNING, health=Health.NONE
                )
                yield ev.ContainerStarted(self.engine[key])
            case ev.StopContainer():
                if (effect.allocation, effect.attempt) in self.engine:
                    self.end(effect.allocation, effect.attempt, 143)
                yield ev.ContainerStopped(effect.allocation, effect.attempt)
            case ev.RemoveContainer():
                del self.engine[effect.allocation, effect.attempt]
                yield ev.ContainerRemoved(effect.allocation, effect.attempt)

    def end(self, allocation: AllocationId, attempt: int, code: int | None) -> None:
        """A container ends."""
        key = (allocation, attempt)
        state = ContainerState.EXITED if code is not None else ContainerState.DEAD
        self.engine[key] = attrs.evolve(
            self.engine[key], state=state, exit_code=code, finished_at_ms=self.now().wall_ms
        )

    def finish(self, of: Desired, code: int | None = 0) -> list[ev.WorkerEffect]:
        """A container ends and is found so."""
        self.end(of.allocation, of.attempt, code)
        return self.turn(limits.RECONCILE_INTERVAL_MS)

    def state(self, of: Desired) -> AllocationState | None:
        item = self.worker.items.get((of.allocation, of.attempt))
        return item.state if item is not None else None

    def reported(self) -> dict[AllocationState, Outcome]:
        """What is reported now, by state."""
        report = self.worker.report(self.now())
        return {o.state: o for o in report.outcomes} if report is not None else {}

    def told(self) -> dict[AllocationId, Outcome]:
        """What is reported now, by copy."""
        return {outcome.allocation: outcome for outcome in self.reported().values()}

    def settle(self) -> None:
        """The leader takes all that is reported."""
        self.worker.connected(self.now())
        report = self.worker.report(self.now())
        if report is not None:
            self.worker.settle(ReportAnswered(report.token, report.outcomes))
