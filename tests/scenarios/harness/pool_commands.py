"""The commands of transcripts about whole nodes: health, the committee, where copies run.

Nodes are `lead`, the one that led when the pool had formed, and `n1`, `n2` ... Everything happens
in the simulated world (`tests.sim`), from one seed, and is shown as the present leader has it.
Times are only what was waited for at most: how long something took exactly is told elsewhere.
"""

from collections.abc import Callable

from p2pool.core import inputs
from p2pool.model.access.requests import Action
from p2pool.model.ids import Address, NodeId, StoreId, TaskId
from p2pool.model.ports.store import TABLES
from p2pool.model.ports.view import NodeView
from p2pool.model.states import AllocationState, Membership
from p2pool.model.tasks.spec import TaskSpec
from tests.scenarios.harness.commands import Commands
from tests.scenarios.harness.options import names, options
from tests.scenarios.harness.transcript import BadTranscript
from tests.sim.harness.pool import ENDLESS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

FORM_MOST_MS = 60_000


def span_ms(text: str) -> int:
    """`1500ms`, `20s`, `3m` or `1d` in milliseconds."""
    for unit, ms in (("ms", 1), ("s", 1_000), ("m", 60_000), ("d", 86_400_000)):
        if text.endswith(unit) and text.removesuffix(unit).isdigit():
            return int(text.removesuffix(unit)) * ms
    raise BadTranscript(f"{text!r} is no span of time")


class PoolCommands(Commands):
    """What can be said of a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool | None = None
        self.named: dict[str, int] = {}
        self.tasks: dict[str, TaskId] = {}
        self.wiped = 0
        self.by: str | None = None

    # --- who is who -----------------------------------------------------------------------------

    @property
    def world(self) -> World:
        return self.known.world

    @property
    def known(self) -> Pool:
        if self.pool is None:
            raise BadTranscript("begin with `pool`")
        return self.pool

    def machine(self, name: str) -> Machine:
        if name not in self.named:
            raise BadTranscript(f"there is no node {name!r}")
        return self.world.machines[self.named[name]]

    def name_of(self, node_id: NodeId | None) -> str:
        for name in self.named:
            if self.machine(name).node_id == node_id:
                return name
        return "-" if node_id is None else "a stranger"

    def leading(self) -> Machine | None:
        found = [m for m in self.world.machines if m.node and m.node.context.pool_log.leads]
        return found[0] if len(found) == 1 else None

    def seen(self) -> dict[str, NodeView]:
        """Each node as the leader has it, or the one that was asked for."""
        leader = self.machine(self.by) if self.by else self.leading()
        if leader is None or leader.node is None:
            return {}
        view = leader.node.view(self.world.now(leader))
        return {self.name_of(one.node_id): one for one in view.nodes}

    # --- the pool -------------------------------------------------------------------------------

    def do_pool(self, given: list[str]) -> list[str]:
        """`pool nodes=5 [committee=3] [outside=1] [providers=1,1,2,3,4] [seed=7]`: it forms."""
        _, named = options(given)
        size, seed = int(named["nodes"]), int(named.get("seed", "7"))
        world = World(seed, size)
        world.committee = int(named.get("committee", "3"))
        if "providers" in named:
            world.providers = [Address(bytes([int(p)]) * 20) for p in names(named["providers"])]
        inside = size - int(named.get("outside", "0"))
        world.members = list(range(inside))
        self.pool = Pool(seed, world, Checks(world), world.rng)
        for number in range(inside):
            world.start(number)
        if not world.run_until(self._formed, FORM_MOST_MS):
            raise BadTranscript("the pool does not form")
        leader = self.leading()
        assert leader is not None
        rest = [n for n in range(size) if n != leader.number]
        self.named = {"lead": leader.number} | {f"n{i}": n for i, n in enumerate(rest, 1)}
        return []

    def _formed(self) -> bool:
        leader = self.leading()
        if leader is None or leader.node is None:
            return False
        context = leader.node.context
        voters = len(context.pool_log.configuration.voters)
        wanted = min(self.world.committee, (len(self.world.members) - 1) // 2 * 2 + 1)
        calm = (
            leader.node.parts.leader is not None
            and leader.node.parts.leader.failure_detector.not_before_ms
        )
        everybody = len(context.heartbeats.newest) >= len(self.world.members)
        return voters == wanted and everybody and self.world.now_ms >= int(calm or 0)

    # --- what happens to it ---------------------------------------------------------------------

    def do_run(self, given: list[str]) -> list[str]:
        """`run 20s`: time passes."""
        self.world.run(span_ms(given[0]))
        return []

    def do_crash(self, given: list[str]) -> list[str]:
        """`crash n1,n2`: their agents are gone, their containers run on."""
        for name in names(given[0]):
            self.world.crash(self.machine(name).number)
        return []

    def do_start(self, given: list[str]) -> list[str]:
        """`start n1 [wiped]`: its agent starts again, from its disk or an empty one."""
        machine = self.machine(given[0])
        if "wiped" in given:
            self.wiped += 1
            disk = machine.disk
            machine.disk = type(disk)(StoreId(bytes([200 + self.wiped]) * 16))
            machine.disk.tables = {name: {} for name in TABLES}
        self.world.start(machine.number)
        return []

    def do_cut(self, given: list[str]) -> list[str]:
        """`cut n1,n2 [lead]`: no bytes pass between them and the rest, or those named."""
        side = [self.machine(name).number for name in names(given[0])]
        others = [self.machine(name).number for name in names(given[1])] if len(given) > 1 else []
        rest = others or [m.number for m in self.world.machines if m.number not in side]
        self.world.cut |= {(a, b) for a in side for b in rest}
        for a in side:
            for b in rest:
                self.world.network.reset(self.world.machines[a], self.world.machines[b])
        return []

    def do_heal(self, given: list[str]) -> list[str]:
        """`heal`: every link is whole again."""
        self.world.cut = set()
        return []

    def do_lag(self, given: list[str]) -> list[str]:
        """`lag lead 3s`: its own loop was late by so much."""
        self.world.give(self.machine(given[0]), inputs.LoopLagged(span_ms(given[1])))
        self.world.run(1)
        return []

    def do_hint(self, given: list[str]) -> list[str]:
        """`hint n1`: somebody tells the leader that he misses it."""
        leader = self.leading()
        assert leader is not None
        assert leader.node is not None
        assert leader.node.parts.leader is not None
        now = self.world.now(leader)
        leader.node.parts.leader.suspect(self.machine(given[0]).node_id, "a member misses it", now)
        return []

    def do_join(self, given: list[str]) -> list[str]:
        """`join n4`: the chain takes it in; its agent does not run yet."""
        self.world.members.append(self.machine(given[0]).number)
        return []

    def do_leave(self, given: list[str]) -> list[str]:
        """`leave n1`: the chain has it out of the pool; its agent runs on."""
        self.world.members.remove(self.machine(given[0]).number)
        return []

    # --- what people ask for --------------------------------------------------------------------

    def do_ask(self, given: list[str]) -> list[str]:
        """`ask drain|resume|ban|unban n1`, `ask set committee 5`, signed by the manager."""
        action = Action(given[0])
        pool, leader = self.known, self.leading()
        assert leader is not None
        if action is Action.SET:
            request = pool.sign(action, given[1], f'{{"value":"{given[2]}"}}')
        else:
            request = pool.sign(action, self.machine(given[1]).node_id.hex(), "")
        pool.send(leader.number, request)
        answer = pool.reply(request)
        return [f"{type(answer).__name__}: {answer}"] if isinstance(answer, Exception) else []

    def do_task(self, given: list[str]) -> list[str]:
        """`task t replicas=3 window=5s`: it runs; it may be away for so long."""
        (name,), named = options(given)
        window_s = span_ms(named.get("window", "300s")) // 1000
        replicas = int(named.get("replicas", "1"))
        spec = TaskSpec(
            name=name, image="i", command=ENDLESS, replicas=replicas, reconnect_window_s=window_s
        )
        leader = self.leading()
        assert leader is not None
        self.tasks[name] = self.known.submitted[self.known.submit(leader.number, spec)]
        running = ["RUNNING"] * replicas
        if not self.world.run_until(
            lambda: self.known.states(self.tasks[name]) == running, FORM_MOST_MS
        ):
            raise BadTranscript(f"{name} does not run")
        return []

    # --- looking --------------------------------------------------------------------------------

    def do_until(self, given: list[str]) -> list[str]:
        """`until n1 unreachable 30s [copy t/0]`: wait, so long at most, and say what came."""
        name, word, most = given
        check = self._until(name, word)
        if self.world.run_until(check, span_ms(most)):
            return [f"{self._line(name)}, within {most}" if name in self.named else "it is so"]
        return [f"NOT within {most}: {self._line(name) if name in self.named else word}"]

    def _until(self, name: str, word: str) -> Callable[[], bool]:
        if name == "voters":
            return lambda: len(self._voters()) == int(word) and not self._learners()
        if name == "leader":
            return lambda: self.leading() is not None
        if name in self.tasks:
            wanted = word.upper()
            return lambda: all(s == wanted for s in self._current(name))
        return lambda: word in self._words(name)

    def _current(self, name: str) -> list[str]:
        return self.known.states(self.tasks[name])

    def _words(self, name: str) -> list[str]:
        one = self.seen().get(name)
        if one is None:
            return ["unknown"]
        return [w.name.lower() for w in (one.membership, one.reachability, one.intent)]

    def _line(self, name: str) -> str:
        one = self.seen().get(name)
        if one is None:
            return f"{name} is not known"
        membership, reachability, intent = self._words(name)
        said = [reachability] if one.membership is Membership.MEMBER else [membership, reachability]
        said += [intent] if intent != "eligible" else []
        reason = f" ({one.reason})" if one.reason else ""
        return f"{name} is {', '.join(said)}{reason}"

    def do_nodes(self, given: list[str]) -> list[str]:
        """`nodes [n1,n2] [by=n3]`: each node as the leader has it, or as another one has it."""
        plain, named = options(given)
        self.by = named.get("by")
        wanted = names(plain[0]) if plain else sorted(self.seen())
        rows = [self._line(name) for name in wanted]
        self.by = None
        return rows

    def do_suspicions(self, given: list[str]) -> list[str]:
        """`suspicions`: whom the leader suspects, and why."""
        leader = self.leading()
        judge = leader.node.parts.leader if leader is not None and leader.node is not None else None
        if judge is None:
            return ["nobody leads"]
        found = judge.failure_detector.suspicions.items()
        return [f"{self.name_of(n)}: {s.hint}" for n, s in found] or ["nobody is suspected"]

    def do_copies(self, given: list[str]) -> list[str]:
        """`copies t`: where each copy is, and how."""
        leader = self.leading()
        assert leader is not None
        assert leader.node is not None
        state = leader.node.context.pool_log.state
        assert state is not None
        rows = []
        for copy in state.of_task(self.tasks[given[0]]):
            why = f" ({copy.reason})" if copy.state is AllocationState.LOST and copy.reason else ""
            rows.append(
                f"{given[0]}/{copy.allocation.replica} attempt {copy.attempt}: "
                f"{copy.state.name.lower()} on {self.name_of(copy.node_id)}{why}"
            )
        return rows

    def do_containers(self, given: list[str]) -> list[str]:
        """`containers`: how many run on each machine, whoever knows of them."""
        return [f"{name}: {self.known.running(number)}" for name, number in self.named.items()]

    def _voters(self) -> list[str]:
        return self._group(voters=True)

    def _learners(self) -> list[str]:
        return self._group(voters=False)

    def _group(self, *, voters: bool) -> list[str]:
        leader = self.leading()
        if leader is None or leader.node is None:
            return []
        found = leader.node.context.pool_log.configuration
        return [self.name_of(v.node_id) for v in (found.voters if voters else found.learners)]

    def do_committee(self, given: list[str]) -> list[str]:
        """`committee`: voters and learners, and who leads."""
        leader = self.leading()
        if leader is None:
            return ["nobody leads"]
        voters, learners = ", ".join(sorted(self._voters())), ", ".join(sorted(self._learners()))
        return [
            f"{self.name_of(leader.node_id)} leads; voters {voters}; learners {learners or 'none'}"
        ]
