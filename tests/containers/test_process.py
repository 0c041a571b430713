"""The process runtime with real processes: its own promises, beside the shared contract suite."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import attrs
import pytest
import trio

from p2pool.drivers.containers import procfs, runs
from p2pool.drivers.containers.process import ProcessRuntime
from p2pool.drivers.containers.runs import Runs
from p2pool.model.errors import (
    CannotStart,
    Conflict,
    DiskFull,
    Misconfigured,
    NotFound,
    RuntimeUnavailable,
)
from p2pool.model.ids import Address, AllocationId, Digest, NodeId, PoolRef, TaskId, Token
from p2pool.model.runtime import (
    ContainerPlan,
    ContainerRuntime,
    ContainerState,
    ContainerStatus,
    RuntimeScope,
)
from p2pool.model.tasks import Mount, MountKind, Port, Resources, TaskSpec

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


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    """A runtime whose processes end with the test."""
    made = ProcessRuntime(SCOPE, tmp_path)
    yield made
    for one in await made.list():
        await made.stop(one.allocation, one.attempt, 0)


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
    chunks = runtime.logs(ALLOCATION, 1, **options)  # type: ignore[arg-type]
    return [chunk.data async for chunk in chunks]


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


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)],
)
async def test_the_end_is_told(runtime: ProcessRuntime, script: str, code: int) -> None:
    """An exit code as it is, a signal as 128 and its number, with times and what it was."""
    started = await runtime.start(plan(script))
    assert started.started_at_ms > 0
    ended = await wait_ended(runtime)
    assert (ended.state, ended.exit_code) == (ContainerState.EXITED, code)
    assert ended.finished_at_ms >= ended.started_at_ms == started.started_at_ms
    assert (ended.token, ended.spec_hash) == (Token(1, 2, 3), Digest(b"\x44" * 32))


async def test_a_start_is_idempotent_even_racing(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """Two runtimes on one directory and many calls run it once; another hash is a conflict."""
    other = ProcessRuntime(SCOPE, tmp_path)
    wanted = plan(f"echo once; {FOREVER}")
    got: list[ContainerStatus] = []

    async def start(where: ProcessRuntime) -> None:
        got.append(await where.start(wanted))

    async with trio.open_nursery() as nursery:
        for index in range(8):
            nursery.start_soon(start, (runtime, other)[index % 2])
    assert len({one.started_at_ms for one in got}) == 1
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]
    with pytest.raises(Conflict):
        await runtime.start(attrs.evolve(wanted, spec_hash=Digest(b"\x55" * 32)))
    await runtime.stop(ALLOCATION, 1, 5_000)
    assert await lines(runtime) == [b"once\n"]
    assert (await other.start(wanted)).ended


async def test_a_command_that_cannot_run_leaves_nothing(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Missing, not executable, or asking for what a process cannot have: refused, and why."""
    bad = plan("", command=("no-such-program",))
    with pytest.raises(CannotStart, match="No such file"):
        await runtime.start(bad)
    with pytest.raises(CannotStart, match="Permission denied"):
        await runtime.start(plan("", command=("/etc/passwd",)))
    with pytest.raises(CannotStart, match="null byte"):
        await runtime.start(plan("", command=("echo", "a\0b")))
    for refused in (
        plan("", command=()),
        plan("", mounts=(Mount(MountKind.TASK, "/data"),)),
        plan("", ports=(Port(80, 8080),)),
    ):
        with pytest.raises(CannotStart):
            await runtime.start(refused)
    assert await runtime.list() == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert (await runtime.start(plan("exit 0"))).attempt == 1


async def test_the_environment_is_the_task_s_alone(
    runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing of the agent's gets in, reserved names win, and HOME is where it works."""
    monkeypatch.setenv("AGENT_SECRET", "x")
    wanted = attrs.evolve(
        plan("env; pwd", environment=(("A", "1"), ("P2POOL_NODE", "mine"))),
        environment=(("P2POOL_NODE", "theirs"),),
        gpus=("GPU-a", "GPU-b"),
    )
    await runtime.start(wanted)
    assert (await wait_ended(runtime)).gpus == ("GPU-a", "GPU-b")
    said = b"".join(await lines(runtime)).decode().splitlines()
    home = str(files_of(tmp_path))
    seen = dict(line.split("=", 1) for line in said[:-1])
    assert said[-1] == home
    assert {"A": "1", "P2POOL_NODE": "theirs", "HOME": home}.items() <= seen.items()
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert not seen.keys() - {
        *("A", "P2POOL_NODE", "HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"),
        "P2POOL_RUN_DIRECTORY",
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    }


async def test_stop_asks_then_kills_with_all_children(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """One that ignores SIGTERM is killed after the grace, with a child in another session."""
    children = f"setsid sleep 1000 & echo $! > p; sh -c '{FOREVER}' & echo $! >> p"
    script = f"trap '' TERM; {children}; wait; {FOREVER}"
    await runtime.start(plan(script))
    pids = await read_pids(files_of(tmp_path) / "p", 2)
    began = trio.current_time()
    await runtime.stop(ALLOCATION, 1, 300)
    assert trio.current_time() - began >= 0.3
    assert (await wait_ended(runtime)).exit_code == 137
    assert not any(lives(pid) for pid in pids)
    await runtime.stop(ALLOCATION, 1, 300)
    await runtime.stop(ALLOCATION, 9, 300)


async def test_a_task_that_obeys_ends_within_its_grace(runtime: ProcessRuntime) -> None:
    """SIGTERM reaches it, and its own exit code counts."""
    await runtime.start(plan("trap 'echo bye; exit 5' TERM; echo up; " + FOREVER))
    async for _ in runtime.logs(ALLOCATION, 1, follow=True):
        break
    await runtime.stop(ALLOCATION, 1, 20_000)
    assert (await wait_ended(runtime)).exit_code == 5
    assert b"bye\n" in await lines(runtime)


async def test_what_a_command_leaves_behind_ends_with_it(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """As in a container: the end of the command is the end of all that it started."""
    await runtime.start(plan("setsid sleep 1000 & echo $! > p; exit 4"))
    assert (await wait_ended(runtime)).exit_code == 4
    (pid,) = await read_pids(files_of(tmp_path) / "p", 1)
    assert not lives(pid)


STARTER = """
import sys, trio
from pathlib import Path
from tests.containers.test_process import SCOPE, plan
from p2pool.drivers.containers.process import ProcessRuntime
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
    slow.write_text(SLOW.format(go=go, python=sys.executable))
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


async def test_restart_and_remove(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """A restart keeps files and lines, and is a run of its own; a removal forgets all."""
    await runtime.start(plan("echo x >> n; cat n | wc -l; [ $(cat n | wc -l) = 2 ]"))
    assert (await wait_ended(runtime)).exit_code == 1
    again = await runtime.restart(ALLOCATION, 1)
    assert again.exit_code in (None, 0)
    assert (await wait_ended(runtime)).exit_code == 0
    assert [line.strip() for line in await lines(runtime)] == [b"1", b"2"]
    await runtime.remove(ALLOCATION, 1)
    await runtime.remove(ALLOCATION, 1)
    assert await runtime.list() == ()
    assert list(tmp_path.glob("*/*")) == []
    with pytest.raises(NotFound):
        await runtime.restart(ALLOCATION, 1)
    with pytest.raises(NotFound):
        await lines(runtime)
    await runtime.start(plan(FOREVER))
    with pytest.raises(Conflict):
        await runtime.remove(ALLOCATION, 1)


async def test_scopes_never_meet(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """Two nodes, pools or contracts on one directory see only their own."""
    await runtime.start(plan(FOREVER))
    for scope in (
        attrs.evolve(SCOPE, node_id=NodeId(b"\x23" * 20)),
        attrs.evolve(SCOPE, pool=attrs.evolve(POOL, pool_id=8)),
        attrs.evolve(SCOPE, pool=attrs.evolve(POOL, contract=Address(b"\x12" * 20))),
    ):
        other = ProcessRuntime(scope, tmp_path)
        assert await other.list() == ()
        await other.stop(ALLOCATION, 1, 0)
        await other.remove(ALLOCATION, 1)
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]


async def test_other_chains_are_refused(tmp_path: Path) -> None:
    """Where work is paid for, nothing runs without isolation."""
    scope = attrs.evolve(SCOPE, pool=attrs.evolve(POOL, chain_id=1))
    other = ProcessRuntime(scope, tmp_path)
    with pytest.raises(Misconfigured, match="development chains only"):
        await other.probe()
    with pytest.raises(Misconfigured):
        await other.start(plan("exit 0"))


async def test_a_command_whose_directory_is_gone_ends(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    """Nobody could find it again, so it and its shim do not stay behind."""
    await runtime.start(plan(FOREVER))
    found = runtime._runs.find(ALLOCATION, 1)
    assert found is not None
    shutil.rmtree(tmp_path)
    await wait_gone(found.processes.main[0])
    await wait_gone(found.processes.shim[0])


async def test_its_memory_is_held(runtime: ProcessRuntime) -> None:
    """One that takes more than it asked for is killed, and that is told as such."""
    script = f"exec {sys.executable} -c 'import time; x = b\"x\" * 100_000_000; time.sleep(1000)'"
    await runtime.start(plan(script, resources=Resources(memory_bytes=64 << 20)))
    ended = await wait_ended(runtime)
    assert (ended.exit_code, ended.oom_killed) == (137, True)


async def test_a_change_is_hinted(runtime: ProcessRuntime) -> None:
    """The watch names the attempt whose state is another."""
    await runtime.start(plan("while [ ! -e go ]; do sleep 0.05; done"))
    watching = runtime.watch()
    with trio.fail_after(WAIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.stop, ALLOCATION, 1, 0)
            hint = await anext(watching)
    assert (hint.allocation, hint.attempt) == (ALLOCATION, 1)


async def test_a_start_that_was_cut_off_is_made_anew(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in which nothing ran is not listed, and does not decide what runs next."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeUnavailable, match="shim failed"):
        await runtime.start(plan("echo old"))
    monkeypatch.undo()
    Runs(SCOPE, tmp_path).make(plan("echo old"), {"old": True})
    assert await runtime.list() == ()
    await runtime.stop(ALLOCATION, 1, 0)
    await runtime.start(plan("echo new"))
    await wait_ended(runtime)
    assert await lines(runtime) == [b"new\n"]


async def test_trouble_with_the_disk_is_told_apart(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is DiskFull and leaves no run; a damaged record is never taken for an end."""

    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "write_whole", full)
    with pytest.raises(DiskFull):
        await runtime.start(plan(FOREVER))
    monkeypatch.undo()
    assert await runtime.list() == ()
    await runtime.start(plan(FOREVER))
    (file,) = tmp_path.glob("*/*/run.json")
    text = file.read_text()
    file.write_text(text[:10])
    with pytest.raises(RuntimeUnavailable, match="damaged"):
        await runtime.list()
    file.write_text(text)
    assert [one.state for one in await runtime.list()] == [ContainerState.RUNNING]
