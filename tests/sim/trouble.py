"""One seed's story: five nodes, sixty virtual seconds, submissions amid all kinds of trouble."""

from random import Random

import attrs

from p2pool.codec.messages import task_id
from p2pool.codec.spec import spec_json
from p2pool.core import inputs
from p2pool.model.ids import TaskId
from p2pool.model.ports import Accepted, SubmitAsked
from p2pool.model.tasks import (
    Action,
    GpuRequest,
    Resources,
    RestartMode,
    RestartPolicy,
    SignedRequest,
    Signers,
    TaskRequest,
    TaskSpec,
)
from p2pool.wire.typed import sign_request
from tests.sim.checks import Checks
from tests.sim.violation import Violation
from tests.sim.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS, World

CALM_MS, TROUBLE_MS, END_MS, PATIENCE_MS = 7_000, 45_000, 60_000, 240_000


@attrs.frozen
class Outcome:
    """What a run came to."""

    seed: int
    submitted: int
    accepted: int
    tasks: int
    started: int
    terms: int
    crashes: int
    converged_ms: int
    events: int

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"seed {self.seed}: {self.accepted} of {self.submitted} submissions acknowledged, "
            f"{self.started} containers, {self.terms} terms, {self.crashes} crashes, "
            f"all settled at {self.converged_ms / 1000:.1f} s ({self.events} events)"
        )


@attrs.define
class Story:
    """A world, what is done to it, and what was asked of it."""

    seed: int
    world: World
    checks: Checks
    rng: Random
    submitted: dict[int, TaskId] = attrs.field(factory=dict)
    signed: dict[int, SignedRequest] = attrs.field(factory=dict)
    crashes: int = 0

    def submit(self, at: int, spec: TaskSpec) -> int:
        """Ask an agent to run something; the number of the request."""
        request_id = self._sign(Action.SUBMIT, "", spec_json(spec))
        self.submitted[request_id] = task_id(POOL, self.signed[request_id].request)
        self.send(at, request_id)
        return request_id

    def stop(self, at: int, name: TaskId) -> None:
        """Ask an agent to end a task."""
        self.send(at, self._sign(Action.STOP, name.hex(), ""))

    def _sign(self, action: Action, target: str, text: str) -> int:
        """The number of a new request by the manager."""
        request_id = len(self.signed) + 1
        now_s = (WALL_MS + self.world.now_ms) // 1000
        request = TaskRequest(
            action, POOL.pool_id, target, text, self.rng.randbytes(32), now_s - 1, now_s + 600
        )
        self.signed[request_id] = sign_request(POOL, MANAGER, request)
        return request_id

    def send(self, at: int, request_id: int) -> None:
        """Hand a signed request to an agent (again)."""
        asked = inputs.Asked(
            request_id, SubmitAsked(self.signed[request_id], MANAGER_ADDRESS),
            Signers(MANAGER_ADDRESS),
        )  # fmt: skip
        machine = self.world.machines[at]
        if machine.node is not None:
            self.world.give(machine, asked)

    # --- trouble ----------------------------------------------------------------------------------

    def trouble(self) -> None:
        """One thing that happens."""
        alive = [m.number for m in self.world.machines if m.node is not None]
        dead = [m.number for m in self.world.machines if m.node is None]
        act = self.rng.randrange(13)
        if act <= 3 and alive:
            self.submit(self.rng.choice(alive), self._spec())
        elif act == 4 and self.submitted and alive:
            self.send(self.rng.choice(alive), self.rng.choice(sorted(self.submitted)))
        elif act == 12 and self.submitted and alive:
            self.stop(self.rng.choice(alive), self.rng.choice(list(self.submitted.values())))
        elif act in (5, 6) and len(alive) > 2:
            self.crashes += 1
            self.world.crash(self.rng.choice(alive))
        elif act == 7 and dead:
            self.world.start(self.rng.choice(dead))
        elif act == 8:
            self._partition()
        elif act == 9:
            self.world.loss = self.rng.choice((0.0, 0.05, 0.3))
            self.world.duplicate = self.rng.choice((0.0, 0.1))
            self.world.delay_ms = self.rng.choice((5, 50, 400))
        elif act == 10:
            engine = self.world.machines[self.rng.randrange(len(self.world.machines))].engine
            engine.away = not engine.away
        else:
            self.world.chain_up = not self.world.chain_up
        self.world.later(300 + self.rng.randrange(2_000), self._next)

    def _next(self) -> None:
        if self.world.now_ms < TROUBLE_MS:
            self.trouble()

    def _partition(self) -> None:
        """Cut one machine off, or a group, or nobody any more."""
        size = len(self.world.machines)
        some = self.rng.sample(range(size), self.rng.randrange(3))
        self.world.cut = {(a, b) for a in some for b in range(size) if b not in some}

    def _spec(self) -> TaskSpec:
        gpus = self.rng.randrange(2)
        code = self.rng.randrange(4) // 3
        mode = self.rng.choice(tuple(RestartMode))
        # One of four runs until it is told to stop.
        lasts_ms = self.rng.choice((0, *(500 + self.rng.randrange(8_000) for _ in range(3))))
        return TaskSpec(
            name=f"task-{len(self.submitted)}",
            image="image",
            command=("run", str(lasts_ms), str(code)),
            resources=Resources(gpu=GpuRequest(gpus)),
            replicas=1 + self.rng.randrange(3),
            restart=RestartPolicy(mode, attempts=self.rng.randrange(3)),
            reconnect_window_s=self.rng.choice((3, 10)),
        )

    def heal(self) -> None:
        """Everything works again."""
        world = self.world
        world.loss = world.duplicate = 0.0
        world.delay_ms, world.cut, world.chain_up = 5, set(), True
        for machine in world.machines:
            machine.engine.away = False
            if machine.node is None:
                world.start(machine.number)
        self._stop_endless()

    def _stop_endless(self) -> None:
        """Ask for the end of what does not end by itself, again until it has ended."""
        node = self.world.machines[0].node
        state = node.context.ledger.state if node is not None else None
        for task in state.tasks.values() if state is not None else ():
            if not task.finished and not task.stop_requested and task.spec.command[1] == "0":
                self.stop(self.rng.randrange(len(self.world.machines)), task.task_id)
        self.world.later(5_000, self._stop_endless)


def tell(seed: int, size: int = 5) -> Outcome:
    """Run one seed; raises `Violation` where something that must hold does not."""
    world = World(seed, size)
    story = Story(seed, world, Checks(world), Random(seed + 10**6))
    for i in range(size):
        world.start(i)
    world.run(CALM_MS)
    story.trouble()
    world.run(TROUBLE_MS - world.now_ms)
    story.heal()
    world.run(END_MS - world.now_ms)
    if not world.run_until(story.checks.converged, PATIENCE_MS):
        raise Violation(f"seed {seed} does not settle")
    settled_ms = world.now_ms
    # What ends is removed a little later: let the engines come to rest.
    story.checks.finish(story.submitted)
    accepted = sum(isinstance(world.replies.get(i), Accepted) for i in story.submitted)
    state = world.machines[0].node.context.ledger.state if world.machines[0].node else None
    return Outcome(
        seed, len(story.submitted), accepted, len(state.tasks) if state else 0,
        sum(m.engine.started for m in world.machines), len(story.checks.leaders),
        story.crashes, settled_ms, world.events,
    )  # fmt: skip
