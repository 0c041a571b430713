"""What is wrong with a machine is told by its node; only what stops work stops work."""

from p2pool.core import inputs
from p2pool.model.machine.hardware import Gpu, Hardware, Load
from tests.sim.world.world import World

HARDWARE = Hardware("cpu", 8000, 2**34, 2**38, (Gpu("GPU-a", "t4", 2**34),), "1", "docker", "amd64")


def test_a_full_disk_keeps_work_away_and_a_lost_gpu_is_only_told() -> None:
    """Both are the reason that others see; the first alone makes the node unwell."""
    world = World(1, size=1)
    world.start(0)
    world.run(8_000)
    machine = world.machines[0]
    node = machine.node
    assert node is not None
    lost = "The GPU GPU-b is unhealthy: GPU is lost."
    world.give(machine, inputs.HardwareObserved(HARDWARE, Load(), None, (lost,)))
    world.run(2_000)
    said = node.context.heartbeats.newest[machine.node_id].heartbeat
    assert (said.healthy, said.reason) == (True, lost)
    full = "The disk of /data is nearly full."
    world.give(machine, inputs.HardwareObserved(HARDWARE, Load(), full, (lost,)))
    world.run(2_000)
    said = node.context.heartbeats.newest[machine.node_id].heartbeat
    assert (said.healthy, said.reason) == (False, full)
    world.give(machine, inputs.HardwareObserved(HARDWARE, Load()))
    world.run(2_000)
    said = node.context.heartbeats.newest[machine.node_id].heartbeat
    assert (said.healthy, said.reason) == (True, "")
