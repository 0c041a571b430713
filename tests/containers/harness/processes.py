"""What the tests of the process runtime share: plans, waits, and looks at real processes."""

from pathlib import Path

import attrs
import trio

from p2pool.drivers.containers.process import procfs
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, PoolRef, TaskId, Token
from p2pool.model.ports.runtime import (
    ContainerPlan,
    ContainerRuntime,
    ContainerStatus,
    RuntimeScope,
)
from p2pool.model.tasks.spec import TaskSpec

POOL = PoolRef(31337, Address(b"\x11" * 20), 7)
SCOPE = RuntimeScope(POOL, NodeId(b"\x22" * 20))
ALLOCATION = AllocationId(TaskId(b"\x33" * 16), 0)
FOREVER = "while :; do sleep 1; done"
WAIT_S = 30


def plan(script: str, *, replica: int = 0, attempt: int = 1, **of_spec: object) -> ContainerPlan:
    """A plan of a shell script."""
    spec = TaskSpec(name="t", image="busybox", command=("sh", "-c", script))
    return ContainerPlan(
        allocation=attrs.evolve(ALLOCATION, replica=replica),
        attempt=attempt,
        token=Token(1, 2, 3),
        spec=attrs.evolve(spec, **of_spec),  # type: ignore[arg-type]
        spec_hash=Digest(b"\x44" * 32),
    )


async def wait_ended(runtime: ContainerRuntime, replica: int = 0) -> ContainerStatus:
    """The status of an allocation once it ended."""
    with trio.fail_after(WAIT_S):
        while True:
            for one in await runtime.list():
                if one.allocation.replica == replica and one.ended:
                    return one
            await trio.sleep(0.02)


async def lines(runtime: ContainerRuntime, **options: object) -> list[bytes]:
    """Data of the log chunks of replica 0."""
    batches = runtime.logs(ALLOCATION, 1, **options)  # type: ignore[arg-type]
    return [chunk.data async for chunks in batches for chunk in chunks]


async def read_pids(path: Path, count: int) -> list[int]:
    """Numbers that a script wrote into its directory, once they are all there."""
    with trio.fail_after(WAIT_S):
        while True:
            text = path.read_text() if path.exists() else ""
            if text.endswith("\n") and len(text.split()) == count:
                return [int(each) for each in text.split()]
            await trio.sleep(0.02)


def files_of(directory: Path) -> Path:
    """The working directory of replica 0."""
    return next(directory.glob("*/*.0.1/files"))


def lives(pid: int) -> bool:
    """Whether a process runs."""
    return pid in procfs.all_stats()


async def wait_gone(pid: int) -> None:
    """Until a process no longer runs."""
    with trio.fail_after(WAIT_S):
        while lives(pid):  # noqa: ASYNC110
            await trio.sleep(0.02)
