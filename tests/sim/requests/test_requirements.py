"""A task's requirements in a pool of real nodes: every agent says what no machine has, and the copy
starts where one comes to have it."""

import attrs

from p2pool.core import inputs
from p2pool.model.machine.hardware import Gpu, Hardware, Load
from p2pool.model.ports.view import AllocationView
from p2pool.model.states import AllocationState
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.harness.pool import ENDLESS, Pool, formed

WANTED = "gpu:count=2;gpu:model=H100;gpu:memory_mb=80000;cpu:cores=8"
SMALL = Hardware("cpu", 8000, 2**34, 2**38, (), "1", "docker", "x86_64")
CARDS = tuple(Gpu(f"GPU-{n}", "NVIDIA H100 80GB HBM3", 81_559 * 2**20) for n in range(2))
TASK = TaskSpec(name="t", image="i", command=ENDLESS, requirements=WANTED)


def shown(pool: Pool) -> list[AllocationView]:
    """The only copy, as each agent that runs shows it."""
    views = [m.node.view(pool.world.now(m)) for m in pool.world.machines if m.node is not None]
    return [copy for view in views for task in view.tasks for copy in task.allocations]


def test_a_copy_waits_for_a_machine_that_meets_them_and_all_agents_say_so() -> None:
    """Another machine's GPUs change nothing: only one with both of them gets the copy."""
    pool = formed()
    name = pool.submitted[pool.submit(0, TASK)]
    pool.until(lambda: "requires" in "".join(copy.reason for copy in shown(pool)))
    pool.world.run(5_000)
    reasons = {copy.reason for copy in shown(pool)}
    wanted, there = "(2 GPUs, h100, at least 80000 MiB each)", "1 x h100 (65536 MiB each)"
    assert reasons == {f"3 nodes: requires {wanted}, has {there}"}

    one = attrs.evolve(SMALL, gpus=CARDS[:1])
    pool.world.give(pool.world.machines[1], inputs.HardwareObserved(one, Load()))
    pool.world.run(10_000)
    assert pool.states(name) == ["PENDING"]

    taker = pool.world.machines[2]
    pool.world.give(taker, inputs.HardwareObserved(attrs.evolve(SMALL, gpus=CARDS), Load()))
    pool.until(lambda: pool.states(name) == ["RUNNING"])
    pool.world.run(5_000)
    assert {(c.state, c.node_id) for c in shown(pool)} == {(AllocationState.RUNNING, taker.node_id)}
    assert len(shown(pool)) == 3
