"""Whatever a machine's own tools say, and at whatever length, a node goes on and is understood."""

from enum import Enum
from typing import Any

import attrs
import pytest

from p2pool.codec.text.fit import fitted
from p2pool.core import inputs
from p2pool.core.worker import events as ev
from p2pool.model.machine.hardware import Gpu, GpuLoad, Hardware, Load
from p2pool.model.ports.runtime import ContainerState, ContainerStatus, PullProgress
from p2pool.model.states import AllocationState
from p2pool.model.tasks.faults import Fault
from tests.sim.harness.pool import Pool, formed

LONG = "\N{EURO SIGN}\ud800\x00" * 2_000
HUGE = 2**70
HERE = ("allocation", "attempt", "token", "spec_hash")
"""What names a copy: a label that is none of ours makes a container nobody's."""


def swollen(value: Any) -> Any:
    """The same with each text and list as long, and each number as great, as anybody can say."""
    if isinstance(value, Enum | bool | bytes) or value is None:
        return value
    if isinstance(value, str):
        return LONG
    if isinstance(value, int):
        return HUGE
    if isinstance(value, tuple):
        return tuple(swollen(one) for one in value) * 100
    fields = {f.name: getattr(value, f.name) for f in attrs.fields(type(value))}
    return attrs.evolve(value, **{n: swollen(v) for n, v in fields.items() if n not in HERE})


GPU = Gpu("GPU-1", "h100", 1, False, "ill", "GPU-0")
MACHINE = Hardware("cpu", 8000, 2**34, 2**38, (GPU,), "1", "docker", "x86_64", "12")
TOOLS = (
    inputs.HardwareObserved(MACHINE, Load(1, 1, (GpuLoad(),)), None, ("a note",), ("GPU-1",)),
    inputs.HardwareObserved(MACHINE, Load(), "its disk is full"),
    inputs.RuntimeObserved(False, "no engine"),
    inputs.AddressesObserved(("/ip4/10.0.0.1/tcp/1",)),
    inputs.ChainUnreachable("nobody answers"),
)


def runs(pool: Pool) -> tuple[int, ContainerStatus]:
    pool.run_task(0, replicas=3)
    at = pool.other().number
    (status,) = pool.world.machines[at].engine.containers.values()
    return at, status


@pytest.mark.parametrize("said", TOOLS, ids=lambda said: type(said).__name__)
def test_a_tool_that_talks_too_much(said: Any) -> None:
    """Its node's heartbeats still come, so nobody takes it for dead."""
    pool = formed()
    at = pool.other()
    assert at.node is not None
    pool.world.give(at, swollen(said))
    pool.world.run(3_000)
    since_ms = pool.world.now(at).wall_ms
    pool.world.run(8_000)
    leader = pool.node(pool.leader().number)
    assert leader.context.heartbeats.newest[at.node_id].sent_at_ms >= since_ms


def _said(status: ContainerStatus) -> tuple[ev.WorkerInput, ...]:
    key = (status.allocation, status.attempt)
    dead = attrs.evolve(status, state=ContainerState.DEAD, exit_code=None, error="it broke")
    exited = attrs.evolve(dead, state=ContainerState.EXITED, exit_code=1, image_digest="sha256:1")
    return (
        ev.ContainersListed((dead,)),
        ev.ContainerStarted(exited),
        ev.StartFailed(*key, "cannot-start", "because", Fault.TASK),
        ev.StartFailed(*key, "cannot-start", "because", Fault.WORLD),
        ev.StopFailed(*key, "because"),
        ev.QuotaExceeded(*key, "because"),
        ev.PullProgressed(*key, PullProgress(1, 2)),
    )


@pytest.mark.parametrize("number", range(7))
def test_an_engine_that_talks_too_much(number: int) -> None:
    """The copy's end is reported and logged, and its reason begins as it was said."""
    pool = formed()
    at, status = runs(pool)
    said = _said(status)
    assert {type(one) for one in said} <= set(ev.WorkerInput.__args__)
    machine = pool.world.machines[at]
    machine.engine.on_stop = lambda key, epoch: None  # What was said of it is not so.
    pool.world.give(machine, swollen(said[number]))
    pool.world.run(8_000)
    view = pool.node(at).view(pool.world.now(machine))
    (copy,) = [c for t in view.tasks for c in t.allocations if c.node_id == machine.node_id]
    if copy.state is AllocationState.FAILED:
        assert "\N{EURO SIGN}?" in copy.reason or copy.exit_code is not None
    assert len(copy.reason.encode()) <= 1024


def test_what_fits_is_left_alone() -> None:
    """The very same object, so that nothing looks new."""
    said = inputs.HardwareObserved(MACHINE, Load())
    assert fitted(said) is said
