"""A task outlives its agent, and a start that was cut off is never followed by a second copy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import pytest
import trio

from p2pool.drivers.containers.process import procfs
from p2pool.drivers.containers.process.runtime import ProcessRuntime
from p2pool.model.ports.runtime import (
    ContainerState,
    ContainerStatus,
)
from tests.containers.harness.plans import FOREVER, plan
from tests.containers.harness.processes import (
    ALLOCATION,
    WAIT_S,
    files_of,
    lines,
    lives,
    read_pids,
    wait_ended,
    wait_gone,
)

STARTER = """
import sys, trio
from pathlib import Path
from tests.containers.harness.plans import SCOPE, plan
from p2pool.drivers.containers.process.runtime import ProcessRuntime
async def main():
    await ProcessRuntime(SCOPE, Path(sys.argv[1])).start(plan(sys.argv[2]))
    print("started", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


async def test_it_survives_the_agent(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """SIGKILL of the starter and its process group changes nothing; its successor finds all."""
    script = "echo before; while [ ! -e go ]; do sleep 0.05; done; echo after; exit 6"
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), script],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert starter.stdout is not None
    with starter.stdout as said:
        assert said.readline() == b"started\n"
        os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()
    (found,) = await runtime.list()
    assert found.state is ContainerState.RUNNING
    (files_of(tmp_path) / "go").touch()
    assert (await wait_ended(runtime)).exit_code == 6
    assert await lines(runtime) == [b"before\n", b"after\n"]


SLOW = """#!/bin/sh
touch {go}.asked
while [ ! -e {go} ]; do sleep 0.02; done
exec {python} "$@"
"""


async def test_a_starter_killed_midway_is_not_followed_by_a_second_copy(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """A shim that is slow to come holds the start: who starts again waits and finds that run."""
    go, slow = tmp_path / "go", tmp_path / "slow"
    slow.write_text(SLOW.format(go=quote(str(go)), python=quote(sys.executable)))
    slow.chmod(0o700)
    mend = f"import sys; sys.executable = {str(slow)!r}\n"
    script = f"echo once; {FOREVER}"
    starter = subprocess.Popen([sys.executable, "-c", mend + STARTER, str(tmp_path), script])
    with trio.fail_after(WAIT_S):
        while not (tmp_path / "go.asked").exists():  # noqa: ASYNC110
            await trio.sleep(0.02)
    starter.kill()
    starter.wait()
    assert await runtime.list() == ()
    got: list[ContainerStatus] = []

    async def start() -> None:
        got.append(await runtime.start(plan(script)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await trio.sleep(0.2)
        assert got == []
        go.touch()
    await runtime.stop(ALLOCATION, 1, 0)
    assert await lines(runtime) == [b"once\n"]
    assert [one.started_at_ms for one in await runtime.list()] == [got[0].started_at_ms]


async def test_a_killed_shim_takes_its_command_along(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Then nobody knows how it ended, which is said; what it left can still be stopped."""
    await runtime.start(plan(f"sh -c '{FOREVER}' & echo $! > p; {FOREVER}"))
    (child,) = await read_pids(files_of(tmp_path) / "p", 1)
    found = runtime._runs.find(ALLOCATION, 1)
    assert found is not None
    os.kill(found.processes.shim[0], signal.SIGKILL)
    await wait_gone(found.processes.main[0])
    (left,) = await runtime.list()
    assert left.state is ContainerState.RUNNING
    await runtime.stop(ALLOCATION, 1, 100)
    assert not lives(child)
    dead = await wait_ended(runtime)
    assert (dead.state, dead.exit_code) == (ContainerState.DEAD, None)
    assert "lost" in dead.error


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process in a session of its own that is none of the runtime's."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


async def test_numbers_that_are_used_again_are_not_believed(
    runtime: ProcessRuntime, tmp_path: Path, stranger: int
) -> None:
    """A stranger with the number of a shim or a session, or a number of another boot, is not it."""
    await runtime.start(plan(FOREVER))
    found = runtime._runs.find(ALLOCATION, 1)
    assert found is not None
    os.kill(found.processes.shim[0], signal.SIGKILL)
    await wait_gone(found.processes.main[0])
    await runtime.stop(ALLOCATION, 1, 0)
    (file,) = tmp_path.glob("*/*/run.json")
    record = json.loads(file.read_text())
    stat = procfs.read_stat(stranger)
    assert stat is not None
    theirs, before = [stranger, stat[3]], [stranger, stat[3] - 1]
    for changed in (
        {"shim": before, "main": theirs},
        {"shim": theirs, "main": theirs, "boot": "another"},
    ):
        file.write_text(json.dumps(record | changed))
        assert [one.state for one in await runtime.list()] == [ContainerState.DEAD]
        await runtime.stop(ALLOCATION, 1, 0)
        assert lives(stranger)
