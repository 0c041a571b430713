"""Whatever happens to a pool, its plans keep the laws of the scheduler."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.tasks import wants_copy
from p2pool.core.scheduler.capacity import NodeOffer, need_of
from p2pool.core.scheduler.plan import Plan, plan
from p2pool.model import limits
from p2pool.model.ids import AllocationId
from p2pool.model.log.entries import Outcome, ReportApplied
from p2pool.model.states import AllocationState, Intent, Reachability
from tests.core.scheduler.planning import MIB, Pool, card, offer

S = AllocationState
NEWS = (S.RUNNING, S.SUCCEEDED, S.FAILED, S.STOPPED, S.LOST, S.STOPPING)
MODELS = ("NVIDIA H100", "NVIDIA A100", "Tesla T4")


def machines(rng: random.Random) -> tuple[NodeOffer, ...]:
    """A few machines of few providers, some mixed, some with broken cards, some that say no."""

    def well() -> bool:
        return rng.random() < 0.9

    made = []
    for number in range(1, rng.randint(2, 7)):
        cards = [
            card(f"g{n}", rng.choice(MODELS), rng.randint(1, 3) * 16, well())
            for n in range(rng.randint(0, 5))
        ]
        made.append(
            offer(
                number,
                *cards,
                provider=rng.randint(1, 3),
                cpu_milli=rng.randint(1, 12) * 1000,
                memory_mib=rng.randint(1, 12) * 256,
                disk_mib=rng.randint(0, 4) * 512,
                eligible=well(),
            )
        )
    return tuple(made)


def submission(rng: random.Random) -> dict[str, object]:
    """A task of any kind, most of them small enough to find a place."""
    gpu: dict[str, object] = {}
    if rng.random() < 0.5:
        gpu = {"count": rng.randint(1, 2)}
        if rng.random() < 0.3:
            gpu["model"] = rng.choice(["h100", "nvidia", "t4"])
        if rng.random() < 0.3:
            gpu["memory_min_bytes"] = rng.randint(2**20, 2**35)
    limit = {"attribute": "gpu.model", "value": rng.choice(MODELS), "equals": rng.random() < 0.5}
    resources = {
        "cpu_milli": rng.randint(1, 1500),
        "memory_bytes": rng.randint(6, 400) * MIB,
        "disk_bytes": rng.choice([0, 0, rng.randint(0, 300) * MIB]),
        "gpu": gpu,
    }
    several = {"replicas": rng.randint(1, 4), "gang": rng.random() < 0.4}
    return {
        "priority": rng.randint(0, 3),
        "constraints": [limit] if rng.random() < 0.2 else [],
        "resources": resources,
        "ports": [{"container": 80, "host": 8080}] if rng.random() < 0.2 else [],
        **({"system": True} if rng.random() < 0.2 else several),
    }


def disturb(pool: Pool, offers: tuple[NodeOffer, ...], rng: random.Random) -> None:
    """Something happens: news of copies, a judgement, a drain, a stop."""
    copies = [c for c in pool.state.all_allocations() if c.node_id is not None]
    strays = list(pool.state.strays.values())
    what = rng.randrange(8)
    if what < 4 and copies:
        for copy in rng.sample(copies, min(3, len(copies))):
            pool.report(copy, rng.choice(NEWS))
    elif what == 4 and strays:
        stray = rng.choice(strays)
        gone = Outcome(stray.allocation, stray.attempt, S.STOPPED)
        pool.feed(ReportApplied(stray.node_id, (gone,)))
    elif what == 5 and pool.state.tasks:
        pool.stop(rng.choice(list(pool.state.tasks)))
    else:
        number = int.from_bytes(rng.choice(offers).node_id, "big")
        action = rng.choice((0, 1, 1, 2, 3, 3))
        if action < 2:
            pool.judge(number, (Reachability.UNREACHABLE, Reachability.HEALTHY)[action])
        else:
            (pool.drain, pool.resume)[action - 2](number)


def waiting(state: PoolState) -> list[AllocationId]:
    """The copies that exist and want a place."""
    return [
        c.allocation
        for c in state.all_allocations()
        if wants_copy(state, state.tasks[c.allocation.task_id], c.allocation.replica)
    ]


def check_room(state: PoolState, offers: tuple[NodeOffer, ...]) -> None:
    """Nothing is given twice and no node is over what it offers."""
    for each in offers:
        holders, machine = state.holders(each.node_id), each.hardware
        assert sum(h.resources.cpu_milli for h in holders) <= machine.cpu_milli
        assert sum(h.resources.memory_bytes for h in holders) <= machine.memory_bytes
        assert sum(h.resources.disk_bytes for h in holders) <= machine.disk_bytes
        held = [uuid for h in holders for uuid in h.gpus]
        assert len(held) == len(set(held))
        assert set(held) <= {gpu.uuid for gpu in machine.gpus if gpu.healthy}
        ports = [p for h in holders for p in need_of(state.tasks[h.allocation.task_id]).ports]
        assert len(ports) == len(set(ports))


def check_applied(pool: Pool, made: Plan, offers: tuple[NodeOffer, ...]) -> None:
    """Every entry of a plan takes effect, whole, on nodes that may have it."""
    by_name = {each.node_id: each for each in offers}
    for placement in made.placements:
        pool.feed(placement)
        for placed in placement.placed:
            copy = pool.copy(placed.allocation.task_id, placed.allocation.replica)
            assert copy.state is S.ASSIGNED
            assert (copy.node_id, copy.gpus) == (placed.node_id, placed.gpus)
            assert copy.token.index == pool.state.applied_index
            node, given = pool.state.node(placed.node_id), by_name[placed.node_id]
            assert given.eligible
            assert (node.reachability, node.intent) == (Reachability.HEALTHY, Intent.ELIGIBLE)
            wanted = pool.state.tasks[placed.allocation.task_id].spec.resources.gpu
            for gpu in given.hardware.gpus:
                if gpu.uuid in placed.gpus:
                    assert wanted.model in gpu.model.lower()
                    assert gpu.memory_bytes >= wanted.memory_min_bytes


def check_whole(state: PoolState, made: Plan) -> None:
    """A gang's copies stand in one entry, and nobody else's with them."""
    for placement in made.placements:
        tasks = [state.tasks[placed.allocation.task_id] for placed in placement.placed]
        if any(task.spec.gang for task in tasks):
            assert len({task.task_id for task in tasks}) == 1
            assert len(tasks) == tasks[0].spec.replicas


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_plans_keep_the_laws(seed: int) -> None:
    """Submissions and troubles in any order, with a plan after each."""
    rng = random.Random(seed)
    pool, offers = Pool(), machines(rng)
    for _ in range(14):
        if rng.random() < 0.4:
            pool.submit(**submission(rng))
        else:
            disturb(pool, offers, rng)
        made = plan(pool.state, offers)
        assert plan(pool.state, offers[::-1]) == made
        placed = [p.allocation for placement in made.placements for p in placement.placed]
        told = [name for name, _ in made.reasons]
        assert len({*placed, *told}) == len(placed) + len(told)
        assert {*waiting(pool.state)} <= {*placed, *told}
        assert all(0 < len(text.encode()) < limits.TEXT_MAX_BYTES for _, text in made.reasons)
        check_whole(pool.state, made)
        check_applied(pool, made, offers)
        check_room(pool.state, offers)
        assert plan(pool.state, offers).placements == ()
