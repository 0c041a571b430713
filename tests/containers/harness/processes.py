"""What the tests of the process runtime share: waits, and looks at real processes."""

from pathlib import Path

import trio

from p2pool.drivers.containers.process import procfs
from p2pool.model.ids import AllocationId
from p2pool.model.ports.runtime import (
    ContainerRuntime,
    ContainerStatus,
)
from tests.containers.harness.plans import TASK

ALLOCATION = AllocationId(TASK, 0)
WAIT_S = 30


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
