"""A container engine in virtual time: it outlives its agent, and checks who holds which GPU."""

from collections.abc import Callable
from random import Random

import attrs

from p2pool.core.worker import events as ev
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import ContainerPlan, ContainerState, ContainerStatus
from p2pool.model.ports.secrets import SealedSecret
from p2pool.model.tasks.faults import Fault
from tests.sim.world.violation import Violation

Later = Callable[[int, Callable[[], None]], None]
Tell = Callable[[ev.WorkerInput], None]
Watch = Callable[[tuple[AllocationId, int], int], None]
"""Told of a container by its key and the epoch of its token."""


@attrs.define
class Engine:
    """The containers of one machine. A task's command is `run MS EXIT_CODE`.

    `refuses`: why it starts nothing: an error's code, its message, and whose fault it is."""

    rng: Random
    later: Later
    now_ms: Callable[[], int]
    containers: dict[tuple[AllocationId, int], ContainerStatus] = attrs.field(factory=dict)
    plans: dict[tuple[AllocationId, int], ContainerPlan] = attrs.field(factory=dict)
    secrets: dict[tuple[AllocationId, int], SealedSecret] = attrs.field(factory=dict)
    away: bool = False
    refuses: tuple[str, str, Fault] | None = None
    started: int = 0
    on_start: Watch = lambda key, epoch: None
    on_stop: Watch = lambda key, epoch: None

    def do(self, effect: ev.WorkerEffect, tell: Tell) -> None:
        """Carry an effect out after a while; its outcome goes to whoever asked, if it lives."""
        delay_ms = 5 + self.rng.randrange(200)
        self.later(delay_ms, lambda: self._do(effect, tell))

    def _do(self, effect: ev.WorkerEffect, tell: Tell) -> None:
        match effect:
            case ev.ListContainers():
                if not self.away:
                    tell(ev.ContainersListed(tuple(v for _, v in sorted(self.containers.items()))))
            case ev.StartContainer():
                self._give(effect)
                self._start(effect.plan, tell)
            case ev.RestartContainer():
                self._give(effect)
                self._restart(effect, tell)
            case ev.StopContainer():
                self._stop(effect, tell)
            case ev.RemoveContainer():
                key = (effect.allocation, effect.attempt)
                if not self.away:
                    self.containers.pop(key, None)
                    tell(ev.ContainerRemoved(*key))

    def _give(self, effect: ev.StartContainer | ev.RestartContainer) -> None:
        of = effect.plan if isinstance(effect, ev.StartContainer) else effect
        if effect.secrets is not None:
            self.secrets[of.allocation, of.attempt] = effect.secrets

    def _start(self, plan: ContainerPlan, tell: Tell) -> None:
        key = (plan.allocation, plan.attempt)
        if self.away:
            tell(ev.StartFailed(*key, "runtime-unavailable", "the engine is away", Fault.WORLD))
            return
        if self.refuses is not None:
            code, message, fault = self.refuses
            tell(ev.StartFailed(*key, code, message, fault))
            return
        if key not in self.containers:
            for other, status in self.containers.items():
                if not status.ended and set(status.gpus) & set(plan.gpus):
                    raise Violation(f"{key} and {other} hold one GPU")
            self.on_start(key, plan.token.epoch)
            self.plans[key] = plan
            self.containers[key] = ContainerStatus(
                plan.allocation,
                plan.attempt,
                plan.token,
                plan.spec_hash,
                ContainerState.RUNNING,
                started_at_ms=self.now_ms(),
                gpus=plan.gpus,
            )
            self.started += 1
            self._run(key)
        tell(ev.ContainerStarted(self.containers[key]))

    def _restart(self, effect: ev.RestartContainer, tell: Tell) -> None:
        key = (effect.allocation, effect.attempt)
        if self.away or key not in self.containers:
            tell(ev.StartFailed(*key, "runtime-unavailable", "the engine is away", Fault.WORLD))
            return
        if self.containers[key].ended:
            self.containers[key] = attrs.evolve(
                self.containers[key],
                state=ContainerState.RUNNING,
                exit_code=None,
                started_at_ms=self.now_ms(),
            )
            self._run(key)
        tell(ev.ContainerStarted(self.containers[key]))

    def _run(self, key: tuple[AllocationId, int]) -> None:
        """Let it end when its command says so; one of a real pool runs for ever."""
        program, ms, code = self.plans[key].spec.command
        if program == "run" and int(ms):
            began = self.containers[key]
            self.later(int(ms), lambda: self._exit(key, began, int(code)))

    def _exit(self, key: tuple[AllocationId, int], began: ContainerStatus, code: int) -> None:
        if self.containers.get(key) is began:
            self.containers[key] = attrs.evolve(
                began, state=ContainerState.EXITED, exit_code=code, finished_at_ms=self.now_ms()
            )

    def _stop(self, effect: ev.StopContainer, tell: Tell) -> None:
        key = (effect.allocation, effect.attempt)
        if self.away:
            tell(ev.StopFailed(*key, "the engine is away"))
            return
        status = self.containers.get(key)
        if status is not None and not status.ended:
            self.on_stop(key, status.token.epoch)
            self.containers[key] = attrs.evolve(
                status, state=ContainerState.EXITED, exit_code=143, finished_at_ms=self.now_ms()
            )
        tell(ev.ContainerStopped(*key))
