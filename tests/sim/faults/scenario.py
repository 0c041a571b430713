"""One seed's story: some nodes, sixty virtual seconds of all kinds of trouble, then healing.

What a seed is (`Shape`: how many nodes, how large a committee, which faults, which bounds) is drawn
from the seed too, so that ten thousand seeds are not ten thousand times the same pool.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

import attrs

from p2pool.codec.digests import task_id
from p2pool.codec.spec.spec import spec_json
from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, Signers, TaskRequest
from p2pool.model.ids import TaskId
from p2pool.model.ports.agent import Accepted, ReadIndexCommand, SubmitCommand
from p2pool.model.states import Intent, Reachability
from p2pool.model.tasks.spec import GpuRequest, Resources, RestartMode, RestartPolicy, TaskSpec
from p2pool.wire.typed_data import sign_request
from tests.sim.faults import operators
from tests.sim.faults.committee_changes import (
    forge_change,
    give_up_change,
    split_change,
    strand_change,
)
from tests.sim.faults.faults import BY_NAME, Act, Knobs
from tests.sim.faults.faults import FAULTS as PLAIN
from tests.sim.faults.leader_liars import (
    FULL,
    forge_entries,
    forge_snapshot,
    overfill,
    write_junk,
)
from tests.sim.faults.misleader import mislead
from tests.sim.invariants import liveness
from tests.sim.invariants.chain_facts import ChainFacts
from tests.sim.invariants.checks import Checks
from tests.sim.invariants.intake import Intake
from tests.sim.world.machine import ChainView, Machine, Slowness
from tests.sim.world.violation import Violation
from tests.sim.world.world import MANAGER, MANAGER_ADDRESS, POOL, WALL_MS, World

FAULTS: Mapping[str, tuple[int, Act]] = {
    **PLAIN,
    "split-change": (1, split_change),
    "strand-change": (1, strand_change),
    "forge-change": (1, forge_change),
    "mislead": (1, mislead),
    "give-up-change": (1, give_up_change),
    "forge-snapshot": (1, forge_snapshot),
    "forge-entries": (1, forge_entries),
    "write-junk": (1, write_junk),
    "overfill": (1, overfill),
}
"""All that may happen, each with its weight."""

HEALTHY = Reachability.HEALTHY
CALM_MS, TROUBLE_MS, END_MS, PATIENCE_MS = 7_000, 45_000, 60_000, 240_000


@attrs.frozen
class Shape:
    """What a seed's pool is like. `faults` and what people do, each with its weight."""

    size: int
    committee: int
    relays: bool
    finality_blocks: int
    bounds: dict[str, int]
    faults: dict[str, int]

    @classmethod
    def of(cls, seed: int) -> "Shape":
        """Drawn from the seed; most faults of the table, in a mix of its own."""
        rng = Random(seed + 10**7)
        size = rng.choice((3, 3, 5, 5, 5, 7))
        committee = rng.choice([n for n in (3, 3, 5, 7) if n <= size])
        calm = rng.random() * 0.6
        faults = {
            n: w * rng.choice((1, 1, 3)) for n, (w, _) in FAULTS.items() if rng.random() > calm
        }
        faults["restart"] = FAULTS["restart"][0]
        bounds = {
            "SNAPSHOT_AFTER_ENTRIES": rng.choice((1_000, 20, 60)),
            "SNAPSHOT_KEEP_ENTRIES": rng.choice((200, 2, 10)),
            "SNAPSHOT_CHUNK_BYTES": rng.choice((256 * 1024, 700)),
            "APPEND_BATCH_MAX_ENTRIES": rng.choice((256, 1, 3)),
        }
        bounds |= FULL if "overfill" in faults else {}
        relays, final = rng.random() < 0.5, rng.choice((0, 2, 3))
        return cls(size, committee, relays, final, bounds, faults)

    def focused(self, *faults: str) -> "Shape":
        """The same pool with few faults, often, and small bounds: to find what they bring out."""
        few = {"restart": 3, **dict.fromkeys(faults, 3)}
        tight = {
            "SNAPSHOT_AFTER_ENTRIES": 20,
            "SNAPSHOT_KEEP_ENTRIES": 2,
            "SNAPSHOT_CHUNK_BYTES": 700,
            "APPEND_BATCH_MAX_ENTRIES": 1,
        }
        tight |= FULL if "overfill" in faults else {}
        return attrs.evolve(self, faults=few, bounds=tight)


@contextmanager
def bounded(shape: Shape) -> Iterator[None]:
    """Bounds of a seed's own, so that logs are compacted, and all travels in many parts."""
    usual = {name: getattr(limits, name) for name in shape.bounds}
    for name, value in shape.bounds.items():
        setattr(limits, name, value)
    try:
        yield
    finally:
        for name, value in usual.items():
            setattr(limits, name, value)


@attrs.frozen
class Outcome:
    """What a run came to."""

    seed: int
    size: int
    submitted: int
    accepted: int
    reads: int
    tasks: int
    started: int
    terms: int
    crashes: int
    converged_ms: int
    events: int

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"seed {self.seed}: {self.size} nodes, {self.accepted} of {self.submitted} submissions "
            f"acknowledged, {self.reads} reads, {self.started} containers, {self.terms} terms, "
            f"{self.crashes} crashes, all settled at {self.converged_ms / 1000:.1f} s "
            f"({self.events} events)"
        )


@attrs.define
class Story:
    """A world, what is done to it, and what was asked of it.

    `buried`: machines that stay dead until the log says that they are gone; `lied`: whether members
    lie, which they do in one way at most; `false_log`: whether a leader's own log holds lies. Of
    three voters two have to be whole, so that and a lost disk never meet. `swayed`: the provider of
    most nodes lies; one that has lost its disk remembers no committee, and would believe it.
    """

    seed: int
    world: World
    checks: Checks
    rng: Random
    submitted: dict[int, TaskId] = attrs.field(factory=dict)
    signed: dict[int, SignedRequest] = attrs.field(factory=dict)
    names: list[str] = attrs.field(factory=list)
    knobs: Knobs = Knobs()
    healed: bool = False
    lied: bool = False
    false_log: bool = False
    swayed: bool = False
    buried: set[int] = attrs.field(factory=set)
    crashes: int = 0
    wiped: int = 0
    asked: int = 0

    def submit(self, at: int, spec: TaskSpec) -> int:
        """Ask an agent to run something, under a name that nothing had before; the number of the
        request."""
        if spec.name in self.names:
            spec = attrs.evolve(spec, name=f"{spec.name}-{len(self.names)}")
        self.names.append(spec.name)
        request_id = self.sign(Action.SUBMIT, "", spec_json(spec))
        self.submitted[request_id] = task_id(POOL, self.signed[request_id].request)
        self.send(at, request_id)
        return request_id

    def stop(self, at: int, name: TaskId) -> None:
        """Ask an agent to end a task."""
        self.send(at, self.sign(Action.STOP, name.hex(), ""))

    def sign(self, action: Action, target: str, text: str) -> int:
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
            request_id,
            SubmitCommand(self.signed[request_id], MANAGER_ADDRESS),
            Signers(MANAGER_ADDRESS),
        )
        machine = self.world.machines[at]
        if machine.node is not None:
            self.world.give(machine, asked)

    def read(self, at: int) -> int:
        """Ask an agent for a consistent read; the number of the request."""
        self.asked += 1
        request_id = READS_FROM + self.asked
        machine = self.world.machines[at]
        if machine.node is not None:
            self.checks.asked_to_read(request_id)
            self.world.give(machine, inputs.Asked(request_id, ReadIndexCommand()))
        return request_id

    # --- trouble ----------------------------------------------------------------------------------

    def later(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Do something after a while, if there is still trouble then."""
        self.world.later(delay_ms, lambda: None if self.healed else act())

    def crash(self, m: Machine, life: int | None = None) -> None:
        """An agent dies, if it still lives the life that is meant."""
        if m.node is not None and life in (None, m.life):
            self.crashes += 1
            self.world.crash(m.number)

    def join(self, number: int) -> None:
        """A machine is in the pool (again)."""
        if number not in self.world.members:
            self.world.members.append(number)

    def trouble(self, shape: Shape) -> None:
        """One thing that happens, and then the next one."""
        if self.world.now_ms >= TROUBLE_MS:
            return
        if self.rng.random() < 0.5:
            weights = [weight for weight, _ in operators.ACTS.values()]
            (name,) = self.rng.choices(list(operators.ACTS), weights)
            operators.ACTS[name][1](self)
        else:
            (name,) = self.rng.choices(list(shape.faults), list(shape.faults.values()))
            (FAULTS.get(name) or BY_NAME[name])[1](self)
        self.world.later(100 + self.rng.randrange(1_000), lambda: self.trouble(shape))

    def heal(self) -> None:
        """Everything works again."""
        world, self.healed = self.world, True
        world.loss = world.duplicate = world.reopen = 0.0
        world.delay_ms, world.cut, world.one_way, world.chain_up = 5, set(), set(), True
        for link in list(world.network.stalled):
            world.network.release(link)
        for m in world.machines:
            self.join(m.number)
            m.engine.away, m.chain, m.slowness = False, ChainView(), Slowness()
            m.engine.refuses = None
            m.wall_offset_ms, m.drift_ppm, m.sync_max_ms = 0, 0, 5
            if m.refuses or m.dies or self._began_behind(m):
                self.crash(m)
            if m.node is None and m.number not in self.buried:
                world.start(m.number)
        self._tidy_up()
        self._exhume()

    def _began_behind(self, m: Machine) -> bool:
        """Whether an agent began with an empty disk and a clock far behind: its messages look older
        than those of its last run, and whoever mends the clock starts it again."""
        if m.node is None:
            return False
        config = m.node.context.config
        return config.incarnation < WALL_MS - limits.CLOCK_SKEW_MAX_MS

    def _exhume(self) -> None:
        """Start who stayed dead once the log says so."""
        leaders = [m.node for m in self.world.machines if m.node and m.node.context.pool_log.leads]
        state = leaders[0].context.pool_log.state if leaders else None
        for number in sorted(self.buried):
            m = self.world.machines[number]
            if state is not None and state.node(m.node_id).reachability is not HEALTHY:
                self.buried.discard(number)
                self.world.start(number)
        if self.buried:
            self.world.later(1_000, self._exhume)

    def _tidy_up(self) -> None:
        """Ask for the end of what holds a GPU and does not end by itself, and for drained nodes
        to come back, again until it is so. What holds none runs on."""
        node = self.world.machines[0].node
        state = node.context.pool_log.state if node is not None else None
        for task in list(state.tasks.values()) if state is not None else ():
            endless = task.spec.command[1] == "0" and task.spec.resources.gpu.count
            if endless and not task.finished and not task.stop_requested:
                self.stop(self.rng.randrange(len(self.world.machines)), task.task_id)
        for record in list(state.nodes.values()) if state is not None else ():
            if record.intent in (Intent.DRAINING, Intent.DRAINED):
                self.send(0, self.sign(Action.RESUME, record.node_id.hex(), ""))
        self.world.later(5_000, self._tidy_up)

    def spec(self) -> TaskSpec:
        """Some task."""
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
            restart=_restarts(mode, self.rng.randrange(3)),
            reconnect_window_s=self.rng.choice((3, 10)),
        )


def _restarts(mode: RestartMode, attempts: int) -> RestartPolicy:
    """A task that never restarts has no number of restarts."""
    if mode is RestartMode.NEVER:
        return RestartPolicy()
    return RestartPolicy(mode, attempts=attempts)


READS_FROM = 10**6


def begin(seed: int, shape: Shape) -> Story:
    """The pool of a seed, before anything has happened."""
    world = World(seed, shape.size)
    world.committee, world.relays = shape.committee, shape.relays
    world.chain.finality_blocks = shape.finality_blocks
    world.on_step.append(ChainFacts(world).look)
    world.on_gossip.append(Intake(world).took)
    return Story(seed, world, Checks(world), Random(seed + 10**6))


def tell(seed: int, shape: Shape | None = None) -> Outcome:
    """Run one seed; raises `Violation` where something that must hold does not."""
    shape = shape or Shape.of(seed)
    with bounded(shape):
        story = begin(seed, shape)
        world = story.world
        for i in range(shape.size):
            world.start(i)
        world.run(CALM_MS)
        story.trouble(shape)
        world.run(TROUBLE_MS - world.now_ms)
        story.heal()
        world.run(END_MS - world.now_ms)
        if not world.run_until(story.checks.converged, PATIENCE_MS):
            raise Violation(f"seed {seed} does not settle: {liveness.unsettled(world)}")
        story.checks.finish(story.submitted)
    accepted = sum(isinstance(world.replies.get(i), Accepted) for i in story.submitted)
    state = liveness.a_state(world)
    return Outcome(
        seed,
        shape.size,
        len(story.submitted),
        accepted,
        story.checks.reads_answered,
        len(state.tasks),
        sum(m.engine.started for m in world.machines),
        len(story.checks.leaders),
        story.crashes,
        world.now_ms,
        world.events,
    )
