"""Plans of small shell scripts, for any runtime."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import attrs

from p2pool.dev.engine.engine import BUSYBOX_IMAGE
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, PoolRef, TaskId, Token
from p2pool.model.messages.task_streams import LogChunk
from p2pool.model.ports.runtime import (
    ContainerPlan,
    ContainerRuntime,
    ContainerStatus,
    RuntimeScope,
)
from p2pool.model.tasks.spec import Resources, TaskSpec

TASK = TaskId(b"\x33" * 16)
FOREVER = "while :; do sleep 1; done"
MIB = 1024 * 1024


def plan(script: str, *, replica: int = 0, attempt: int = 1, **of_spec: Any) -> ContainerPlan:
    """A plan of a shell script."""
    spec = TaskSpec(
        name="t",
        image=BUSYBOX_IMAGE,
        command=("sh", "-c", script),
        resources=Resources(cpu_milli=500, memory_bytes=64 * MIB),
    )
    gpus = of_spec.pop("gpus", ())
    return ContainerPlan(
        allocation=AllocationId(TASK, replica),
        attempt=attempt,
        token=Token(1, 2, 3),
        spec=attrs.evolve(spec, **of_spec),
        spec_hash=Digest(b"\x44" * 32),
        gpus=gpus,
        environment=(("P2POOL_REPLICA", str(replica)),),
    )


async def run_to_end(runtime: ContainerRuntime, wanted: ContainerPlan) -> ContainerStatus:
    """Start a plan and follow its log to the end; how it ended."""
    await runtime.start(wanted)
    async for _ in runtime.logs(wanted.allocation, wanted.attempt, follow=True):
        pass
    while True:
        (status,) = [
            s
            for s in await runtime.list()
            if (s.allocation, s.attempt) == (wanted.allocation, wanted.attempt)
        ]
        if status.ended:
            return status


async def lines(runtime: ContainerRuntime, of: ContainerPlan, **options: Any) -> list[str]:
    """Log lines as text."""
    return [chunk.data.decode().rstrip("\n") for chunk in await chunks(runtime, of, **options)]


async def chunks(runtime: ContainerRuntime, of: ContainerPlan, **options: Any) -> list[LogChunk]:
    """Log lines as they are."""
    batches = runtime.logs(of.allocation, of.attempt, **options)
    return [chunk async for batch in batches for chunk in batch]


async def first_lines(runtime: ContainerRuntime, of: ContainerPlan, count: int) -> list[str]:
    """The first so many log lines, once they are written, of a copy that may run on."""
    said: list[str] = []
    batches = runtime.logs(of.allocation, of.attempt, follow=True)
    assert isinstance(batches, AsyncGenerator)
    async with aclosing(batches):
        async for batch in batches:
            said += [chunk.data.decode().rstrip("\n") for chunk in batch]
            if len(said) >= count:
                break
    return said


SCOPE = RuntimeScope(PoolRef(31337, Address(b"\x11" * 20), 7), NodeId(b"\x22" * 20))


OTHER = RuntimeScope(SCOPE.pool, NodeId(b"\x23" * 20))
